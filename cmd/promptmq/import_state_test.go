package main

import (
	"crypto/sha256"
	"encoding/json"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/store"
)

// smallScene is that of testdata/mosquitto/2.0.11.db.
var smallScene = scene{retained: 20, sessions: 20}

// TestImportMosquittoDatabase: what a real Mosquitto 2.0.11 has stored is there after the
// import.
func TestImportMosquittoDatabase(t *testing.T) {
	t.Parallel()
	unraced(t)
	smallScene.checkImport(t, filepath.Join("testdata", "mosquitto", "2.0.11.db"))
}

// checkImport imports a file, compares all with the scene, and that the file is as before.
func (sc scene) checkImport(t *testing.T, file string) {
	t.Helper()
	before := digestsOf(t, file)
	data := filepath.Join(t.TempDir(), "data")
	dry := run(t, nil, "import", "mosquitto", "--db", file, "--data-dir", data, "--dry-run")
	if _, err := os.Stat(data); !os.IsNotExist(err) {
		t.Errorf("--dry-run has written %s: %v", data, err)
	}
	done := run(t, nil, "import", "mosquitto", "--db", file, "--data-dir", data)
	if done.code != exitAttention && done.code != 0 || done.stderr != "" {
		t.Fatalf("code %d\n%s%s", done.code, done.stdout, done.stderr)
	}
	if report, _, _ := strings.Cut(done.stdout, "\n\n"); !strings.HasPrefix(dry.stdout, report) {
		t.Errorf("--dry-run says\n%s\nand without\n%s", dry.stdout, done.stdout)
	}
	t.Log(done.stdout)
	sc.checkSessions(t, data)
	s := start(t, "", "--data-dir", data)
	sc.checkRetained(t, s)
	for i := range sc.sessions {
		sc.checkQueue(t, s, sc.client(i))
	}
	s.stop()
	commander{t, data}.ok("verify")
	if after := digestsOf(t, file); !maps.Equal(before, after) {
		t.Errorf("the import has changed its source, or what is beside it: %v, %v", before, after)
	}
}

// digestsOf are those of a file, and of what is beside it and belongs to it.
func digestsOf(t *testing.T, file string) map[string][sha256.Size]byte {
	t.Helper()
	names, err := filepath.Glob(file + "*")
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string][sha256.Size]byte)
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = sha256.Sum256(b)
	}
	return all
}

// checkSessions compares what an export says of the sessions.
func (sc scene) checkSessions(t *testing.T, data string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "export.ndjson")
	commander{t, data}.ok("export", file)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sessions := make(map[string]*store.LineSession)
	for l := range strings.Lines(string(text)) {
		var line store.Line
		if err := json.Unmarshal([]byte(l), &line); err != nil {
			t.Fatal(err)
		}
		if line.Session != nil {
			sessions[line.Session.Client] = line.Session
		}
	}
	for i := range sc.sessions {
		c := sc.client(i)
		s := sessions[c.id]
		if (s == nil) != c.gone {
			t.Errorf("%s: %v", c.id, s)
		}
		if s == nil {
			continue
		}
		want := []store.LineSubscription{{
			Filter: c.topic(), QoS: int(c.sub.QoS), NoLocal: c.sub.NoLocal, RetainAsPublished: c.sub.RetainAsPublished, ID: c.subID, // Mosquitto does not store Retain Handling
		}}
		if c.id == sceneReader {
			want = append(want, store.LineSubscription{Filter: "in/#", QoS: 2})
			slices.SortFunc(s.Subscriptions, func(a, b store.LineSubscription) int { return strings.Compare(b.Filter, a.Filter) })
		}
		expiry := c.expiry
		if c.version != codec.Version5 {
			expiry = 0xFFFFFFFF
		}
		if s.User != c.user || s.Expiry != expiry || s.ExpiresAt.IsZero() != (expiry == 0xFFFFFFFF) || !slices.Equal(s.Subscriptions, want) {
			t.Errorf("%s: %+v, want %+v", c.id, s, want)
		}
	}
}

// checkRetained compares what a new subscription gets.
func (sc scene) checkRetained(t *testing.T, s *server) {
	t.Helper()
	p := v5Of(t, s, "", nil)
	p.subscribe(codec.Subscription{Filter: codec.View("#"), QoS: 2, RetainAsPublished: true})
	want := sc.all()
	for range len(want) {
		m, _ := p.publishAfter()
		is, should := got(&m), want[string(m.Topic)]
		p.acknowledge(&m)
		is.id = 0
		if is != should {
			t.Errorf("retained: %+v, want %+v", is, should)
		}
		delete(want, is.topic)
	}
	p.rest(&sceneClient{id: "retained"})
}

// acknowledge ends the delivery of a message.
func (p *raw) acknowledge(m *codec.Publish) {
	p.t.Helper()
	switch m.QoS {
	case 1:
		p.sendAck(codec.TypePuback, m.PacketID)
	case 2:
		p.sendAck(codec.TypePubrec, m.PacketID)
		p.sendAck(codec.TypePubcomp, m.PacketID)
	}
}

// checkQueue resumes a session, and compares what comes.
func (sc scene) checkQueue(t *testing.T, s *server, c *sceneClient) {
	t.Helper()
	p, ack := connectRaw(t, s.mqtt, c.version, c.id, c.connect(false))
	if c.version != codec.Version31 && ack.SessionPresent == c.gone {
		t.Errorf("%s: Session Present %v", c.id, ack.SessionPresent)
	}
	released, want := sc.owed(c)
	for n := range released {
		if id := p.ack(codec.TypePubrel).PacketID; id != uint16(n+1) {
			t.Errorf("%s: PUBREL %d, want %d", c.id, id, n+1)
		}
		p.sendAck(codec.TypePubcomp, uint16(n+1))
	}
	ids := make(map[uint16]bool)
	for _, should := range want {
		m, pubrel := p.publishAfter()
		is := got(&m)
		p.acknowledge(&m)
		if ids[is.id] && pubrel == 0 {
			t.Errorf("%s: the Packet Identifier %d comes twice", c.id, is.id)
		}
		ids[is.id] = true
		if should.id == 0 {
			is.id = 0
		}
		if is != should {
			t.Errorf("%s: %+v, want %+v", c.id, is, should)
		}
	}
	if c.arrives {
		p.publish(codec.Publish{QoS: 2, Dup: true, PacketID: 77, Retain: true, Topic: codec.View(c.arrivalTopic()), Payload: codec.View("from " + c.id)})
		p.sendAck(codec.TypePubrel, 77)
	}
	p.rest(c)
	p.drop()
}

// publishAfter is the next PUBLISH, and how many PUBREL came before it.
func (p *raw) publishAfter() (m codec.Publish, pubrel int) {
	p.t.Helper()
	for {
		f, err := p.next()
		if err == nil && f.Type() == codec.TypePublish {
			err = m.Decode(f, p.v)
		}
		if err != nil {
			p.t.Fatal(err)
		}
		if f.Type() == codec.TypePublish {
			return m, pubrel
		}
		pubrel++
	}
}

// rest checks that nothing but the end of handshakes comes any more.
func (p *raw) rest(c *sceneClient) {
	p.t.Helper()
	p.send(codec.AppendPingreq(nil), nil)
	for answered, ended := false, !c.arrives; !answered || !ended; {
		f, err := p.next()
		switch {
		case err != nil:
			p.t.Fatal(err)
		case f.Type() == codec.TypePingresp:
			answered = true
		case f.Type() == codec.TypePubcomp:
			var a codec.Ack
			if err := a.Decode(f, p.v); err != nil || a.Reason != codec.Success || ended {
				p.t.Errorf("%s: PUBCOMP %v, %v", c.id, a.Reason, err)
			}
			ended = true
		case f.Type() != codec.TypePubrel && f.Type() != codec.TypePubrec:
			p.t.Errorf("%s: %v", c.id, f.Type())
		}
	}
}

// TestImportMosquittoState: the state that a mosquitto.conf names comes with users and rules;
// nothing is there after a fault.
func TestImportMosquittoState(t *testing.T) {
	t.Parallel()
	unraced(t)
	dir, to := t.TempDir(), t.TempDir()
	db, conf, data := filepath.Join(dir, "mosquitto.db"), filepath.Join(dir, "mosquitto.conf"), filepath.Join(to, "data")
	whole, err := os.ReadFile(filepath.Join("testdata", "mosquitto", "2.0.11.db"))
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{db: string(whole[:len(whole)-3]), conf: "listener 1883\nallow_anonymous true\npersistence true\npersistence_location " + dir + "/\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fails := func(want string, args ...string) {
		t.Helper()
		r := run(t, nil, append([]string{"import", "mosquitto"}, args...)...)
		if r.code != exitUsage || !strings.Contains(r.stderr, want) || r.stdout != "" {
			t.Errorf("%q: code %d, want %s\n%s%s", args, r.code, want, r.stdout, r.stderr)
		}
		if entries, err := os.ReadDir(to); err != nil || len(entries) > 0 {
			t.Errorf("%q has left %v, %v", args, entries, err)
		}
	}
	fails("say with --conf", "--to", to)
	fails("--force replaces what --conf writes", "--db", db, "--to", to, "--force")
	fails("no such file", "--db", db+"x", "--to", to)
	fails("it is not whole, or damaged", "--db", db, "--to", to)
	fails("it is not whole, or damaged", "--conf", conf, "--to", to)
	if err := os.WriteFile(db, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	wantRunningTold(t, conf)
	r := run(t, nil, "import", "mosquitto", "--conf", conf, "--to", to)
	if strings.Contains(r.stderr, "warning") || !strings.Contains(r.stdout, "14 sessions ") || strings.Count(r.stdout, "session of client") != 4 {
		t.Errorf("sessions are not summed up\n%s%s", r.stdout, r.stderr)
	}
	if r.code != exitAttention || !strings.Contains(r.stdout, "imported 18 sessions with 138 queued messages, 22 retained messages") || !strings.Contains(r.stdout, "promptmq.yaml: written") {
		t.Fatalf("code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	c := commander{t, data}
	c.answers("18,22", "SELECT sessions, retained FROM store")
	if r := run(t, nil, "import", "mosquitto", "--db", db, "--to", to); r.code != exitUsage || !strings.Contains(r.stderr, `there is a session of client "client-000" already`) {
		t.Errorf("code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	c.answers("18,22", "SELECT sessions, retained FROM store")
}

// wantRunningTold runs a rehearsal while something listens where the Mosquitto does: that is told,
// each session with --verbose, and what is changed behind what is not.
func wantRunningTold(t *testing.T, conf string) {
	t.Helper()
	l := acceptEach(t, func(c net.Conn) { _ = c.Close() })
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(l.Addr().String(), ":")
	running := conf + ".running"
	writeText(t, running, strings.Replace(string(text), "1883", port, 1)+"socket_domain ipv4\n")
	r := run(t, nil, "import", "mosquitto", "--conf", running, "--to", t.TempDir(), "--dry-run", "--verbose")
	has(t, r.stdout, `session of client "client-000"`)
	if strings.LastIndex(r.stdout, " left out ") > strings.Index(r.stdout, " changed ") || !strings.Contains(r.stdout, " changed ") {
		t.Errorf("what is changed is not last\n%s", r.stdout)
	}
	if r.code != exitAttention || !strings.HasPrefix(r.stderr, "warning: something listens on ") || !strings.Contains(r.stderr, port) {
		t.Errorf("code %d\n%s", r.code, r.stderr)
	}
}
