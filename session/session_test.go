package session

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

var start = time.Unix(1e9, 0)

// sends is what the Effects send, one word each.
func sends(fx *Effects) string {
	var words []string
	for _, s := range fx.Sends {
		if s.Message == nil {
			words = append(words, fmt.Sprintf("pubrel:%d", s.PacketID))
			continue
		}
		word := fmt.Sprintf("%s:%d/%d", s.Message.Payload, s.QoS, s.PacketID)
		if s.Dup {
			word += "dup"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

type scripted struct {
	t   *testing.T
	s   *Session
	fx  Effects
	now time.Time
}

func volatile(t *testing.T, inflight int) *scripted {
	s := New(1, "c", "", false, &Limits{WindowMessages: 8, WindowBytes: 1 << 20, QueueMessages: 5, QueueBytes: 1 << 20, Inflight: inflight})
	s.version = codec.Version5
	return &scripted{t: t, s: s, now: start}
}

// do runs an event and compares what it sends.
func (c *scripted) do(want string, event func()) {
	c.t.Helper()
	c.fx.Reset()
	event()
	if got := sends(&c.fx); got != want {
		c.t.Errorf("sent %q, expected %q", got, want)
	}
}

func (c *scripted) deliver(payload string, qos codec.QoS, expiry time.Duration, want string) {
	c.t.Helper()
	m := &Message{Topic: "t", Payload: []byte(payload), QoS: qos}
	if expiry > 0 {
		m.ExpiresAt = c.now.Add(expiry)
	}
	c.do(want, func() { c.s.Deliver(Entry{Message: m, QoS: qos}, c.now, &c.fx) })
}

func (c *scripted) attach(max uint16, packetBytesMax uint32, want string) {
	c.t.Helper()
	c.do(want, func() { c.s.Attach(max, packetBytesMax, c.now, &c.fx) })
}

// TestQuotaAndResend: the window is the smaller of both limits; after a new
// connection what was sent comes again in order, with DUP and the same
// identifiers, and after PUBREC only PUBREL does.
func TestQuotaAndResend(t *testing.T) {
	c := volatile(t, 3)
	c.attach(2, 0, "")
	c.deliver("a", 1, 0, "a:1/1")
	c.deliver("b", 2, 0, "b:2/2")
	c.deliver("c", 1, 0, "")
	c.do("pubrel:2", func() { c.s.ReceivePubrec(2, codec.Success, c.now, &c.fx) })
	awaits := func(id uint16, want codec.PacketType) {
		t.Helper()
		if got := c.s.Awaits(id); got != want {
			t.Errorf("identifier %d awaits %v, expected %v", id, got, want)
		}
	}
	awaits(1, codec.TypePuback)
	awaits(2, codec.TypePubcomp)
	awaits(3, 0) // not sent
	c.s.Detach()
	awaits(1, 0) // not sent on this connection, of which there is none
	c.deliver("d", 1, 0, "")
	c.attach(65535, 0, "pubrel:2 a:1/1dup c:1/3")
	c.do("pubrel:2", func() { c.s.ReceivePubrec(2, codec.Success, c.now, &c.fx) }) // answered again
	c.do("d:1/4", func() { c.s.ReceivePubcomp(2, c.now, &c.fx) })
	c.do("", func() {
		if c.s.ReceivePubcomp(2, c.now, &c.fx) || c.s.ReceivePuback(9, c.now, &c.fx) {
			t.Error("acknowledged what is not in flight")
		}
	})
	if !c.s.ReceivePuback(4, c.now, &c.fx) || !c.s.ReceivePuback(1, c.now, &c.fx) || !c.s.ReceivePuback(3, c.now, &c.fx) || c.s.QueueLen() != 0 {
		t.Error("the queue is not empty")
	}
}

// TestRefusedDelivery: a Reason Code of 0x80 or more in PUBREC ends a delivery.
func TestRefusedDelivery(t *testing.T) {
	c := volatile(t, 1)
	c.attach(65535, 0, "")
	c.deliver("a", 2, 0, "a:2/1")
	if got := c.s.Awaits(1); got != codec.TypePubrec || c.s.Awaits(2) != 0 {
		t.Errorf("identifier 1 awaits %v", got)
	}
	c.deliver("b", 2, 0, "")
	c.do("b:2/2", func() { c.s.ReceivePubrec(1, codec.QuotaExceeded, c.now, &c.fx) })
}

// TestExpiry: what has expired is not sent, what was sent once is, and the rest
// of the interval is told.
func TestExpiry(t *testing.T) {
	c := volatile(t, 1)
	c.attach(65535, 0, "")
	c.deliver("sent", 2, 5*time.Second, "sent:2/1")
	c.deliver("gone", 1, 5*time.Second, "")
	c.deliver("kept", 1, 60*time.Second, "")
	c.s.Detach()
	c.now = c.now.Add(10*time.Second + time.Millisecond)
	c.attach(65535, 0, "sent:2/1dup")
	c.do("pubrel:1", func() { c.s.ReceivePubrec(1, codec.Success, c.now, &c.fx) })
	c.do("kept:1/3", func() { c.s.ReceivePubcomp(1, c.now, &c.fx) })
	if c.fx.Expired != 1 {
		t.Errorf("%d expired", c.fx.Expired)
	}
	if left, ok := c.fx.Sends[0].Message.RemainingExpirySeconds(c.now); left != 50 || !ok {
		t.Errorf("%d seconds left", left)
	}
}

// TestTooLarge: a message beyond the Client's Maximum Packet Size is dropped as
// if it had been sent.
func TestTooLarge(t *testing.T) {
	c := volatile(t, 3)
	c.attach(65535, 30, "")
	c.deliver(strings.Repeat("x", 40), 1, 0, "")
	if c.fx.TooLarge != 1 || c.s.QueueLen() != 0 {
		t.Errorf("%d too large, %d queued", c.fx.TooLarge, c.s.QueueLen())
	}
	c.deliver("fits", 1, 0, "fits:1/2")
}

func TestFull(t *testing.T) {
	c := volatile(t, 3)
	for range 5 {
		if c.s.Full() {
			t.Fatal("full too early")
		}
		c.deliver("m", 1, 0, "")
	}
	if !c.s.Full() {
		t.Error("not full")
	}
}

// TestTakeShared: what another member may get leaves the queue; a QoS 2 delivery
// that has started stays.
func TestTakeShared(t *testing.T) {
	c := volatile(t, 2)
	c.attach(65535, 0, "")
	for i, qos := range []codec.QoS{2, 1, 2, 1} {
		m := &Message{Topic: "t", Payload: []byte{'a' + byte(i)}, QoS: qos}
		c.s.Deliver(Entry{Message: m, QoS: qos, Share: "$share/g/t"}, c.now, &c.fx)
	}
	names := func(entries []Entry) (s string) {
		for _, e := range entries {
			s += string(e.Message.Payload)
		}
		return s
	}
	if got := names(c.s.TakeShared(map[string]bool{"$share/other/t": true}, true, &c.fx)); got != "" {
		t.Errorf("took %q", got)
	}
	if got := names(c.s.TakeShared(map[string]bool{"$share/g/t": true}, false, &c.fx)); got != "cd" {
		t.Errorf("took %q of those not sent", got)
	}
	c.s.Detach()
	if got := names(c.s.TakeShared(nil, true, &c.fx)); got != "b" || c.s.QueueLen() != 1 {
		t.Errorf("took %q of the rest, %d queued", got, c.s.QueueLen())
	}
}

func TestReceive(t *testing.T) {
	s := New(1, "c", "", true, &simLimits)
	var fx Effects
	if s.ReceivePublish(7, 0, false, &fx) != Accepted || !fx.State {
		t.Error("a new identifier must be stored")
	}
	fx.Reset()
	if s.ReceivePublish(7, 0, false, &fx) != Repeated || fx.State || !s.Receiving(7) {
		t.Error("a repetition stores nothing")
	}
	restored, err := Restore(&Loaded{State: s.AppendState(nil), Record: Record{ID: 1}}, &simLimits)
	if err != nil || !restored.Receiving(7) || restored.ReceivingCount() != 1 {
		t.Errorf("the identifier is lost: %v", err)
	}
	if !s.ReceivePubrel(7, &fx) || s.ReceivePubrel(7, &fx) || s.Receiving(7) {
		t.Error("an identifier is released once")
	}
}

func TestRanges(t *testing.T) {
	var r ranges
	for _, seq := range []uint64{5, 3, 4, 9, 7, 8} {
		r.add(seq)
	}
	if fmt.Sprint(r) != "[{3 5} {7 9}]" || !r.has(4) || r.has(6) || r.has(10) || r.within(4, 8) != 3 {
		t.Error(r, r.within(4, 8))
	}
	r.trim(8)
	if fmt.Sprint(r) != "[{8 9}]" {
		t.Error(r)
	}
	r.trim(100)
	if len(r) != 0 {
		t.Error(r)
	}
}

func FuzzDecodeState(f *testing.F) {
	full := State{Floor: 3, Sent: 9, Next: 12, Done: ranges{{4, 5}, {8, 8}}, Released: []uint64{3, 6}, Received: packetIDsOf(1, 65535)}
	f.Add(full.Append(nil))
	full.Lost = 300
	f.Add(full.Append(nil))
	full.MaybeSent, full.Lost = 4, 0
	full.Received = packetIDsOf(1)
	for id := range uint16(1000) {
		full.Received.add(id+2, 0)
	}
	f.Add(full.Append(nil))
	full.identified = []exception{{3, 9}, {4, 10}, {6, 1}}
	f.Add(full.Append(nil))
	for _, old := range oldStates {
		f.Add(old.bytes)
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var s, again State
		if s.Decode(b) != nil {
			return
		}
		encoded := s.Append(nil)
		if err := again.Decode(encoded); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.Append(nil), encoded) {
			t.Errorf("%+v became %+v", s, again)
		}
	})
}

// TestSteadyRoundAllocates nothing: a QoS 1 message to a Client that keeps up.
func TestSteadyRoundAllocates(t *testing.T) {
	s := New(1, "c", "", false, &Limits{WindowMessages: 8, WindowBytes: 1 << 20, QueueMessages: 100, QueueBytes: 1 << 20, Inflight: 20})
	s.version = codec.Version5
	var fx Effects
	s.Attach(65535, 0, start, &fx)
	m := &Message{Topic: "t", Payload: []byte("payload"), QoS: 1}
	if n := testing.AllocsPerRun(1000, func() { roundQoS1(s, m, &fx) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func roundQoS1(s *Session, m *Message, fx *Effects) {
	fx.Reset()
	s.Deliver(Entry{Message: m, QoS: 1}, start, fx)
	id := fx.Sends[0].PacketID
	fx.Reset()
	s.ReceivePuback(id, start, fx)
}

// roundQoS2 delivers a message as a Session that ends with its connection does,
// and takes the Client's answers.
func roundQoS2(s *Session, fx *Effects) {
	p := codec.Publish{QoS: 2}
	s.SendNow(&p)
	fx.Reset()
	s.ReceivePubrec(p.PacketID, codec.Success, start, fx)
	fx.Reset()
	s.ReceivePubcomp(p.PacketID, start, fx)
}

func benchmarkRound(b *testing.B, durable bool, round func(*Session, *Effects)) {
	s := New(1, "c", "", durable, &Limits{WindowMessages: 8, WindowBytes: 1 << 20, QueueMessages: 100, QueueBytes: 1 << 20, Inflight: 20})
	s.version = codec.Version5
	var fx Effects
	s.Attach(65535, 0, start, &fx)
	b.ReportAllocs()
	for b.Loop() {
		round(s, &fx)
	}
}

// BenchmarkRound is a message through a Session and its acknowledgement: kept
// until then, or sent at once and not kept.
func BenchmarkRound(b *testing.B) {
	m := &Message{Topic: "t", Payload: []byte("payload"), QoS: 1}
	kept := func(s *Session, fx *Effects) { roundQoS1(s, m, fx) }
	b.Run("QoS=1/durable", func(b *testing.B) { benchmarkRound(b, true, kept) })
	b.Run("QoS=1/kept", func(b *testing.B) { benchmarkRound(b, false, kept) })
	b.Run("QoS=1", func(b *testing.B) {
		benchmarkRound(b, false, func(s *Session, fx *Effects) {
			p := codec.Publish{QoS: 1}
			s.SendNow(&p)
			fx.Reset()
			s.ReceivePuback(p.PacketID, start, fx)
		})
	})
	b.Run("QoS=2", func(b *testing.B) { benchmarkRound(b, false, roundQoS2) })
}

// TestDropOldestKeepsUp: however many messages come while the oldest are being
// read from disk, one page is enough to drop as many, and a window stays in memory.
func TestDropOldestKeepsUp(t *testing.T) {
	const window, room = 8, 40
	s := New(1, "c", "", true, &Limits{
		WindowMessages: window, WindowBytes: 1 << 20, QueueMessages: room, QueueBytes: 1 << 30, Inflight: 20, Policy: DropOldest,
	})
	var fx Effects
	var stored []Entry
	deliver := func() {
		fx.Reset()
		s.Deliver(Entry{Message: &Message{Topic: "t", Payload: make([]byte, 100)}, QoS: 1}, start, &fx)
		stored = append(stored, fx.Entries...)
		if fx.DroppedNewest > 0 {
			t.Fatalf("message %d is dropped in place of an older one", len(stored))
		}
	}
	for range room {
		deliver()
	}
	wanted := false // a page
	for range overshootWindows * window {
		deliver()
		wanted = wanted || fx.Page
	}
	if !wanted {
		t.Fatal("no page is wanted")
	}
	from, upTo := s.PageFrom()
	messages, bytes := s.PageSize()
	if at := bytes / stored[0].Bytes(); at < messages {
		t.Errorf("a page of %d messages has room for %d", messages, at)
	}
	fx.Reset()
	s.Paged(stored[from-1:][:messages], upTo, start, &fx)
	if s.QueueLen() != room || fx.Page {
		t.Errorf("%d messages are left, more wanted: %t", s.QueueLen(), fx.Page)
	}
	if n := cap(s.ring); n > 4*window {
		t.Errorf("memory for %d messages is kept", n)
	}
	if n := s.TakeLost(); n != overshootWindows*window || s.TakeLost() != 0 {
		t.Errorf("%d lost", n)
	}
}
