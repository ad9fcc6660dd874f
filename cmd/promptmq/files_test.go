package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// limitedBinary is promptmq under a limit of open files.
func limitedBinary(t *testing.T, files int) string {
	t.Helper()
	return limitedTo(t, files, binary)
}

func limitedTo(t *testing.T, files int, binary string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "promptmq-limited")
	script := fmt.Sprintf("#!/bin/sh\nulimit -n %d\nexec '%s' \"$@\"\n", files, binary)
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// dialAll makes n connections that say nothing.
func dialAll(t *testing.T, addr string, n int) (silent []net.Conn) {
	t.Helper()
	for range n {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		silent = append(silent, nc)
	}
	return silent
}

// TestFileLimit: when clients have taken as many sockets as the limit of open
// files allows, and others as many of the listener for metrics as that has, there are
// files left for the store, which reads a queue from disk, and for who asks how the
// broker is; who is refused is counted and named.
func TestFileLimit(t *testing.T) {
	t.Parallel()
	for _, files := range []int{60, 64, 100, 200} {
		t.Run(strconv.Itoa(files), func(t *testing.T) {
			t.Parallel()
			testFileLimit(t, files)
		})
	}
}

func testFileLimit(t *testing.T, files int) {
	clients := files - 32 - 8 - 2*2 - max(4, files/8)
	s := startBinary(t, limitedBinary(t, files), nil, "")
	warned := s.waitLog("the limit of open files allows fewer connections than mqtt.max-connections: raise it (ulimit -n, LimitNOFILE= in a unit of systemd), " +
		"or lower mqtt.max-connections")
	if warned["open_files"] != float64(files) || warned["connections"] != float64(clients) || warned["max_connections"] != 10000.0 {
		t.Errorf("%v", warned)
	}
	absent(t, s, "sub", "t")
	pub := v5Of(t, s, "pub", nil)
	publishRange(pub, "t", 0, 400, 10) // more than a queue keeps in memory
	s.stop()
	s.restart()

	silent := dialAll(t, s.metrics, 100)
	silent = append(silent, dialAll(t, s.mqtt, clients+100)...)
	eventually(t, "some are refused", func() bool {
		return s.counted(`promptmq_connections_refused_total{reason="limit of open files"}`) >= 100
	})
	if code, body := s.get("/ready"); code != 200 {
		t.Errorf("/ready: %d %s", code, body)
	}
	sub := v5Of(t, s, "sub", resumed) // in the place of one that has said nothing
	sub.expectRange(0, 400)
	said := s.waitLog("too many connections: one without CONNECT was closed")
	if said.text("key") != "limit of open files" || said["limit"] != float64(clients) {
		t.Errorf("%v", said)
	}
	for _, nc := range silent {
		_ = nc.Close()
	}
	for _, r := range s.log() {
		if strings.Contains(r.text("error"), "too many open files") {
			t.Errorf("files ran out: %v", r)
		}
	}
	if r := sub.subscribeOne("again", codec.QoS(1)); r != codec.GrantedQoS1 {
		t.Errorf("%v", r)
	}
}

const filesRunOut = "too many open files"

// A crowdedServer has no more sockets for clients.
type crowdedServer struct {
	*server
	rules string // its file of rules
	pub   *raw   // one more client
	crowd []net.Conn
}

// crowded starts a server that may have 256 files open, and has clients and sockets that say
// nothing, on listeners of all kinds, take all that they are given: until the log has one of
// these messages. The session "sub" is absent.
func crowded(t *testing.T, path string, env []string, until ...string) *crowdedServer {
	t.Helper()
	dir := t.TempDir()
	rules := filepath.Join(dir, "rules")
	writeCertificate(t, dir, 1)
	writeText(t, rules, someRules)
	socket := filepath.Join(dir, "s")
	s := startBinary(t, path, env, fmt.Sprintf("auth: {rules-file: %q}\nserver:\n  connect-timeout: 5m\n  listeners:\n"+
		"    - {kind: tls, address: '127.0.0.1:0', cert-file: %q, key-file: %q, handshake-timeout: 5m}\n    - {kind: unix, address: %q}\n",
		rules, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), socket))
	absent(t, s, "sub", "open/t")
	pub := v5Of(t, s, "pub", nil)
	var crowd []net.Conn
	for i := range 50 {
		crowd = append(crowd, v5Of(t, s, fmt.Sprint("client ", i), nil))
	}
	listeners := []struct{ network, address string }{{"tcp", s.mqtt}, {"tcp", s.ws}, {"tcp", s.listening("tls")}, {"unix", socket}}
	for i := 0; !s.said(until...); i++ {
		nc, err := net.Dial(listeners[i%4].network, listeners[i%4].address)
		if err != nil { // of the Unix socket, when nobody accepts: the next is another
			continue
		}
		t.Cleanup(func() { _ = nc.Close() })
		crowd = append(crowd, nc)
		if len(crowd) > 2000 {
			t.Fatalf("%d connections, and none is refused", len(crowd))
		}
	}
	return &crowdedServer{s, rules, pub, crowd}
}

// said says whether the log has one of these messages.
func (s *server) said(messages ...string) bool {
	return slices.ContainsFunc(messages, func(msg string) bool { return len(s.linesOf(msg)) > 0 })
}

// TestFilesKept: however many sockets clients open, on all listeners together, there are files
// for metrics, for a durable PUBLISH, for commands of the operator and for a reload.
func TestFilesKept(t *testing.T) {
	t.Parallel()
	const oneClosed = "too many connections: one without CONNECT was closed"
	s := crowded(t, limitedBinary(t, 256), nil, oneClosed, "accept failed")
	const kept = 32 + 8 + 4*2 + 256/8
	if r := s.waitLog("open files are limited"); r["limit"] != 256.0 || r["kept"] != float64(kept) || r["connections"] != float64(256-kept) {
		t.Errorf("%v", r)
	}
	if r := s.waitLog(oneClosed); r.text("key") != "limit of open files" || r["limit"] != float64(256-kept) {
		t.Errorf("%v", r)
	}
	for _, addr := range []string{s.ws, s.listening("tls"), s.mqtt} {
		s.crowd = append(s.crowd, dialAll(t, addr, 50)...)
	}
	eventually(t, "each of them takes the place of another", func() bool {
		return s.counted(`promptmq_connections_refused_total{reason="limit of open files"}`) >= 150
	})
	if n := s.metric("promptmq_connections_current"); n < 51 || n > 256-kept {
		t.Errorf("%v connections", n)
	}
	publishRange(s.pub, "open/t", 0, 400, 800)
	c := commander{t, s.dataDir()}
	c.okWith("a password", "user", "add", "ann", "--password-stdin")
	if out := c.ok("user", "list"); !strings.Contains(out, "ann") {
		t.Errorf("%s", out)
	}
	writeText(t, s.rules, "deny everyone all topic open/#\nend\n")
	if r := s.hangup(); r.text("msg") != "reloaded" {
		t.Errorf("%v", r)
	}
	if got := s.pub.publish1(1, "open/t", "x"); got != codec.NotAuthorized {
		t.Errorf("after the reload: %v", got)
	}
	for _, r := range s.log() {
		if strings.Contains(r.text("error"), filesRunOut) {
			t.Errorf("files ran out: %v", r)
		}
	}
	for _, nc := range s.crowd {
		_ = nc.Close()
	}
}

// TestFilesKeptControl: a broker that keeps no files has none for a reload.
func TestFilesKeptControl(t *testing.T) {
	t.Parallel()
	s := crowded(t, limitedTo(t, 256, controlBinary(t)), []string{"BREAK_RULES=files-not-kept"}, "accept failed")
	if r := s.hangup(); r.text("msg") != notReloaded || !strings.Contains(fmt.Sprint(r.texts("faults")), filesRunOut) {
		t.Errorf("%v", r)
	}
	for _, nc := range s.crowd {
		_ = nc.Close()
	}
	eventually(t, "there are files again", func() bool { return s.hangup().text("msg") == "reloaded" })
}
