package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// limitedBinary is promptmq under a limit of open files.
func limitedBinary(t *testing.T, files int) string {
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
	for _, files := range []int{48, 64, 100, 200} {
		t.Run(strconv.Itoa(files), func(t *testing.T) {
			t.Parallel()
			testFileLimit(t, files)
		})
	}
}

func testFileLimit(t *testing.T, files int) {
	clients := files - max(36, min(files/2, 96))
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
		return s.counted(`promptmq_connections_refused_total{reason="too many connections"}`) >= 100
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
