package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// damagedServer returns a stopped server with a session that has a subscription
// and 40 queued messages, and a retained message, whose database has then been
// damaged by change. Its WAL is empty.
func damagedServer(t *testing.T, change func(db []byte) []byte) *server {
	t.Helper()
	s := start(t, "")
	sub, _ := connectRaw(t, s.mqtt, codec.Version5, "sub", lasting)
	sub.subscribeOne("t/+", 1)
	sub.drop()
	pub, _ := connectRaw(t, s.mqtt, codec.Version5, "pub", nil)
	for i := range uint16(40) {
		if r := pub.publish1(1+i, fmt.Sprint("t/", i), strings.Repeat(fmt.Sprintf("message %03d,", i), 200)); r != codec.Success {
			t.Fatalf("message %d: %v", i, r)
		}
	}
	pub.publish(codec.Publish{QoS: 1, PacketID: 99, Retain: true, Topic: codec.View("kept"), Payload: codec.View("retained")})
	pub.ack(codec.TypePuback)
	s.stop()
	path := filepath.Join(s.dataDir(), "promptmq.db")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// startRefused runs a server that must not start, and returns its log.
func (s *server) startRefused(args ...string) string {
	s.t.Helper()
	r := run(s.t, nil, append([]string{"server", "--data-dir", s.dataDir(), "--server-bind", "127.0.0.1:0",
		"--server-ws-bind=", "--metrics-enabled=false"}, args...)...)
	if r.code != exitFailure {
		s.t.Fatalf("exit code %d\n%s", r.code, r.stderr)
	}
	return r.stderr
}

// Damage ends the start with the file, what is wrong and the way out, and
// --salvage starts with all that is not damaged.
func TestSalvageStart(t *testing.T) {
	unraced(t)
	t.Parallel()
	s := damagedServer(t, func(db []byte) []byte {
		at := bytes.Index(db, []byte("message 017,"))
		if at < 0 {
			t.Fatal("the message is not in the file")
		}
		db[at] ^= 1
		return db
	})
	s.restart() // a queue is read when its client asks for it
	sub, ack := connectRaw(t, s.mqtt, codec.Version5, "sub", func(c *codec.Connect) { lasting(c); c.CleanStart = false })
	if !ack.SessionPresent {
		t.Error("no session")
	}
	_ = sub.Close()
	s.stop()

	s.args = []string{"--salvage"}
	s.restart()
	aside := s.waitLog("the database was damaged and is set aside").text("aside")
	if b, err := os.ReadFile(aside); err != nil || !strings.HasPrefix(aside, filepath.Join(s.dataDir(), "promptmq.db.corrupt-")) || len(b) == 0 {
		t.Errorf("set aside as %q: %d bytes, %v", aside, len(b), err)
	}
	wantSalvaged(t, s, "run", 39, 1)
	wantSalvaged(t, s, "session", 1, 0)
	wantSalvaged(t, s, "subscription", 1, 0)
	wantSalvaged(t, s, "retained", 1, 0)
	sub, ack = connectRaw(t, s.mqtt, codec.Version5, "sub", func(c *codec.Connect) { lasting(c); c.CleanStart = false })
	if !ack.SessionPresent {
		t.Error("the session is gone")
	}
	for i := range 40 {
		if i == 17 {
			continue
		}
		p := sub.receive()
		if want := fmt.Sprintf("message %03d,", i); !strings.HasPrefix(string(p.Payload), want) || p.Topic.String() != fmt.Sprint("t/", i) {
			t.Fatalf("%s with %.12s, want %s", p.Topic, p.Payload, want)
		}
		sub.sendAck(codec.TypePuback, p.PacketID)
	}
	sub.quiet()
	look, _ := connectRaw(t, s.mqtt, codec.Version5, "look", nil)
	if look.subscribeOne("kept", 0); look.receive().Payload.String() != "retained" {
		t.Error("the retained message is gone")
	}
	s.stop()

	s.restart() // sound now
	s.waitLog("the database is sound: --salvage changed nothing")
	s.stop()
	if found, _ := filepath.Glob(filepath.Join(s.dataDir(), "*.corrupt-*Z")); len(found) != 1 {
		t.Errorf("set aside: %v", found)
	}
}

func wantSalvaged(t *testing.T, s *server, table string, recovered, lost float64) {
	t.Helper()
	for _, r := range s.log() {
		if r.text("msg") == "salvaged" && r.text("table") == table {
			if r["recovered"] != recovered || r["lost"] != lost || r["unreadable_places"] != 0.0 {
				t.Errorf("%v, want %v recovered and %v lost", r, recovered, lost)
			}
			return
		}
	}
	t.Errorf("the log does not tell about %s", table)
}

// Each way in which a start finds damage names the file and the flag, and the
// flag is the way out.
func TestDamageNamesTheFlag(t *testing.T) {
	unraced(t)
	t.Parallel()
	for name, change := range map[string]func([]byte) []byte{
		"empty":    func([]byte) []byte { return nil },
		"all NUL":  func(b []byte) []byte { return make([]byte, len(b)) },
		"cut":      func(b []byte) []byte { return b[:len(b)-100] },
		"bad page": func(b []byte) []byte { clear(b[3*8192 : 4*8192]); return b },
		"bad text": func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("t/+"), []byte("t/#")) },
	} {
		t.Run(name, func(t *testing.T) {
			s := damagedServer(t, change)
			log := s.startRefused()
			for _, want := range []string{`"level":"FATAL"`, "damaged", salvageHintInLog} {
				if !strings.Contains(log, want) {
					t.Errorf("no %q in\n%s", want, log)
				}
			}
			s.args = []string{"--salvage"}
			if name == "empty" || name == "all NUL" { // there may have been rules
				if log := s.startRefused("--salvage"); !strings.Contains(log, "set aside") || !strings.Contains(log, "acl keep") {
					t.Errorf("started after the loss of everything:\n%s", log)
				}
				commander{t, s.dataDir()}.ok("acl", "keep")
				s.restart()
			} else {
				s.restart()
				s.waitLog("the database was damaged and is set aside")
			}
			connectRaw(t, s.mqtt, codec.Version5, "p", lasting)
		})
	}
}

// salvageHintInLog is salvageHint as JSON writes it.
var salvageHintInLog = strings.ReplaceAll(salvageHint, `"`, `\"`)
