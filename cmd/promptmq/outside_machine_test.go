//go:build outside && linux

package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A machine is this one again, with its own processes, network and systemd: what is written in
// it goes to memory and is gone with it. It needs root, and a kernel with overlayfs.
type machine struct {
	t   *testing.T
	pid string // of its systemd, as seen from here
}

// bootScript makes $1 the root of a machine and becomes its systemd. The files that follow are in
// its /root. What this machine starts is not started there.
const bootScript = `set -e
mount --make-rprivate /
mkdir -p "$1/write" "$1/root"
mount -t tmpfs none "$1/write"
mkdir "$1/write/files" "$1/write/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/write/files,workdir=$1/write/work" "$1/root"
cd "$1/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
shift
cp "$@" root/
mount -t tmpfs tmpfs tmp
mount --rbind /dev dev
ip link set lo up
rm -rf etc/systemd/system/*.wants usr/sbin/policy-rc.d
ln -sf /lib/systemd/system/basic.target etc/systemd/system/default.target
exec env -i container=test PATH="$PATH" chroot . /lib/systemd/systemd --system --log-target=null --show-status=no`

// boot starts a machine with files in its /root.
func boot(t *testing.T, files ...string) *machine {
	t.Helper()
	for _, name := range []string{"unshare", "nsenter", "systemctl", "ip", "dpkg", "dpkg-deb"} {
		program(t, name)
	}
	args := append([]string{"-m", "-p", "-C", "-u", "-i", "-n", "--fork", "--kill-child", "sh", "-c", bootScript, "sh", t.TempDir()}, files...)
	cmd := exec.Command("unshare", args...)
	said := filepath.Join(t.TempDir(), "said")
	log, err := os.Create(said)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	m := &machine{t: t}
	children := fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid)
	eventually(t, "systemd of the machine runs", func() bool {
		text, err := os.ReadFile(children)
		m.pid = strings.TrimSpace(string(text))
		return err == nil && m.pid != "" && m.try("systemctl is-system-running").code == 0
	})
	return m
}

// try runs a command of the shell in the machine.
func (m *machine) try(command string) result {
	m.t.Helper()
	cmd := exec.Command("timeout", "60", "nsenter", "-t", m.pid, "-m", "-p", "-C", "-u", "-i", "-n", "-r", "-w", "sh", "-ec", command)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"}
	out, _ := cmd.CombinedOutput() // the code says how it ended
	return result{code: cmd.ProcessState.ExitCode(), stdout: string(out)}
}

// run runs a command that must succeed.
func (m *machine) run(command string) string {
	m.t.Helper()
	r := m.try(command)
	if r.code != 0 {
		m.t.Fatalf("%s: exit code %d\n%s%s", command, r.code, r.stdout, m.try("journalctl -u promptmq -n 50 --no-pager").stdout)
	}
	return strings.TrimSpace(r.stdout)
}

// show returns a property of the unit.
func (m *machine) show(property string) string {
	m.t.Helper()
	return m.run("systemctl show promptmq -p " + property + " --value")
}

var dist = flag.String("dist", "", "directory with what make release has built; empty: the tests build what they need")

// released returns what finds the only file with a suffix of what is released for linux-amd64.
func released(t *testing.T) (find func(suffix string) string) {
	t.Helper()
	dir := *dist
	if dir == "" {
		dir = t.TempDir()
		cmd := exec.Command("go", "run", ".", "-out", dir, "-only", "linux-amd64")
		cmd.Dir = filepath.Join(root, "deploy", "release")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("release: %v\n%s", err, out)
		}
	}
	return func(suffix string) string {
		found, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
		if err != nil || len(found) != 1 {
			t.Fatalf("*%s: %q, %v", suffix, found, err)
		}
		return found[0]
	}
}
