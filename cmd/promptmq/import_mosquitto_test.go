package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// mosquittoFiles has what Mosquitto 2.0.11 and its tools wrote: a broker in each folder. The
// password of a user is "pw of USER", and boss may do everything. answers.txt is what that broker
// said to the questions about it: go test ./cmd/promptmq -tags outside -run OutsideImport -update
const mosquittoFiles = "testdata/mosquitto"

// A mosquittoWorld is what is asked of a broker.
type mosquittoWorld struct {
	clients [][2]string // user name and client identifier; "": without
	topics  []string    // to publish to and to receive from
	filters []string    // to subscribe to
}

var mosquittoWorlds = map[string]mosquittoWorld{
	"acl": {
		clients: [][2]string{{"", "c1"}, {"ann", "c2"}, {"bob", "bob"}, {"carl", "locked"}, {"eve+", "c3"}, {"d/e", "c/4"}},
		topics: []string{
			"public/a", "public/secret/a", "inbox/a", "inbox/a/b", "home/kitchen/temperature", "home/safe/code", "home", "my topic", "a/x/c", "a/b/c", "a",
			"dev/c2/x", "dev/locked/locked", "mail/ann", "mail/d/e", "log/bob/bob", "everyone/x", "$SYS/broker/version", "$x/a",
		},
	},
	"dynsec": {
		clients: [][2]string{{"", "c1"}, {"sam", "c2"}, {"olga", "c3"}, {"mix", "c4"}, {"lit", "c5"}, {"bound", "its-id"}, {"bound", "another"}, {"two", "c6"}, {"rev", "c7"}, {"none", "c8"}},
		topics:  []string{"sensors/hall/value", "sensors/secret/value", "sensors/attic/value", "commands/go", "commands/danger", "public/a", "inbox/a", "a/b", "a/c", "$x/a", "$SYS/broker/version"},
		filters: []string{"#", "+/+", "a/+", "a/x", "b/#", "b/+", "b/x", "commands/+", "sensors/#", "sensors/+/value", "sensors/secret/value", "public/#", "$SYS/broker/+", "$SYS/#"},
	},
}

// ask asks a broker everything, a line for each answer.
func (w *mosquittoWorld) ask(t *testing.T, addr string) string {
	t.Helper()
	var b strings.Builder
	boss, ack := connectRaw(t, addr, codec.Version5, "boss", byUser("boss", "pw of boss"))
	if ack.Reason != codec.Success {
		t.Fatalf("boss: CONNACK %v", ack.Reason)
	}
	for _, who := range w.clients {
		c, ack := connectRaw(t, addr, codec.Version5, who[1], asUser(who[0], "pw of "+who[0]))
		say := func(action, topic string, yes bool) {
			fmt.Fprintf(&b, "%s\t%s\t%s\t%s\t%v\n", cmp.Or(who[0], "-"), who[1], action, topic, yes)
		}
		in := ack.Reason == codec.Success
		for _, topic := range w.topics {
			if !strings.HasPrefix(topic, "$SYS") {
				say("publish", topic, in && c.mayPublish(topic))
			}
			say("receive", topic, in && c.mayReceive(boss, topic))
		}
		for _, filter := range w.filters {
			say("subscribe", filter, in && c.maySubscribe(filter))
		}
		c.drop()
	}
	return b.String()
}

// asUser is byUser, or nobody.
func asUser(user, password string) func(*codec.Connect) {
	if user == "" {
		return nil
	}
	return byUser(user, password)
}

func (p *raw) mayPublish(topic string) bool {
	p.t.Helper()
	p.publish(codec.Publish{QoS: 1, PacketID: 7, Topic: codec.View(topic), Payload: codec.View("x")})
	var ack codec.Ack
	p.past(codec.TypePuback, func(f codec.Frame) error { return ack.Decode(f, p.v) })
	return ack.Reason < 0x80
}

func (p *raw) maySubscribe(filter string) bool {
	p.t.Helper()
	p.send(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 8}, []codec.Subscription{{Filter: codec.View(filter)}}, p.v))
	var ack codec.Suback
	p.past(codec.TypeSuback, func(f codec.Frame) error { return ack.Decode(f, p.v) })
	return ack.Reasons[0] < 0x80
}

// past waits for an answer behind messages of subscriptions.
func (p *raw) past(kind codec.PacketType, decode func(codec.Frame) error) {
	p.t.Helper()
	for {
		f, err := p.next()
		switch {
		case err != nil:
			p.t.Fatal(err)
		case f.Type() == codec.TypePublish:
			continue
		case f.Type() != kind:
			p.t.Fatalf("got %v, expected %v", f.Type(), kind)
		}
		if err := decode(f); err != nil {
			p.t.Fatal(err)
		}
		return
	}
}

// mayReceive reports whether a message that boss publishes comes to a subscription of it.
func (p *raw) mayReceive(boss *raw, topic string) bool {
	p.t.Helper()
	if !p.maySubscribe(topic) {
		return false
	}
	if !strings.HasPrefix(topic, "$SYS") {
		boss.publish(codec.Publish{Topic: codec.View(topic), Payload: codec.View("x")})
		boss.pinged(nil)
	}
	found := false
	p.pinged(func(name string) { found = found || name == topic })
	return found
}

// pinged waits for the answer to a PINGREQ, and has got told of each message before it.
func (p *raw) pinged(got func(topic string)) {
	p.t.Helper()
	p.send(codec.AppendPingreq(nil), nil)
	for {
		f, err := p.next()
		if err != nil {
			p.t.Fatal(err)
		}
		if f.Type() == codec.TypePingresp {
			return
		}
		var m codec.Publish
		if err := m.Decode(f, p.v); err != nil {
			p.t.Fatalf("%v: %v", f.Type(), err)
		}
		if got != nil {
			got(string(m.Topic))
		}
	}
}

// mosquittoCopy copies a folder of mosquittoFiles, with another port.
func mosquittoCopy(t *testing.T, name, addr string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	files, err := os.ReadDir(filepath.Join(mosquittoFiles, name))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(mosquittoFiles, name, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if f.Name() == "mosquitto.conf" {
			_, port, _ := strings.Cut(addr, ":")
			text = []byte(strings.ReplaceAll(string(text), "listener 1883", "listener "+port))
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name()), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// moved imports a folder and starts a broker with what was made of it.
func moved(t *testing.T, dir string) *server {
	t.Helper()
	to := filepath.Join(t.TempDir(), "new", "place")
	r := run(t, nil, "import", "mosquitto", "--conf", filepath.Join(dir, "mosquitto.conf"), "--to", to)
	if r.code != exitAttention || r.stderr != "" {
		t.Fatalf("import: code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	file := filepath.Join(to, "promptmq.yaml")
	if r := run(t, nil, "config", "check", "--files", file); r.code != 0 {
		t.Fatalf("%s", r.stderr)
	}
	s := &server{t: t, binary: binary, dir: to, data: filepath.Join(to, "data")}
	t.Cleanup(s.cleanup)
	s.begin()
	return s
}

// listenerAddress is where a listener of that name listens.
func (s *server) listenerAddress(prefix string) string {
	s.t.Helper()
	for _, r := range s.linesOf("listening") {
		if strings.HasPrefix(r.text("listener"), prefix) {
			return r.text("addr")
		}
	}
	s.t.Fatalf("no listener %s", prefix)
	return ""
}

// logInWith connects and returns the Reason Code.
func logInWith(t *testing.T, addr, user, password string) codec.ReasonCode {
	t.Helper()
	id := "login"
	if user == "bound" {
		id = "its-id" // the only one that it may have
	}
	c, ack := connectRaw(t, addr, codec.Version5, id, asUser(user, password))
	c.drop()
	return ack.Reason
}

// mosquittoUsers are those of a folder.
func mosquittoUsers(t *testing.T, name string) (users []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(mosquittoFiles, name, "passwd"))
	if err == nil {
		for line := range strings.Lines(string(text)) {
			user, _, _ := strings.Cut(line, ":")
			users = append(users, user)
		}
		return users
	}
	var file struct {
		Clients []struct{ Username string }
	}
	text, err = os.ReadFile(filepath.Join(mosquittoFiles, name, "dynamic-security.json"))
	if err == nil {
		err = json.Unmarshal(text, &file)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range file.Clients {
		users = append(users, c.Username)
	}
	return users
}

// TestImportMosquitto: users log in with their passwords, and the broker answers as Mosquitto
// did.
func TestImportMosquitto(t *testing.T) {
	t.Parallel()
	for name, world := range mosquittoWorlds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := moved(t, mosquittoCopy(t, name, freeAddr(t)))
			addr := s.listenerAddress("tcp-")
			want, err := os.ReadFile(filepath.Join(mosquittoFiles, name, "answers.txt"))
			if err != nil {
				t.Fatal(err)
			}
			wantAnswers(t, world.ask(t, addr), string(want))
			for _, user := range mosquittoUsers(t, name) {
				want := codec.Success
				if user == "off" {
					want = codec.NotAuthorized
				}
				if got := logInWith(t, addr, user, "pw of "+user); got != want {
					t.Errorf("%s: CONNACK %v, expected %v", user, got, want)
				}
			}
			if got := logInWith(t, addr, "boss", "pw of boss."); got != codec.BadUserNameOrPassword {
				t.Errorf("wrong password: CONNACK %v", got)
			}
		})
	}
}

// wantAnswers compares line by line.
func wantAnswers(t *testing.T, got, want string) {
	t.Helper()
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	if len(g) != len(w) {
		t.Fatalf("%d answers, expected %d", len(g), len(w))
	}
	yes := 0
	for i := range g {
		if g[i] != w[i] {
			t.Errorf("%q, and Mosquitto %q", g[i], w[i])
		}
		if strings.HasSuffix(g[i], "true") {
			yes++
		}
	}
	t.Logf("%d questions, %d answered with yes", len(g)-1, yes)
}

// importMosquitto runs the command on a folder.
func importMosquitto(t *testing.T, dir, to string, flags ...string) result {
	t.Helper()
	return run(t, nil, append([]string{"import", "mosquitto", "--conf", filepath.Join(dir, "mosquitto.conf"), "--to", to}, flags...)...)
}

// filesBelow are the files of directories, with what is in them.
func filesBelow(t *testing.T, dirs ...string) string {
	t.Helper()
	var b strings.Builder
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				fmt.Fprintln(&b, path)
				return err
			}
			text, err := os.ReadFile(path)
			fmt.Fprintf(&b, "%s %x\n", path, text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// TestImportMosquittoWrites: nothing is written with --dry-run or when something is refused,
// what is there is not replaced without --force, and the files of Mosquitto stay as they are.
func TestImportMosquittoWrites(t *testing.T) {
	unraced(t)
	t.Parallel()
	dir, to := mosquittoCopy(t, "acl", "127.0.0.1:1883"), t.TempDir()
	before := filesBelow(t, dir, to)
	r := importMosquitto(t, dir, to, "--dry-run")
	if r.code != exitAttention || !strings.Contains(r.stdout, "mosquitto.conf:5") || !strings.Contains(r.stdout, "acl:22") {
		t.Errorf("code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if filesBelow(t, dir, to) != before {
		t.Error("--dry-run has written something")
	}
	conf := filepath.Join(dir, "mosquitto.conf")
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	writeText(t, conf, string(text)+"mount_point x/\n")
	r = importMosquitto(t, dir, to)
	if r.code != exitUsage || !strings.Contains(r.stdout, "refused") || !strings.Contains(r.stderr, "nothing was imported") {
		t.Errorf("code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	writeText(t, conf, string(text))
	if filesBelow(t, dir, to) != before {
		t.Error("a refused import has written something")
	}
	source := filesBelow(t, dir)
	r = importMosquitto(t, dir, to, "--json")
	var report struct {
		Written  []string
		Counts   map[string]int
		Findings []struct{ Source, What, Outcome, Why string }
	}
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil || r.code != exitAttention || len(report.Written) != 2 || report.Counts["taken"] < 20 {
		t.Fatalf("code %d, %v\n%s%s", r.code, err, r.stdout, r.stderr)
	}
	if filesBelow(t, dir) != source {
		t.Error("the files of Mosquitto were changed")
	}
	made := filesBelow(t, to)
	r = importMosquitto(t, dir, to)
	if r.code != exitUsage || !strings.Contains(r.stderr, "is there already") || filesBelow(t, to) != made {
		t.Errorf("a second time: code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	r = importMosquitto(t, dir, to, "--force")
	if r.code != exitAttention || !strings.Contains(r.stdout, "the database that was there is now") {
		t.Errorf("with --force: code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if strings.Contains(r.stdout, "$7$") {
		t.Error("a hash is in the report")
	}
}

// TestImportMosquittoFaults: what is wrong in a file that is named is told with its line, and
// nothing is written.
func TestImportMosquittoFaults(t *testing.T) {
	unraced(t)
	t.Parallel()
	for _, fault := range []struct{ folder, file, text, want string }{
		{"acl", "passwd", "ann:$7$101$AAAA$AAAA\n", "passwd:1"},
		{"acl", "passwd", "ann:secret\n", "mosquitto_passwd -U"},
		{"acl", "passwd", "", "cut off"},
		{"acl", "acl", "topic read a\nfoo\n", "acl:2"},
		{"dynsec", "dynamic-security.json", `{"clients":[`, "dynamic-security.json"},
		{"dynsec", "dynamic-security.json", `{"secretMeaning":1}`, "unknown field"},
		{"dynsec", "dynamic-security.json", `{"roles":[{"rolename":"r","acls":[{"acltype":"subscribePattern","topic":"$share/#","allow":false}]}]}`, "cannot be denied"},
		{"dynsec", "dynamic-security.json", `{"roles":[{"rolename":"r","allowwildcardsubs":false}]}`, "forbid wildcards"},
		{"dynsec", "dynamic-security.json", `{"clients":[{"username":"a","password":"x","salt":"AAAA","iterations":2000000}]}`, "iterations"},
		{"dynsec", "dynamic-security.json", `{"clients":[{"username":"a"},{"username":"a"}]}`, "twice"},
		{"dynsec", "dynamic-security.json", `{"roles":[{"rolename":"r"}],"groups":[{"groupname":"r"},{"groupname":"role: r"}]}`, "would have this name"},
	} {
		dir, to := mosquittoCopy(t, fault.folder, "127.0.0.1:1883"), t.TempDir()
		writeText(t, filepath.Join(dir, fault.file), fault.text)
		r := importMosquitto(t, dir, to)
		if r.code != exitUsage || !strings.Contains(r.stdout, fault.want) || filesBelow(t, to) != to+"\n" {
			t.Errorf("%s %q: code %d\n%s%s", fault.file, fault.text, r.code, r.stdout, r.stderr)
		}
	}
	dir, to := mosquittoCopy(t, "acl", "127.0.0.1:1883"), t.TempDir()
	if err := os.Mkdir(filepath.Join(to, "promptmq.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	before := filesBelow(t, to)
	r := importMosquitto(t, dir, to, "--force")
	if r.code != exitFailure || !strings.Contains(r.stderr, "nothing was imported") || filesBelow(t, to) != before {
		t.Errorf("a directory in the place of the configuration: code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	r = run(t, nil, "import", "mosquitto", "--conf", filepath.Join(t.TempDir(), "mosquitto.conf"))
	if r.code != exitUsage || !strings.Contains(r.stderr, "no such file") {
		t.Errorf("code %d\n%s", r.code, r.stderr)
	}
}
