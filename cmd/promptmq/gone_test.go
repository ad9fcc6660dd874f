package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// copyData copies a data directory, but for its socket.
func copyData(to, from string) error {
	if err := os.Remove(filepath.Join(from, "admin.sock")); err != nil {
		return err
	}
	return os.CopyFS(to, os.DirFS(from))
}

// goneCases are what may happen to the files of a running broker. dir is the
// data directory, and a symbolic link to dir+"-real".
var goneCases = []struct {
	name string
	harm func(dir string) error
	file string // that the error names
}{
	{"folder removed", func(dir string) error { return os.RemoveAll(dir + "-real") }, "promptmq.db"},
	{"folder emptied", func(dir string) error {
		names, err := filepath.Glob(filepath.Join(dir, "*"))
		for _, name := range names {
			err = os.Remove(name)
		}
		return err
	}, "promptmq.db"},
	{"folder moved", func(dir string) error { return os.Rename(dir+"-real", dir+"-moved") }, "promptmq.db"},
	{"folder replaced by a copy", func(dir string) error {
		if err := os.Rename(dir+"-real", dir+"-moved"); err != nil {
			return err
		}
		return copyData(dir+"-real", dir+"-moved")
	}, "promptmq.db"},
	{"link changed to a copy", func(dir string) error {
		if err := copyData(dir+"-copy", dir+"-real"); err != nil {
			return err
		}
		if err := os.Remove(dir); err != nil {
			return err
		}
		return os.Symlink(dir+"-copy", dir)
	}, "promptmq.db"},
	{"file removed", removed("promptmq.db"), "promptmq.db"},
	{"file moved", func(dir string) error {
		return os.Rename(filepath.Join(dir, "promptmq.db"), filepath.Join(dir, "old.db"))
	}, "promptmq.db"},
	{"file replaced", func(dir string) error {
		name := filepath.Join(dir, "promptmq.db")
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(name+".new", b, 0o600); err != nil {
			return err
		}
		return os.Rename(name+".new", name)
	}, "promptmq.db"},
	{"WAL removed", removed("promptmq.db-wal"), "promptmq.db-wal"},
	{"index of the WAL removed", removed("promptmq.db-shm"), "promptmq.db-shm"},
	{"lock removed", removed("promptmq.lock"), "promptmq.lock"},
}

func removed(name string) func(dir string) error {
	return func(dir string) error { return os.Remove(filepath.Join(dir, name)) }
}

// From the moment on at which the next start would not find what is stored,
// nothing is acknowledged, and the broker ends with an error that names the file.
func TestStoreGone(t *testing.T) {
	t.Parallel()
	tried := 0
	for _, mode := range []string{"wal", "truncate"} {
		for _, test := range goneCases {
			if mode != "wal" && strings.Contains(test.name, "WAL") {
				continue // there is none
			}
			tried++
			t.Run(mode+"/"+test.name, func(t *testing.T) {
				t.Parallel()
				s := startLinked(t, binary, nil, "--sqlite-journal-mode", mode)
				acked := publishAndHarm(t, s, test.harm)
				if acked > 0 {
					t.Errorf("%d messages were acknowledged afterwards", acked)
				}
				checkGone(t, s, test.file)
				if strings.Contains(test.name, "copy") {
					s.restart() // the files that have taken the place are whole
					sub, ack := connectRaw(t, s.mqtt, codec.Version5, "sub", func(c *codec.Connect) { c.CleanStart = false })
					if !ack.SessionPresent || string(sub.receive().Payload) != "before" {
						t.Error("the copy has lost the session")
					}
				}
			})
		}
	}
	t.Logf("%d ways, 0 acknowledged afterwards", tried)
}

// A broker that has nothing to store notices when it is asked whether it is ready, or when it
// asks itself.
func TestReadyKnowsStoreGone(t *testing.T) {
	t.Parallel()
	s := startLinked(t, binary, nil)
	if err := os.RemoveAll(s.dataDir()); err != nil { // the link
		t.Fatal(err)
	}
	if resp, err := http.Get("http://" + s.metrics + "/ready"); err == nil { // else it has noticed by itself
		body, _ := io.ReadAll(resp.Body) // the process may be faster
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s: %s", resp.Status, body)
		}
	}
	checkGone(t, s, "promptmq.db")
}

// TestStoreGoneControl does not look at the files: TestStoreGone must notice.
func TestStoreGoneControl(t *testing.T) {
	t.Parallel()
	s := startLinked(t, controlBinary(t), []string{"BREAK_RULES=gone-files-unnoticed"})
	acked := publishAndHarm(t, s, goneCases[0].harm)
	s.kill()
	if acked == 0 {
		t.Error("not noticed")
	}
	t.Logf("%d acknowledged by a control that does not look", acked)
}

// startLinked starts a server whose data directory is a link to another one.
func startLinked(t *testing.T, binary string, env []string, args ...string) *server {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir+"-real", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir+"-real", dir); err != nil {
		t.Fatal(err)
	}
	s := startBinary(t, binary, env, "", append(args, "--data-dir", dir)...)
	s.data = dir
	return s
}

// publishAndHarm returns how many durable messages of those were acknowledged that
// were published after harm was done.
func publishAndHarm(t *testing.T, s *server, harm func(string) error) (acked int) {
	t.Helper()
	sub, _ := connectRaw(t, s.mqtt, codec.Version5, "sub", lasting)
	sub.subscribeOne("stored", 1)
	sub.drop()
	pub, _ := connectRaw(t, s.mqtt, codec.Version5, "pub", nil)
	if r := pub.publish1(1, "stored", "before"); r != codec.Success {
		t.Fatalf("before: %v", r)
	}
	if err := harm(s.dataDir()); err != nil {
		t.Fatal(err)
	}
	for i := range uint16(20) {
		b, err := codec.AppendPublish(nil, &codec.Publish{QoS: 1, PacketID: 2 + i, Topic: codec.View("stored"), Payload: codec.View(fmt.Sprint(i))}, pub.v)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pub.Write(b); err != nil {
			break
		}
		f, err := pub.next()
		if err != nil || f.Type() != codec.TypePuback {
			break
		}
		acked++
	}
	return acked
}

// checkGone checks how the broker ends.
func checkGone(t *testing.T, s *server, file string) {
	t.Helper()
	if code := s.wait(); code != exitFailure {
		t.Errorf("exit code %d", code)
	}
	log := s.log()
	last := log[len(log)-1]
	if last.text("level") != "FATAL" || !strings.Contains(last.text("error"), filepath.Join(s.dataDir(), file)) {
		t.Errorf("the last record is %v", last)
	}
}
