package store

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// TestHeadOfLine: behind a message that its Client never acknowledges, any number of
// others reach the Client, and the file and the memory stay small. When the process is
// killed, everything goes on: nothing is lost, what has QoS 2 comes once, and what is
// sent again has the Packet Identifier that it had.
//
// It measures the heap of the process, so nothing else runs beside it.
func TestHeadOfLine(t *testing.T) {
	messages := 300_000
	if raceSlowdown > 1 {
		messages = 140_000
	}
	for _, qos := range []codec.QoS{1, 2} {
		t.Run(fmt.Sprintf("QoS=%d", qos), func(t *testing.T) { headOfLine(t, qos, messages) })
	}
}

const (
	holBatch     = 500
	holFileMax   = 8 << 20
	holMemoryMax = 8 << 20
)

// A holClient is a Client with its Session, which does what a broker does.
type holClient struct {
	t    *testing.T
	qos  codec.QoS
	db   *DB
	dir  string
	s    *session.Session
	fx   session.Effects
	w    *session.Writes
	held []session.Send

	delivered int
	got       []byte         // how often each message came
	idOf      map[int]uint16 // of those under way
	under     map[uint16]int // the message of each Packet Identifier under way
	stuck     map[int]bool   // messages that are not acknowledged
	answers   []func()
	kills     int
	limits    session.Limits
}

// newHolClient returns a Client that is connected and does not acknowledge these messages.
func newHolClient(t *testing.T, qos codec.QoS, messages int, stuck ...int) *holClient {
	c := &holClient{
		t: t, qos: qos, dir: t.TempDir(), got: make([]byte, messages),
		idOf: make(map[int]uint16), under: make(map[uint16]int), stuck: make(map[int]bool),
		limits: session.Limits{WindowMessages: 1000, WindowBytes: 1 << 20, QueueMessages: 1 << 20, QueueBytes: 1 << 40, Inflight: 2000},
	}
	c.db = openTest(t, testOptions(c.dir))
	b := session.NewBatch()
	b.Sessions[1] = &session.Writes{Record: &session.Record{ID: 1, ClientID: "hol", ExpirySeconds: 60, Connected: true}}
	apply(t, c.db, b)
	c.s = session.New(1, "hol", "", true, &c.limits)
	for _, id := range stuck {
		c.stuck[id] = true
	}
	c.attach()
	return c
}

func headOfLine(t *testing.T, qos codec.QoS, messages int) {
	c := newHolClient(t, qos, messages, 0, 70_000, 70_001, 130_003)
	before := heapBytes()
	for c.delivered < messages {
		c.publish()
		if c.delivered == messages/2 || c.delivered == messages-2*holBatch {
			c.kill()
		}
	}
	c.settle()
	if n := c.s.QueueLen(); n != len(c.stuck) {
		t.Errorf("%d messages are under way, %d are not acknowledged", n, len(c.stuck))
	}
	if size := fileBytes(t, c.dir); size > holFileMax {
		t.Errorf("the file has %d bytes", size)
	}
	if n := heapBytes() - before; n > holMemoryMax {
		t.Errorf("the heap has grown by %d bytes", n)
	}
	t.Logf("%d messages: file %d bytes, heap %+d, State %d bytes", messages, fileBytes(t, c.dir), heapBytes()-before, len(c.s.AppendState(nil)))
	clear(c.stuck)
	c.kill() // they come again, and are acknowledged
	c.settle()
	for id, n := range c.got {
		if n == 0 || n > 1 && qos == 2 || int(n) > 1+c.kills {
			t.Fatalf("message %d came %d times", id, n)
		}
	}
	if n := c.s.QueueLen(); n != 0 {
		t.Errorf("%d messages are left", n)
	}
}

func heapBytes() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

func fileBytes(t *testing.T, dir string) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// publish delivers some messages and lets the Client acknowledge what has come.
func (c *holClient) publish() {
	payload := make([]byte, 100)
	for range holBatch {
		copy(payload, fmt.Sprintf("%08d", c.delivered))
		c.delivered++
		c.do(func() {
			m := &session.Message{Topic: "t", QoS: c.qos, Payload: append([]byte(nil), payload...)}
			c.s.Deliver(session.Entry{Message: m, QoS: c.qos}, time.Unix(1e9, 0), &c.fx)
		})
	}
	c.commit()
	c.answer()
}

func (c *holClient) settle() {
	for range 10_000 {
		c.commit()
		c.answer()
		if len(c.answers) == 0 && c.w == nil {
			return
		}
	}
	c.t.Error("it does not settle")
}

// do lets an event happen and carries out its Effects.
func (c *holClient) do(event func()) {
	c.fx.Reset()
	event()
	fx := &c.fx
	if c.w == nil {
		c.w = &session.Writes{}
	}
	c.w.Entries = append(c.w.Entries, fx.Entries...)
	c.w.Discarded = append(c.w.Discarded, fx.Discarded...)
	c.w.DiscardedRanges = append(c.w.DiscardedRanges, fx.DiscardedRanges...)
	state := fx.State
	for _, seq := range fx.Removed {
		if _, struck := c.w.Strike(seq); !struck {
			state = true
		}
	}
	if state {
		c.w.State, c.w.Floor = c.s.AppendState(c.w.State[:0]), c.s.Floor()
	}
	page := fx.Page
	for _, s := range fx.Sends {
		if s.AfterCommit || s.QoS != 1 || len(c.held) > 0 {
			c.held = append(c.held, s)
		} else {
			c.send(s)
		}
	}
	if page {
		c.page()
	}
}

func (c *holClient) page() {
	c.commit()
	from, upTo := c.s.PageFrom()
	messages, bytes := c.s.PageSize()
	entries, err := c.db.Page(1, from, messages, bytes)
	if err != nil {
		c.t.Fatal(err)
	}
	c.do(func() { c.s.Paged(entries, upTo, time.Unix(1e9, 0), &c.fx) })
}

func (c *holClient) commit() {
	if c.w != nil {
		b := session.NewBatch()
		b.Sessions[1], c.w = c.w, nil
		apply(c.t, c.db, b)
		removeAll(c.t, c.db)
	}
	held := c.held
	c.held = nil
	for _, s := range held {
		c.send(s)
	}
}

// send gives a packet to the Client, which answers it when answer is called.
func (c *holClient) send(s session.Send) {
	now := time.Unix(1e9, 0)
	id := c.under[s.PacketID]
	if s.Message != nil {
		n, err := strconv.Atoi(string(s.Message.Payload[:min(8, len(s.Message.Payload))]))
		if err != nil {
			c.t.Fatalf("%q: %v", s.Message.Payload, err)
		}
		id = n
		other, taken := c.under[s.PacketID]
		was, again := c.idOf[id]
		if taken && other != id || again && was != s.PacketID {
			c.t.Fatalf("message %d comes as %d, came as %d, which message %d has", id, s.PacketID, was, other)
		}
		c.idOf[id], c.under[s.PacketID] = s.PacketID, id
		if s.QoS == 1 || !again {
			c.got[id]++
		}
	}
	if c.stuck[id] && (c.qos == 1 || id%2 == 0 || s.Message == nil) { // QoS 2: without PUBREC, or without PUBCOMP
		return
	}
	done := func() {
		delete(c.under, s.PacketID)
		delete(c.idOf, id)
	}
	c.answers = append(c.answers, func() {
		switch {
		case s.Message == nil:
			c.do(func() { c.s.ReceivePubcomp(s.PacketID, now, &c.fx) })
			done()
		case s.QoS == 1:
			c.do(func() { c.s.ReceivePuback(s.PacketID, now, &c.fx) })
			done()
		default:
			c.do(func() { c.s.ReceivePubrec(s.PacketID, codec.Success, now, &c.fx) })
		}
	})
}

func (c *holClient) answer() {
	answers := c.answers
	c.answers = nil
	for _, answer := range answers {
		answer()
	}
}

func (c *holClient) attach() {
	c.do(func() { c.s.Attach(65535, 0, time.Unix(1e9, 0), &c.fx) })
}

// kill goes on with what a killed process leaves: the files as they are, with all that
// was delivered. Only the Client's answers are lost.
func (c *holClient) kill() {
	c.kills++
	c.commit()
	c.w, c.held, c.answers = nil, nil, nil
	dir := c.t.TempDir()
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(filepath.Join(c.dir, fileName+suffix))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, fileName+suffix), b, 0o600)
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
	if err := c.db.Close(); err != nil {
		c.t.Fatal(err)
	}
	c.dir = dir
	c.db = openTest(c.t, testOptions(dir))
	err := c.db.Load(func(l *session.Loaded) (err error) {
		l.Record.Connected = true // nobody noted the end
		c.s, err = session.Restore(l, &c.limits)
		return err
	}, func(string, *session.RetainedWrite) error { return nil })
	if err != nil {
		c.t.Fatal(err)
	}
	c.attach()
}
