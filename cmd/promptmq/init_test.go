package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/config"
)

// made are the files below a directory, with their modes.
func made(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			name, _ := filepath.Rel(dir, path)
			files = append(files, info.Mode().String()+" "+name)
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return files
}

// TestInitFlags: each answer has its effect on the configuration, which the broker takes as it is.
func TestInitFlags(t *testing.T) {
	unraced(t)
	t.Parallel()
	certificates := t.TempDir()
	if r := run(t, nil, "cert", "self-signed", "--out", certificates, "--host", "localhost"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	cert, key := filepath.Join(certificates, certFile), filepath.Join(certificates, keyFile)
	elsewhere := filepath.Join(t.TempDir(), "a b", "data")
	for _, test := range []struct {
		args string
		has  []string
		not  []string
	}{
		{"--yes", []string{`address: "127.0.0.1:1883"`, `address: ":8883"`, `anonymous: "no"`, `bind: "127.0.0.1:9090"`, `bind: "127.0.0.1:9092"`, "certs/cert.pem"}, []string{"allow-anonymous: true"}},
		{"--yes --access local", []string{`bind: "127.0.0.1:1883"`, `ws-bind: "127.0.0.1:8080"`}, []string{"listeners:", "certs"}},
		{"--yes --access local --tls self-made", []string{`address: "127.0.0.1:8883"`, `address: "127.0.0.1:8443"`}, []string{`"no"`, `":`}},
		{"--yes --access anyone --tls none --metrics off --no-page", []string{`bind: ":1883"`, `ws-bind: ":8080"`, "allow-anonymous: true", "enabled: false"}, []string{"admin:", "listeners:"}},
		{"--yes --tls none --metrics network", []string{`address: ":1883"`, `bind: ":9090"`}, []string{"cert-file"}},
		{"--access users --metrics off --cert-file " + cert + " --key-file " + key, []string{`cert-file: "` + cert, `address: ":8883"`}, []string{"certs"}},
	} {
		dir := filepath.Join(t.TempDir(), "new", "place")
		args := append([]string{"init", dir}, strings.Fields(test.args)...)
		if !strings.Contains(test.args, "--yes") {
			args = append(args, "--data-dir", elsewhere)
		}
		r := run(t, nil, args...)
		if r.code != 0 || r.stderr != "" {
			t.Errorf("%s: code %d\n%s%s", test.args, r.code, r.stdout, r.stderr)
			continue
		}
		if open := strings.Contains(test.args, "anyone"); strings.Contains(r.stdout, "Open: ") != open {
			t.Errorf("%s: whether everybody may connect is not what is said\n%s", test.args, r.stdout)
		}
		file := filepath.Join(dir, setupFile)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		has(t, string(text), test.has...)
		settings := string(text)[strings.Index(string(text), "\nserver:"):]
		for line := range strings.Lines(settings) {
			for _, not := range test.not {
				if !strings.HasPrefix(strings.TrimSpace(line), "#") && strings.Contains(line, not) {
					t.Errorf("%s: %s", test.args, line)
				}
			}
		}
		if r := run(t, nil, "config", "check", "--files", file); r.code != 0 {
			t.Errorf("%s: %s\n%s", test.args, r.stderr, text)
		}
		for _, f := range made(t, dir) {
			if private := strings.Contains(f, "key.pem") || strings.Contains(f, "data/"); private != strings.HasPrefix(f, "-rw-------") {
				t.Errorf("%s: %s", test.args, f)
			}
		}
	}
}

// TestInitRefuses: what cannot be, and what is there already, is refused, and nothing is made.
func TestInitRefuses(t *testing.T) {
	unraced(t)
	t.Parallel()
	full := t.TempDir()
	if r := run(t, nil, "init", full, "--yes"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	before := strings.Join(made(t, full), "\n")
	running := start(t, "")
	file := filepath.Join(full, setupFile)
	for _, test := range []struct{ dir, args, want string }{
		{"", "", "say --access, --tls, --data-dir, --metrics, or --yes for the defaults"},
		{"", "--access users --tls none", "say --data-dir, --metrics, or"},
		{"", "--yes --access all", `--access="all" must be one of users, local, anyone`},
		{"", "--yes --tls off", "--tls="},
		{"", "--yes --metrics on", "--metrics="},
		{"", "--yes --tls files", "needs --cert-file and --key-file"},
		{"", "--yes --tls none --cert-file x", "go with --tls files"},
		{"", "--yes --cert-file " + file + " --key-file " + file, "promptmq.yaml"},
		{"", "--yes --host x!", "neither a host name"},
		{"", "--yes --tls none --host x", "goes with --tls self-made only"},
		{"", "--yes --user \x01", "control characters"},
		{"", "--yes --access local --no-page --user ann", "--user has no effect"},
		{"", "--yes --access local --no-page --password-file " + file, "no first user"},
		{"", "--yes --password-file " + full + "/none", "no such file"},
		{"", "--yes --password-file " + file, "more than one line"},
		{"", "--yes --data-dir " + file + "/x", "not a directory"},
		{"", "--yes --data-dir " + file, "not a directory"},
		{"", "--yes --data-dir " + running.dataDir(), "there is a database in"},
		{"", "--yes --force --data-dir " + running.dataDir(), "a broker runs on"},
		{full, "--yes", "is there already"},
		{full, "--yes --access local --data-dir " + full + "/other", "is there already"},
	} {
		dir := test.dir
		if dir == "" {
			dir = filepath.Join(t.TempDir(), "new", "place")
		}
		r := run(t, nil, append([]string{"init", dir}, strings.Fields(test.args)...)...)
		if r.code == 0 || r.stdout != "" || !strings.Contains(r.stderr, test.want) {
			t.Errorf("%s: code %d\n%s%s", test.args, r.code, r.stdout, r.stderr)
		}
		if _, err := os.Stat(filepath.Dir(dir)); test.dir == "" && err == nil {
			t.Errorf("%s: left %v", test.args, made(t, filepath.Dir(dir)))
		}
	}
	if after := strings.Join(made(t, full), "\n"); after != before {
		t.Errorf("was\n%s\nis\n%s", before, after)
	}
}

// TestInitForce sets aside what is there, and keeps the authority that clients trust.
func TestInitForce(t *testing.T) {
	unraced(t)
	t.Parallel()
	dir := t.TempDir()
	authority := func() string {
		text, err := os.ReadFile(filepath.Join(dir, setupCert, caFile))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if r := run(t, nil, "init", dir, "--yes", "--user", "first"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	was := authority()
	r := run(t, nil, "init", dir, "--yes", "--user", "second", "--force")
	if r.code != 0 || strings.Count(r.stdout, "what was there is now "+dir) != 4 || authority() != was {
		t.Errorf("code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	for line := range strings.Lines(r.stdout) {
		if name, found := strings.CutPrefix(line, "what was there is now "); found {
			if _, err := os.Stat(strings.TrimSpace(name)); err != nil {
				t.Error(err)
			}
		}
	}
	commander{t, filepath.Join(dir, "data")}.wantUsers("second ")
	asides := make(map[string]bool)
	for range 2 { // in one second, mostly
		r := run(t, nil, "init", dir, "--yes", "--access", "local", "--no-page", "--force")
		if r.code != 0 || !strings.Contains(r.stdout, "what was there is now "+filepath.Join(dir, "data")) {
			t.Errorf("without users: code %d\n%s%s", r.code, r.stdout, r.stderr)
		}
		for line := range strings.Lines(r.stdout) {
			if name, found := strings.CutPrefix(line, "what was there is now "); found {
				asides[name] = true
			}
		}
	}
	if len(asides) != 4 {
		t.Errorf("set aside as %v", asides)
	}
	commander{t, filepath.Join(dir, "data")}.wantUsers()
	cfg, err := config.Load(config.Sources{File: filepath.Join(dir, setupFile)})
	if err != nil {
		t.Fatal(err)
	}
	if faults := checkFiles(cfg); len(faults) > 0 {
		t.Error(faults)
	}
}

// TestInitExamples runs the examples of docs/commands.md.
func TestInitExamples(t *testing.T) {
	unraced(t)
	t.Parallel()
	for _, line := range examplesOf(t, "TestInitExamples") {
		cmd := exec.CommandContext(t.Context(), binary, wordsOfShell(t, line)[1:]...)
		cmd.Env, cmd.Dir = environ(), t.TempDir()
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "Next, each in a terminal:") {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
	}
}
