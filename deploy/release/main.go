// Command release builds what a release of PromptMQ is: binaries for each platform, archives
// and packages of them, a list of what they are made of (SBOM) and the sums of all files. The
// same commit and the same Go give the same bytes. It is a module of its own, so that
// what writes packages is nobody's dependency.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// A release is one version, from one commit.
type release struct {
	root, out string // the source, and where everything goes
	staging   string // for files that are made for archives and packages
	version   string
	commit    string
	at        time.Time // of the commit, and of everything that has a time
	atOnce    int       // packages that the compiler is at
}

func main() {
	log.SetFlags(0)
	root := flag.String("root", "../..", "`directory` of the source")
	out := flag.String("out", "../../dist", "`directory` for what is built; what is in it is replaced")
	only := flag.String("only", "", "build these platforms alone, such as linux-amd64,linux-armv7")
	atOnce := flag.Int("p", runtime.NumCPU(), "how many packages are compiled at a time")
	flag.Parse()
	r := &release{root: *root, out: *out, atOnce: *atOnce}
	if err := r.run(*only); err != nil {
		log.Fatal("release: ", err)
	}
}

func (r *release) run(only string) (err error) {
	if err := r.begin(); err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, os.RemoveAll(r.staging)) }()
	for _, p := range platforms {
		if only != "" && !strings.Contains(","+only+",", ","+p.name()+",") {
			continue
		}
		if err := r.platform(p); err != nil {
			return fmt.Errorf("%s: %w", p.name(), err)
		}
	}
	if err := r.listComponents(); err != nil {
		return err
	}
	return r.sum()
}

// platform builds all that there is for one platform.
func (r *release) platform(p platform) error {
	if err := r.build(p); err != nil {
		return err
	}
	if err := r.archive(p); err != nil {
		return err
	}
	for format, arch := range p.packages {
		if err := r.pack(p, format, arch); err != nil {
			return fmt.Errorf("%s: %w", format, err)
		}
	}
	return nil
}

// begin finds out what is released, and makes the directories.
func (r *release) begin() (err error) {
	if r.root, err = filepath.Abs(r.root); err != nil {
		return err
	}
	if r.out, err = filepath.Abs(r.out); err != nil {
		return err
	}
	source, err := os.ReadFile(filepath.Join(r.root, "cmd", "promptmq", "version.go"))
	if err != nil {
		return err
	}
	found := regexp.MustCompile(`(?m)^const release = "([0-9.]+)"$`).FindSubmatch(source)
	if found == nil {
		return fmt.Errorf("version.go has no line with the version")
	}
	r.version = string(found[1])
	if r.commit, err = r.git("COMMIT", "rev-parse", "--short=12", "HEAD"); err != nil {
		return err
	}
	seconds, err := r.git("SOURCE_DATE_EPOCH", "log", "-1", "--format=%ct")
	if err != nil {
		return err
	}
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	r.at = time.Unix(unix, 0).UTC()
	if changed, err := r.command("git", "status", "--porcelain", "--untracked-files=no").Output(); err == nil && len(changed) > 0 {
		r.commit += "-modified"
	}
	if err := os.RemoveAll(r.out); err != nil {
		return err
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	r.staging, err = os.MkdirTemp("", "promptmq-release-")
	return err
}

// git returns the variable, which a source without git needs, or asks git.
func (r *release) git(variable string, args ...string) (string, error) {
	if v := os.Getenv(variable); v != "" {
		return v, nil
	}
	out, err := r.command("git", args...).Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w; without git, say $%s", args[0], err, variable)
	}
	return strings.TrimSpace(string(out)), nil
}

func (r *release) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stderr = r.root, os.Stderr
	return cmd
}
