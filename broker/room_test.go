package broker

import (
	"bytes"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// TestOpenGroupIsBounded: while the disk does not answer, what is delivered and
// acknowledged takes no memory, and who sends more than there is room for is not
// read until the next commit begins, whatever its own limits are.
func TestOpenGroupIsBounded(t *testing.T) {
	store := new(stalledStore)
	p := newPathOn(t, func(s Store) Store { store.Store = s; return store }, func(*Options) {})
	lasting := func(c *codec.Connect) { c.HasSessionExpiry, c.SessionExpirySeconds = true, 3600 }
	prompt := p.connect("prompt", new(sink), lasting)
	p.subscribe(prompt, 1, "t")
	pub := p.connect("pub", new(sink), lasting)
	if err := p.b.commits.Flush(); err != nil {
		t.Fatal(err)
	}
	publish := func(c *conn, topic string, retain bool) {
		t.Helper()
		b, err := codec.AppendPublish(nil, &codec.Publish{QoS: 1, PacketID: 1, Retain: retain, Topic: codec.View(topic), Payload: codec.View("x")}, codec.Version5)
		if err != nil {
			t.Fatal(err)
		}
		p.put(c, b)
	}
	store.gate.Lock()
	answer := sync.OnceFunc(store.gate.Unlock)
	defer answer()
	publish(p.connect("other", new(sink)), "kept", true) // the commit that stalls
	for p.b.commits.Waiting() == 0 {
		p.b.commits.Wake()
		time.Sleep(time.Millisecond)
	}
	const n = 10_000
	for i := range n {
		publish(pub, "t", false)
		b, err := codec.AppendAck(nil, &codec.Ack{Type: codec.TypePuback, PacketID: uint16(i) + 1}, codec.Version5)
		if err != nil {
			t.Fatal(err)
		}
		p.put(prompt, b)
	}
	if held := p.b.commits.OpenEntries(); held > n/2 {
		t.Errorf("%d entries are in memory of %d that were acknowledged", held, n)
	}

	p.b.commits.LimitOpenEntries(p.b.commits.OpenEntries())
	publish(pub, "t", false)                     // one more
	pub.readState = &readState{storedSome: true} // as when it was read
	blocked := make(chan bool)
	go func() { blocked <- pub.awaitRoom() }()
	for !waits() {
		time.Sleep(time.Millisecond)
	}
	select {
	case <-blocked:
		t.Error("it is read on")
	default:
	}
	prompt.readState = new(readState)
	if prompt.awaitRoom() {
		t.Error("who only acknowledges waits")
	}
	answer()
	if !<-blocked {
		t.Error("it did not wait")
	}
	if err := p.b.commits.Flush(); err != nil {
		t.Fatal(err)
	}
	if held := p.b.commits.OpenEntries(); held != 0 {
		t.Errorf("%d entries are in the open group, which is empty", held)
	}
}

// waits reports whether a goroutine blocks in awaitRoom.
func waits() bool {
	all := make([]byte, 1<<20)
	for g := range bytes.SplitSeq(all[:runtime.Stack(all, true)], []byte("\n\n")) {
		state, _, _ := bytes.Cut(g, []byte("\n"))
		if bytes.Contains(g, []byte("(*conn).awaitRoom")) && bytes.Contains(state, []byte("[select")) {
			return true
		}
	}
	return false
}
