package main

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// completed is what the command says may come next.
func completed(t *testing.T, words ...string) (found []string) {
	t.Helper()
	r := run(t, nil, append([]string{"complete", "--"}, words...)...)
	if r.code != 0 || r.stderr != "" {
		t.Fatalf("%q: code %d\n%s", words, r.code, r.stderr)
	}
	for line := range strings.Lines(r.stdout) {
		word, _, tabbed := strings.Cut(line, "\t")
		if !tabbed {
			t.Errorf("%q: line %q", words, line)
		}
		found = append(found, word)
	}
	return found
}

func TestComplete(t *testing.T) {
	unraced(t)
	t.Parallel()
	for words, want := range map[string]string{
		"user pass":                   "passwd",
		"users pass":                  "passwd",
		"acl explain p":               "publish",
		"acl explain publish s":       "",
		"acl explain --qos = ":        "0 1 2",
		"acl explain --qos=":          "--qos=0 --qos=1 --qos=2",
		"acl explain --qos ":          "0 1 2",
		"acl explain --user list rec": "receive",
		"user add --password-f":       "--password-file",
		"user add --password-file ":   "",
		"user add name --password-s":  "--password-stdin",
		"log level ":                  "configured trace debug info warn error fatal panic",
		"log level w":                 "warn",
		"config explain mqtt.max-q":   "mqtt.max-qos mqtt.max-queued-messages mqtt.max-queued-bytes",
		"config explain log.level x":  "",
		"completion f":                "fish",
		"no such thing ":              "",
		"bench throughput --js":       "--json",
		"compl":                       "completion",
	} {
		found := completed(t, strings.Split(words, " ")...)
		if got := strings.Join(found, " "); got != want && !(want == "" && strings.HasPrefix(words, "no ")) {
			t.Errorf("%q: %q, expected %q", words, got, want)
		}
	}
	for _, words := range [][]string{nil, {""}} {
		if found := completed(t, words...); !slices.Contains(found, "server") || slices.Contains(found, "complete") {
			t.Errorf("commands: %q", found)
		}
	}
	if r := run(t, nil, "completion", "tcsh"); r.code != exitUsage {
		t.Errorf("another shell: code %d", r.code)
	}
}

// completesIn runs a script of a shell, which finds promptmq in its path.
func completesIn(t *testing.T, shell string, args []string, script, want string) {
	t.Helper()
	path, err := exec.LookPath(shell)
	if err != nil {
		t.Skip("there is no " + shell)
	}
	cmd := exec.CommandContext(t.Context(), path, append(args, "-c", script)...)
	cmd.Env = environ("PATH="+filepath.Dir(binary)+":/usr/bin:/bin", "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != want {
		t.Errorf("%v\n%s\nexpected:\n%s", err, out, want)
	}
}

func TestCompletionOfBash(t *testing.T) {
	unraced(t)
	t.Parallel()
	completesIn(t, "bash", []string{"--norc"}, `eval "$(promptmq completion bash)"; complete -p promptmq
COMP_WORDS=(promptmq user list --da); COMP_CWORD=3; _promptmq; echo "${COMPREPLY[@]}"
COMP_WORDS=(promptmq acl explain p); COMP_CWORD=3; _promptmq; echo "${COMPREPLY[@]}"
COMP_WORDS=(promptmq server --config ""); COMP_CWORD=3; _promptmq; echo "${#COMPREPLY[@]}"`,
		"complete -o default -F _promptmq promptmq\n--data-dir\npublish\n0")
}

func TestCompletionOfZsh(t *testing.T) {
	unraced(t)
	t.Parallel()
	completesIn(t, "zsh", []string{"-f"}, `compdef() { print "$@" }; _files() { print files }; _describe() { print -l "${(P@)2}" }
eval "$(promptmq completion zsh)"
words=(promptmq user li); CURRENT=3; _promptmq
words=(promptmq server --config ""); CURRENT=4; _promptmq`, "_promptmq promptmq\nlist:List the users\nfiles")
}

func TestCompletionOfFish(t *testing.T) {
	unraced(t)
	t.Parallel()
	completesIn(t, "fish", []string{"--no-config"}, `promptmq completion fish | source; complete -C "promptmq user li"; complete -C "promptmq acl explain r"`,
		"list\tList the users\nreceive")
}
