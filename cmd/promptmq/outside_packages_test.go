//go:build outside && linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// useService checks a broker that was just started by systemd: who it is, what it may, that a
// message goes through, that a reload works, and that one that hangs is replaced.
func useService(t *testing.T, m *machine) {
	t.Helper()
	if got := m.run("systemctl is-active promptmq; stat -c %U:%G:%a /etc/promptmq /etc/promptmq/promptmq.yaml /var/lib/promptmq; promptmq health"); got !=
		"active\nroot:promptmq:750\nroot:promptmq:640\npromptmq:promptmq:750\nready" {
		t.Errorf("after the start:\n%s", got)
	}
	status := m.run("cat /proc/$(systemctl show promptmq -p MainPID --value)/status")
	for _, want := range []string{"NoNewPrivs:\t1", "Seccomp:\t2", "CapBnd:\t0000000000000400", "CapEff:\t0000000000000400"} {
		if !strings.Contains(status, want) {
			t.Errorf("no %q in the status of the process:\n%s", want, status)
		}
	}
	m.run("systemd-analyze verify promptmq.service")
	t.Logf("%s", lastLine(m.run("systemd-analyze security --no-pager promptmq.service")))
	m.run("promptmq pub -t kept -m one -q 1 -r && test $(promptmq sub -t kept -C 1) = one")

	m.run("echo 'log: {level: debug}' >>/etc/promptmq/promptmq.yaml && systemctl reload promptmq")
	m.run("cp -p /etc/promptmq/promptmq.yaml /root/good && echo 'nonsense: 1' >>/etc/promptmq/promptmq.yaml")
	if r := m.try("systemctl reload promptmq"); r.code == 0 {
		t.Error("a broken configuration was reloaded")
	}
	m.run("cp -p /root/good /etc/promptmq/promptmq.yaml && promptmq health")

	m.run("mkdir -p /run/systemd/system/promptmq.service.d && printf '[Service]\\nWatchdogSec=10\\nTimeoutStopSec=2\\n' >/run/systemd/system/promptmq.service.d/soon.conf && systemctl daemon-reload && systemctl restart promptmq")
	m.run("kill -STOP $(systemctl show promptmq -p MainPID --value)")
	// The watchdog replaces a broker that hangs; the loop is there, so that systemd is not asked all the time.
	m.run("until test $(systemctl show promptmq -p NRestarts --value) != 0 && promptmq health; do sleep 1; done")
	m.run("test $(promptmq sub -t kept -C 1) = one")
}

// replaceService replaces a broker of systemd in two ways while connects come one after the other:
// none may be refused, and the unit goes on with the new process.
func replaceService(t *testing.T, m *machine) {
	t.Helper()
	m.run("systemctl stop promptmq && cp /root/promptmq.socket /etc/systemd/system/ && systemctl daemon-reload && systemctl start promptmq.socket promptmq")
	for _, by := range []string{"promptmq upgrade --data-dir /var/lib/promptmq", "systemctl restart promptmq"} {
		before := m.show("MainPID")
		m.run("rm -f /root/enough /root/refused /root/through; " +
			"(until test -e /root/enough; do promptmq pub -t through -m 1 -q 1 2>>/root/refused; echo >>/root/through; done; touch /root/done) >/dev/null 2>&1 &" +
			"until test -s /root/through; do sleep 0.1; done; " + by + "; " +
			"n=$(wc -l </root/through); until test $(wc -l </root/through) -gt $((n + 5)); do sleep 0.1; done; touch /root/enough; until test -e /root/done; do sleep 0.1; done; rm /root/done")
		if m.show("MainPID") == before {
			t.Errorf("%s: the unit has the process that it had", by)
		}
		if got := m.run("cat /root/refused; systemctl is-active promptmq; systemctl show promptmq -p NRestarts --value; promptmq sub -t kept -C 1; pgrep -c -x promptmq"); got != "active\n0\none\n1" {
			t.Errorf("%s: refusals, state, restarts, the message that was kept, processes:\n%s", by, got)
		}
	}
	m.run("systemctl stop promptmq.socket promptmq && ! pgrep -x promptmq && rm /etc/systemd/system/promptmq.socket && systemctl daemon-reload && systemctl start promptmq")
}

func lastLine(text string) string { return text[strings.LastIndexByte(text, '\n')+1:] }

// The .deb on a Debian with systemd: installed, used, upgraded, removed and purged.
func TestOutsideDeb(t *testing.T) {
	find := released(t)
	deb := find("_amd64.deb")
	packages := t.TempDir()
	next := filepath.Join(packages, "next")
	output(t, "dpkg-deb", "-R", deb, next)
	control := filepath.Join(next, "DEBIAN", "control")
	text, err := os.ReadFile(control)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(control, []byte(strings.Replace(string(text), "Version: ", "Version: 9", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := output(t, "dpkg-deb", "-Zgzip", "-z1", "-b", next, filepath.Join(packages, "next.deb")); err != nil {
		t.Fatal(out, err)
	}
	socket, err := filepath.Abs(filepath.Join(root, "deploy", "systemd", "promptmq.socket"))
	if err != nil {
		t.Fatal(err)
	}
	m := boot(t, deb, filepath.Join(packages, "next.deb"), socket)
	m.run("dpkg -i /root/" + filepath.Base(deb))
	useService(t, m)
	replaceService(t, m)
	m.run("systemctl is-enabled promptmq")

	before := m.show("MainPID")
	m.run("dpkg -i /root/next.deb")
	if m.show("MainPID") == before {
		t.Error("an upgrade did not restart the broker")
	}
	m.run("grep -q 'level: debug' /etc/promptmq/promptmq.yaml && test $(promptmq sub -t kept -C 1) = one")
	m.run("systemctl disable --now promptmq && dpkg -i --force-downgrade /root/" + filepath.Base(deb))
	if r := m.try("systemctl is-enabled promptmq"); r.code == 0 {
		t.Error("an upgrade enabled what was disabled")
	}

	m.run("systemctl start promptmq && dpkg -r promptmq")
	if r := m.try("pgrep -x promptmq || test -e /usr/bin/promptmq"); r.code == 0 {
		t.Errorf("something is left after remove:\n%s", r.stdout)
	}
	m.run("test -s /var/lib/promptmq/promptmq.db && test -s /etc/promptmq/promptmq.yaml")
	m.run("dpkg -P promptmq && ! test -e /var/lib/promptmq && ! test -e /etc/promptmq && ! find /etc/systemd /var/lib/systemd -name '*promptmq*' | grep .")
}

// The .rpm, with rpm on a Debian: what it depends on is not looked at.
func TestOutsideRPM(t *testing.T) {
	program(t, "rpm")
	find := released(t)
	file := find(".x86_64.rpm")
	rpm := filepath.Base(file)
	m := boot(t, file)
	m.run("rpm -i --nodeps --nosignature /root/" + rpm)
	if m.run("systemctl is-active promptmq || true") != "inactive" {
		t.Error("an .rpm starts its service")
	}
	m.run("systemctl start promptmq")
	useService(t, m)
	before := m.show("MainPID")
	m.run("rpm -U --force --nodeps --nosignature /root/" + rpm)
	if m.show("MainPID") == before {
		t.Error("an upgrade did not restart the broker")
	}
	m.run("grep -q 'level: debug' /etc/promptmq/promptmq.yaml && rpm -e promptmq")
	m.run("! pgrep -x promptmq && ! test -e /usr/bin/promptmq && test -s /var/lib/promptmq/promptmq.db")
}
