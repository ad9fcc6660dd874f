package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

const (
	someRules = "# who may what\nallow everyone all topic open/#\nend\n"
	someACL   = "topic readwrite open/#\n"
)

// rulesServer starts a server with a file for a key of rules.
func rulesServer(t *testing.T, key, text string) (s *server, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, fmt.Sprintf("auth: {%s: %q}\n", key, file)), file
}

// mayOnlyOpen checks what somebody may do on open/ and on other topics.
func mayOnlyOpen(t *testing.T, s *server, open, other codec.ReasonCode) {
	t.Helper()
	p, _ := connectRaw(t, s.mqtt, codec.Version5, "", nil)
	wants := map[string]codec.ReasonCode{"open/a": open, "other/a": other}
	for topic, want := range wants {
		if got := p.publish1(1, topic, "x"); got != want && (want != codec.Success || got != codec.NoMatchingSubscribers) {
			t.Errorf("PUBLISH %s: %v, want %v", topic, got, want)
		}
	}
	for topic, want := range wants {
		if got := p.subscribeOne(topic, 0); got != want {
			t.Errorf("SUBSCRIBE %s: %v, want %v", topic, got, want)
		}
	}
	p.drop()
}

// TestReloadRules: rules of both files decide from the start, change with a reload, and stay
// as they are when it is refused.
func TestReloadRules(t *testing.T) {
	t.Parallel()
	const yes, no = codec.Success, codec.NotAuthorized
	for key, texts := range map[string]struct{ open, all, wrong string }{
		"rules-file": {someRules, "allow everyone all topic #\nend\n", "allow everyone all topic #\nalow nobody\nend\n"},
		"acl-file":   {someACL, "topic readwrite #\n", "topic readwrite #\ntopik readwrite #\n"},
	} {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			s, file := rulesServer(t, key, texts.open)
			mayOnlyOpen(t, s, yes, no)
			if i := slices.IndexFunc(s.linesOf("listening"), func(r record) bool { return strings.HasPrefix(r.text("may"), "what ") }); i < 0 {
				t.Error("the start log does not speak of rules")
			}
			write := func(text string) {
				t.Helper()
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write(texts.all)
			if r := s.hangup(); r.text("msg") != "reloaded" {
				t.Errorf("%v", r)
			}
			mayOnlyOpen(t, s, yes, yes)
			write(texts.open)
			s.hangup()
			mayOnlyOpen(t, s, yes, no)
			write(texts.wrong)
			if r := s.hangup(); r.text("msg") != notReloaded || !strings.HasPrefix(fmt.Sprint(r.texts("faults")), "["+file+":2: auth."+key+": ") {
				t.Errorf("%v", r)
			}
			// Cut anywhere, or away.
			for n := range strings.TrimSuffix(texts.all, "\n") {
				write(texts.all[:n])
				if r := s.hangup(); r.text("msg") != notReloaded || !strings.HasPrefix(fmt.Sprint(r.texts("faults")), "["+file+":") {
					t.Errorf("%q: %v", texts.all[:n], r)
				}
				r := run(t, nil, "server", "--auth-"+key+"="+file, "--data-dir", filepath.Join(t.TempDir(), "data"))
				if r.code != exitUsage || !strings.HasPrefix(r.stderr, file+":") {
					t.Errorf("start with %q: exit code %d, %s", texts.all[:n], r.code, r.stderr)
				}
			}
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			if r := s.hangup(); r.text("msg") != notReloaded || !strings.Contains(fmt.Sprint(r.texts("faults")), "promptmq.yaml:1: auth."+key+": ") {
				t.Errorf("%v", r)
			}
			mayOnlyOpen(t, s, yes, no)
			// A key that is lost opens nothing; a rule that says so does, as does one of the store.
			for yaml, where := range map[string]string{"# no rules\n": "promptmq.yaml: ", "log: {level: info}\nauth: {" + key + ": ''}\n": "promptmq.yaml:2: "} {
				s.write(yaml)
				if r := s.hangup(); r.text("msg") != notReloaded || !strings.Contains(fmt.Sprint(r.texts("faults")), where+"auth."+key+": is no longer set, and without it there is no rule left") {
					t.Errorf("%v", r)
				}
				mayOnlyOpen(t, s, yes, no)
			}
			testLastRules(t, s, key)
		})
	}
}

// testLastRules: the file of rules may go when the store has one, and the last of the store
// when that is said.
func testLastRules(t *testing.T, s *server, key string) {
	const yes, no = codec.Success, codec.NotAuthorized
	acl := func(code int, args ...string) {
		t.Helper()
		if r := run(t, nil, append(append([]string{"acl"}, args...), "--data-dir", s.dataDir())...); r.code != code {
			t.Errorf("acl %v: exit code %d, %s", args, r.code, r.stderr)
		}
	}
	s.write("# no files of rules\n")
	acl(0, "add", "allow", "everyone", "all", "topic", "open/#")
	if r := s.hangup(); !slices.Equal(r.texts("changed"), []string{"auth." + key}) {
		t.Errorf("with a rule in the store: %v", r)
	}
	mayOnlyOpen(t, s, yes, no)
	acl(exitUsage, "remove", "1")
	acl(0, "remove", "--last", "1")
	mayOnlyOpen(t, s, yes, yes)
	if r := s.hangup(); r.text("msg") != "reloaded" {
		t.Errorf("without any rule before: %v", r)
	}
}

// TestReloadWithoutSockets: when clients have all the sockets that there are for them, SIGHUP
// reads the files all the same, and takes over what is denied. CVE-2017-7652 of Mosquitto: it
// had no file left for them, and no rules from then on.
func TestReloadWithoutSockets(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "rules")
	writeText(t, file, someRules)
	s := startBinary(t, limitedBinary(t, 64), nil, fmt.Sprintf("auth: {rules-file: %q}\n", file))
	p := v5Of(t, s, "stays", nil)
	if got := p.publish1(1, "open/a", "x"); got >= 0x80 {
		t.Errorf("before: %v", got)
	}
	dialAll(t, s.mqtt, 200)
	eventually(t, "some are refused", func() bool {
		return s.counted(`promptmq_connections_refused_total{reason="limit of open files"}`) > 100
	})
	writeText(t, file, "deny everyone all topic open/#\nend\n")
	if r := s.hangup(); r.text("msg") != "reloaded" {
		t.Errorf("%v", r)
	}
	if got := p.publish1(2, "open/a", "x"); got != codec.NotAuthorized {
		t.Errorf("after the reload: %v", got)
	}
	writeText(t, file, "deny everyone")
	if r := s.hangup(); r.text("msg") != notReloaded {
		t.Errorf("%v", r)
	}
	if got := p.publish1(3, "other", "x"); got != codec.NotAuthorized {
		t.Errorf("after a broken file: %v", got)
	}
}
