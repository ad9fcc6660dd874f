package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

const notReloaded = "not reloaded: all stays as it was"

// write replaces the server's configuration file.
func (s *server) write(yaml string) {
	s.t.Helper()
	s.writeFile("promptmq.yaml", yaml)
}

func (s *server) writeFile(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// hangup sends SIGHUP and returns what the log says of the reload.
func (s *server) hangup() record {
	s.t.Helper()
	before := len(s.linesOf("reloaded")) + len(s.linesOf(notReloaded))
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		s.t.Fatal(err)
	}
	var last record
	eventually(s.t, "the log says what came of SIGHUP", func() bool {
		n := 0
		for _, r := range s.log() {
			if msg := r.text("msg"); msg == "reloaded" || msg == notReloaded {
				n, last = n+1, r
			}
		}
		return n > before
	})
	return last
}

// texts are the strings of a list in a record.
func (r record) texts(attr string) []string {
	list, _ := r[attr].([]any)
	var texts []string
	for _, v := range list {
		texts = append(texts, fmt.Sprint(v))
	}
	return texts
}

func TestReload(t *testing.T) {
	t.Parallel()
	s := start(t, "mqtt: {keep-alive: 60}\n")
	stays, _ := connectRaw(t, s.mqtt, codec.Version5, "stays", nil)
	s.write("log: {level: debug}\nmqtt: {keep-alive: 60, max-subscriptions: 1, max-packet-size: 1000}\nserver: {listeners: [{kind: tcp, address: '127.0.0.1:0'}]}\n")
	r := s.hangup()
	if want := []string{"log.level", "mqtt.max-subscriptions"}; r.text("level") != "WARN" || !slices.Equal(r.texts("changed"), want) {
		t.Errorf("%v, want changed %v", r, want)
	}
	if want := []string{"server.listeners[tcp]", "mqtt.max-packet-size"}; !slices.Equal(r.texts("needs_restart"), want) {
		t.Errorf("%v, want needs_restart %v", r, want)
	}
	// The level and the limit hold, for connections that are there too; what needs a restart does not.
	if got := stays.subscribe(codec.Subscription{Filter: codec.View("a")}, codec.Subscription{Filter: codec.View("b")}); !slices.Equal(got, []codec.ReasonCode{codec.Success, codec.QuotaExceeded}) {
		t.Errorf("SUBACK %v", got)
	}
	_, _ = connectRaw(t, s.mqtt, codec.Version5, "another", nil)
	eventually(t, "a debug line", func() bool {
		return slices.ContainsFunc(s.log(), func(r record) bool { return r.text("level") == "DEBUG" })
	})
	// The next one names what still needs a restart, and only that.
	if r := s.hangup(); len(r.texts("changed")) != 0 || len(r.texts("needs_restart")) != 2 {
		t.Errorf("%v", r)
	}
	s.write("")
	if r := s.hangup(); !slices.Contains(r.texts("faults"), filepath.Join(s.dir, "promptmq.yaml")+`: is the beginning of what it was before: if nothing was cut off, end it with the line "# end"`) {
		t.Errorf("%v", r)
	}
	s.write("# nothing\n")
	if r := s.hangup(); r.text("level") != "INFO" || !slices.Equal(r.texts("changed"), []string{"log.level", "mqtt.keep-alive", "mqtt.max-subscriptions"}) || len(r.texts("needs_restart")) > 0 {
		t.Errorf("%v", r)
	}
}

// A file with a fault of any kind changes nothing, not even what is right in it.
func TestReloadBroken(t *testing.T) {
	t.Parallel()
	s := start(t, "mqtt: {max-sessions: 2}\n")
	file := filepath.Join(s.dir, "promptmq.yaml")
	for name, test := range map[string]struct {
		text string
		want []string // with F for the file
	}{
		"unknown key":  {"log: {level: debug}\nmqtt: {max-sesions: 5}\n", []string{"F:2: mqtt.max-sesions: unknown key; did you mean mqtt.max-sessions?"}},
		"two faults":   {"log: {level: debug}\nmqtt: {max-sessions: 0}\nauth: {allow-anonymous: maybe}\n", []string{`F:2: mqtt.max-sessions: "0" is not allowed; it must be an integer from 1 to 100000000`, "F:3: auth.allow-anonymous: maybe is a string; it must be true or false"}},
		"no YAML":      {"log: {level: debug}\nauth: {allow-anonymous: true\n", []string{"F:2: not valid YAML"}},
		"UTF-16":       {"\xff\xfea\x00", []string{"F: is UTF-16; save it as UTF-8"}},
		"no UTF-8":     {"log: {level: debug}\n# \xe9\n", []string{"F:2: is not UTF-8; save the file as UTF-8"}},
		"no-break":     {"log:\n  level: debug\u00a0\n", []string{"F:2: log.level: "}},
		"half of it":   {"# end required\nauth: {allow-anonymous: true}\n", []string{`F:2: the last line is not "# end", which the first requires: the rest may be missing`}},
		"excluded":     {"auth: {allow-anonymous: true}\nserver:\n  listeners: [{kind: tcp, address: ':9'}, {kind: ws, address: ':9'}]\n", []string{"F:3: server.listeners[1].address: is the address of server.listeners[0] too"}},
		"not a map":    {"- auth\n", []string{"F:1: must hold keys"}},
		"long":         {strings.Repeat("#\n", 1<<20), []string{"F: is longer than the 1048576 bytes that are allowed"}},
		"without file": {"", []string{"F: no such file or directory"}},
		"directory":    {"", []string{"F: is a directory"}},
	} {
		if err := os.RemoveAll(file); err != nil {
			t.Fatal(err)
		}
		switch name {
		case "without file":
		case "directory":
			if err := os.Mkdir(file, 0o700); err != nil {
				t.Fatal(err)
			}
		default:
			s.write(test.text)
		}
		r := s.hangup()
		got := r.texts("faults")
		ok := r.text("msg") == notReloaded && len(got) == len(test.want)
		for i := 0; ok && i < len(got); i++ {
			ok = strings.HasPrefix(strings.ReplaceAll(got[i], file, "F"), test.want[i])
		}
		if !ok {
			t.Errorf("%s: %v, want faults %q", name, r, test.want)
		}
	}
	// The limit is what it was at the start, and the level too.
	for i := range 3 {
		want := codec.Success
		if i == 2 {
			want = codec.QuotaExceeded
		}
		if _, ack := connectRaw(t, s.mqtt, codec.Version5, fmt.Sprint("c", i), lasting); ack.Reason != want {
			t.Errorf("CONNECT %d: %v, want %v", i, ack.Reason, want)
		}
	}
	if slices.ContainsFunc(s.log(), func(r record) bool { return r.text("level") == "DEBUG" }) {
		t.Error("the level has changed")
	}
}

// cuttable is a file whose loss of any part would let more in, or let them do more.
const cuttable = `# end required
log: {level: info}
auth:
  allow-anonymous: false
mqtt:
  max-sessions: 2
# end
`

// TestReloadCut: a file that is cut off anywhere changes nothing at a reload.
func TestReloadCut(t *testing.T) {
	t.Parallel()
	text := strings.ReplaceAll(cuttable, "false", "true") // what a cut must not take over
	plain := "log: {level: info}\nmqtt:\n  max-sessions: 2\n"
	for name, c := range map[string]struct{ before, cut string }{
		"to be": {cuttable, text}, "the same": {cuttable, cuttable}, "without marks": {plain, plain},
	} {
		s := start(t, c.before)
		for n := 0; n < len(c.cut)-1; n += raceSlowdown {
			if n == 0 && name != "without marks" {
				continue // an empty file is one that says nothing
			}
			s.write(c.cut[:n])
			if r := s.hangup(); r.text("msg") != notReloaded || !strings.HasPrefix(fmt.Sprint(r.texts("faults")), "["+s.dir) {
				t.Errorf("%s: %q: %v", name, c.cut[:n], r)
			}
		}
	}
}

// TestStartCut: a file that is cut off anywhere is refused at the start.
func TestStartCut(t *testing.T) {
	unraced(t)
	t.Parallel()
	for n := 1; n < len(cuttable)-1; n++ {
		if r := run(t, nil, "server", "--config", yamlFile(t, cuttable[:n]), "--data-dir", filepath.Join(t.TempDir(), "data")); r.code != exitUsage {
			t.Errorf("%q: exit code %d\n%s", cuttable[:n], r.code, r.stderr)
		}
	}
}
