package main

import (
	"bufio"
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A clientOf runs pub, sub and rr at a broker.
type clientOf struct {
	t *testing.T
	s *server
}

// ok returns what the command shows.
func (c clientOf) ok(args ...string) string {
	c.t.Helper()
	r := run(c.t, nil, at(c.s, args...)...)
	if r.code != 0 {
		c.t.Fatalf("%v: code %d\n%s", args, r.code, r.stderr)
	}
	return r.stdout
}

// TestClientSessions: sessions that -x and -c keep, -U, and client identifiers of -I.
func TestClientSessions(t *testing.T) {
	unraced(t)
	t.Parallel()
	c := clientOf{t, start(t, "")}
	c.ok("sub", "-t", "a/#", "-t", "b/#", "-q", "1", "-i", "kept", "-x", "1000", "-E")
	c.ok("sub", "-t", "c", "-U", "b/#", "-q", "1", "-i", "kept", "-c", "-E")
	for _, topic := range []string{"b/1", "a/1", "c"} {
		c.ok("pub", "-t", topic, "-m", "to "+topic, "-q", "1")
	}
	if got := c.ok("sub", "-t", "c", "-q", "1", "-i", "kept", "-c", "-x", "0", "-C", "2"); got != "to a/1\nto c\n" {
		t.Errorf("the session has %q", got)
	}
	c.ok("pub", "-t", "a/1", "-m", "too late", "-q", "1")
	if r := run(t, nil, at(c.s, "sub", "-t", "c", "-q", "1", "-i", "kept", "-c", "-W", "0.3")...); r.code != exitTimeout || r.stdout != "" {
		t.Errorf("-x 0 has not ended the session: %+v", r)
	}
	r := run(t, nil, at(c.s, "pub", "-t", "d", "-m", "x", "-I", "pre-", "-d")...)
	if !strings.Contains(r.stderr, `sending CONNECT as "pre-`) || strings.Contains(r.stderr, `as "pre-"`) {
		t.Errorf("-I: %+v", r)
	}
}

// TestSubRetainedOnly: retained messages are shown, and the first other one is the end.
func TestSubRetainedOnly(t *testing.T) {
	unraced(t)
	t.Parallel()
	c := clientOf{t, start(t, "")}
	c.ok("pub", "-t", "r/1", "-m", "one", "-r")
	c.ok("pub", "-t", "r/2", "-m", "two", "-r")
	cmd := exec.CommandContext(t.Context(), binary, at(c.s, "sub", "-t", "r/+", "-v", "--retained-only", "-d")...)
	cmd.Env = environ()
	var shown bytes.Buffer
	cmd.Stdout = &shown
	said := started(t, cmd)
	for n := 0; n < 2; {
		if strings.Contains(said(), "received PUBLISH") {
			n++
		}
	}
	c.ok("pub", "-t", "r/3", "-m", "not retained")
	if err := cmd.Wait(); err != nil || shown.String() != "r/1 one\nr/2 two\n" && shown.String() != "r/2 two\nr/1 one\n" {
		t.Errorf("%v: %q", err, shown.String())
	}
}

// started starts cmd and returns what returns the next line of its standard error.
func started(t *testing.T, cmd *exec.Cmd) (line func() string) {
	t.Helper()
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := bufio.NewScanner(out)
	return func() string {
		t.Helper()
		if !lines.Scan() {
			t.Fatal("standard error has ended")
		}
		return lines.Text()
	}
}

// TestClientWill: the Will of a sub that is killed is published, as its flags say.
func TestClientWill(t *testing.T) {
	unraced(t)
	t.Parallel()
	c := clientOf{t, start(t, "")}
	cmd := exec.CommandContext(t.Context(), binary, at(c.s, "sub", "-t", "x", "--will-topic", "w", "--will-payload", "-gone-", "--will-qos", "1", "--will-retain",
		"-D", "will", "content-type", "a/b", "-d")...)
	cmd.Env = environ()
	for said := started(t, cmd); !strings.Contains(said(), "received SUBACK"); {
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // killed
	if got := c.ok("sub", "-t", "w", "-q", "2", "-C", "1", "-F", "%p|%q|%C", "-W", "60"); got != "-gone-|1|a/b\n" {
		t.Errorf("the Will is %q", got)
	}
	if got := c.ok("sub", "-t", "w", "-C", "1", "-F", "%r", "-W", "60"); got != "1\n" {
		t.Errorf("retained: %q", got)
	}
}

// TestPubPace: --rate and --repeat-delay are upper bounds.
func TestPubPace(t *testing.T) {
	unraced(t)
	t.Parallel()
	c := clientOf{t, start(t, "")}
	for _, flags := range [][]string{{"--rate", "20"}, {"--repeat-delay", "0.05"}} {
		began := time.Now()
		c.ok(append([]string{"pub", "-t", "a", "-m", "x", "--repeat", "6"}, flags...)...)
		if took := time.Since(began); took < 250*time.Millisecond {
			t.Errorf("%v: six messages in %v", flags, took)
		}
	}
}

// TestClientUnixSocket: pub and sub over the broker's Unix socket.
func TestClientUnixSocket(t *testing.T) {
	unraced(t)
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "mqtt.sock")
	s := start(t, "server: {listeners: [{kind: unix, address: '"+socket+"'}]}")
	s.listening("unix")
	if r := run(t, nil, "pub", "--unix", socket, "-t", "a", "-m", "x", "-r", "-q", "1"); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	if r := run(t, nil, "sub", "--unix", socket, "-t", "a", "-C", "1", "-W", "60"); r.code != 0 || r.stdout != "x\n" {
		t.Errorf("%+v", r)
	}
	if r := run(t, nil, "sub", "--unix", socket, "-t", "a", "-p", "1883"); r.code != exitUsage || !strings.Contains(r.stderr, "--unix") {
		t.Errorf("with a port: %+v", r)
	}
}
