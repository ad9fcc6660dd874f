package broker_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/metrics"
	"github.com/x0a1b/promptmq/store"
)

// This file runs a Broker with the real store, for tests of what it does. They
// speak to it as peers, over connections in memory.

// patience is how long what must come is waited for; only what fails waits so long.
const patience = time.Minute

// timeless runs a test in virtual time, which passes only while everything waits:
// no machine is too slow for it, and no time is too long.
func timeless(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, test)
}

// eventually polls until ok returns true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for wait := time.Millisecond; !ok(); wait = min(2*wait, time.Second) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(wait)
	}
}

// A fixture is a broker with its store.
type fixture struct {
	t        *testing.T
	dir      string
	settings []func(*broker.Options)
	storing  store.Options
	running  bool
	b        *broker.Broker
	store    *gatedStore
	m        *metrics.Broker
	journal  *journal
	conns    []*memoryConn // the peers' ends
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	return newFixtureOn(t, store.DefaultOptions(), t.TempDir())
}

// newFixtureIn starts a broker on what is in dir.
func newFixtureIn(t *testing.T, dir string) *fixture {
	t.Helper()
	return newFixtureOn(t, store.DefaultOptions(), dir)
}

// newFixtureWith starts a broker with other settings. Its store does not wait for
// the disk, which is no different as long as the machine has power.
func newFixtureWith(t *testing.T, settings ...func(*broker.Options)) *fixture {
	t.Helper()
	o := store.DefaultOptions()
	o.Synchronous = "OFF"
	return newFixtureOn(t, o, t.TempDir(), settings...)
}

// newFixtureMax is newFixtureWith whose store is full at so many bytes.
func newFixtureMax(t *testing.T, bytes int64, settings ...func(*broker.Options)) *fixture {
	t.Helper()
	o := store.DefaultOptions()
	o.Synchronous, o.MaxSize = "OFF", bytes
	return newFixtureOn(t, o, t.TempDir(), settings...)
}

func newFixtureOn(t *testing.T, o store.Options, dir string, settings ...func(*broker.Options)) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: dir, settings: settings, storing: o}
	f.begin()
	t.Cleanup(func() {
		if f.running {
			f.stop()
		}
		if t.Failed() {
			t.Logf("the log:\n%s", f.journal.text())
		}
	})
	return f
}

func (f *fixture) begin() {
	f.t.Helper()
	f.storing.DataDir = f.dir
	db, err := store.Open(f.storing)
	if err != nil {
		f.t.Fatal(err)
	}
	f.store, f.m, f.journal = &gatedStore{DB: db}, metrics.NewBroker(), &journal{}
	opts := broker.DefaultOptions()
	opts.Bind, opts.WSBind, opts.Metrics, opts.Logger = "", "", f.m, f.journal.logger()
	for _, set := range f.settings {
		set(&opts)
	}
	if f.b, err = broker.New(opts, f.store); err != nil {
		f.t.Fatal(err)
	}
	if err := f.b.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.running = true
}

// stop ends the broker in order.
func (f *fixture) stop() {
	f.t.Helper()
	f.running = false
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := f.b.Shutdown(ctx); err != nil && f.store.fail == nil {
		f.t.Error(err)
	}
	if err := f.store.Close(); err != nil {
		f.t.Error(err)
	}
	if n := f.m.Panics.Get(); n != 0 {
		f.t.Errorf("%d panics were recovered", n)
	}
}

// kill ends the broker as kill -9 does: all connections end at once, and what is on
// disk at this moment is what restart finds.
func (f *fixture) kill() {
	f.t.Helper()
	f.store.disk.Lock()
	for _, c := range f.conns {
		c.in.cut(false)
		c.out.cut(false)
	}
	f.conns = nil
	dir := f.copyDisk()
	f.store.disk.Unlock()
	f.stop() // nobody sees what it does
	f.dir = dir
}

// restart starts a broker on what the last one has stored, with more settings.
func (f *fixture) restart(settings ...func(*broker.Options)) {
	f.t.Helper()
	if f.running {
		f.t.Fatal("restart of a running broker")
	}
	f.settings = append(f.settings, settings...)
	f.begin()
}

// crash returns a broker that starts on what the disk of f holds now. The gate
// of f is shut.
func (f *fixture) crash() *fixture {
	f.t.Helper()
	return newFixtureIn(f.t, f.copyDisk())
}

func (f *fixture) copyDisk() (dir string) {
	f.t.Helper()
	dir = f.t.TempDir()
	for _, name := range []string{"promptmq.db", "promptmq.db-wal"} {
		b, err := os.ReadFile(filepath.Join(f.dir, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o600)
		}
		if err != nil {
			f.t.Fatal(err)
		}
	}
	return dir
}

// metric returns the value of one metric, named with its labels.
func (f *fixture) metric(name string) float64 {
	f.t.Helper()
	v, found := f.findMetric(name)
	if !found {
		f.t.Fatalf("no metric %s", name)
	}
	return v
}

func (f *fixture) findMetric(name string) (v float64, found bool) {
	f.t.Helper()
	var text bytes.Buffer
	f.m.WritePrometheus(&text)
	for line := range strings.Lines(text.String()) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				f.t.Fatalf("%s: %v", name, err)
			}
			return v, true
		}
	}
	return 0, false
}

// waitLog returns the first record with that message, when it comes.
func (f *fixture) waitLog(msg string) (r record) {
	f.t.Helper()
	eventually(f.t, "the log says "+strconv.Quote(msg), func() bool {
		lines := f.linesOf(msg)
		if len(lines) > 0 {
			r = lines[0]
		}
		return len(lines) > 0
	})
	return r
}

// linesOf returns the records with this message.
func (f *fixture) linesOf(msg string) (lines []record) {
	for _, r := range f.journal.all() {
		if r.text("msg") == msg {
			lines = append(lines, r)
		}
	}
	return lines
}

// dial connects without a buffer: each Write waits for the Read.
func (f *fixture) dial() *peer {
	client, server := net.Pipe()
	go f.b.ServeConn(server)
	return newPeer(f.t, client, codec.Version5)
}

// dialAs connects as over TCP: what is sent waits for its reader.
func (f *fixture) dialAs(v codec.Version) *peer {
	client, server := newSimConn(0, 1)
	c := &memoryConn{client}
	f.conns = append(f.conns, c)
	go f.b.ServeConn(&memoryConn{server})
	return newPeer(f.t, c, v)
}

// A memoryConn is a simConn of which one direction can be closed, as with TCP.
type memoryConn struct{ *simConn }

func (c *memoryConn) CloseWrite() error {
	c.out.end()
	return nil
}

// connect opens a durable Session.
func (f *fixture) connect(id string) *peer {
	f.t.Helper()
	p := f.dial()
	p.sendConnect(id)
	p.expect(codec.TypeConnack)
	return p
}

// connectAs connects with a Clean Start; change may alter the CONNECT.
func (f *fixture) connectAs(v codec.Version, id string, change func(*codec.Connect)) (*peer, codec.Connack) {
	f.t.Helper()
	p := f.dialAs(v)
	return p, p.connect(id, change)
}

// connectV5 is connectAs for a Client of 5, which is accepted.
func (f *fixture) connectV5(id string, change func(*codec.Connect)) *peer {
	f.t.Helper()
	p, ack := f.connectAs(codec.Version5, id, change)
	if ack.Reason != codec.Success {
		f.t.Fatalf("CONNACK %v", ack.Reason)
	}
	return p
}

// lasting makes the Session last, and resumed takes up one that does.
func lasting(c *codec.Connect) { c.HasSessionExpiry, c.SessionExpirySeconds = true, 3600 }
func resumed(c *codec.Connect) { lasting(c); c.CleanStart = false }
