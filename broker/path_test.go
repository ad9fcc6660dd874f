package broker

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/store"
)

// A sink is a transport whose client takes everything at once.
type sink struct{ written int }

func (s *sink) TryWrite(b []byte) (int, error) {
	s.written += len(b)
	return len(b), nil
}
func (s *sink) WriteWithin(b []byte, _ time.Duration) (int, error) { return s.TryWrite(b) }
func (s *sink) Receive(link.Reader) error                          { return io.EOF }
func (s *sink) ReadNow(link.Reader) (int, error)                   { return 0, io.EOF }
func (s *sink) CloseWrite() bool                                   { return false }
func (s *sink) Wake()                                              {}
func (s *sink) SetReadDeadline(time.Time) error                    { return nil }
func (s *sink) RemoteAddr() net.Addr                               { return &net.TCPAddr{IP: net.IPv6loopback} }
func (s *sink) Listener() *link.Listener                           { return nil }
func (s *sink) EndWith(codec.ReasonCode)                           {}
func (s *sink) Close() error                                       { return nil }

// A path is a Broker into which packets are put as a reader would, past the
// sockets: from the bytes of a packet to the bytes for its receivers.
type path struct {
	tb       testing.TB
	b        *Broker
	pub, sub *conn
	out      *sink // of sub
	acks     int   // messages that sub has acknowledged
	buf      []byte
}

const pathFilters = 100 // in one SUBSCRIBE

// newPath makes a Broker with so many subscriptions, all of one Client but that
// of "t/#", which sub has.
func newPath(tb testing.TB, subscriptions int, qos codec.QoS) *path {
	tb.Helper()
	p := newPathWith(tb, func(o *Options) { o.MaxSubscriptions = 2_000_000 })
	p.out = new(sink)
	p.pub, p.sub = p.connect("pub", new(sink)), p.connect("sub", p.out)
	p.subscribe(p.sub, qos, "t/#")
	crowd := p.connect("crowd", new(sink))
	for i := 0; i < subscriptions; i += pathFilters {
		filters := make([]string, pathFilters)
		for j := range filters {
			if filters[j] = fmt.Sprintf("site/%d/device/%d/state", (i+j)%1000, i+j); (i+j)%10 == 0 {
				filters[j] = fmt.Sprintf("site/%d/+/%d/#", (i+j)%1000, i+j)
			}
		}
		p.subscribe(crowd, qos, filters...)
	}
	return p
}

// newPathWith makes a Broker to which nobody is connected.
func newPathWith(tb testing.TB, change func(*Options)) *path {
	tb.Helper()
	return newPathOn(tb, func(s Store) Store { return s }, change)
}

// newPathOn is newPathWith on the store that wrap makes of the real one.
func newPathOn(tb testing.TB, wrap func(Store) Store, change func(*Options)) *path {
	tb.Helper()
	so := store.DefaultOptions()
	so.DataDir = tb.TempDir()
	db, err := store.Open(so)
	if err != nil {
		tb.Fatal(err)
	}
	o := DefaultOptions()
	o.Bind, o.WSBind = "", ""
	change(&o)
	b, err := New(o, wrap(db))
	if err != nil {
		tb.Fatal(err)
	}
	if err := b.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := b.Shutdown(ctx); err != nil {
			tb.Error(err)
		}
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
	})
	return &path{tb: tb, b: b}
}

// put handles packets that c has sent, and writes what they caused.
func (p *path) put(c *conn, packets []byte) {
	for len(packets) > 0 {
		n := copy(c.Room(), packets)
		packets = packets[n:]
		c.reader.Wrote(n)
		c.now = c.b.clock.Now()
		if _, err := c.handleBuffered(); err != nil {
			p.tb.Fatal(err)
		}
		c.pending.flush(c.b.m)
		c.Idle()
	}
}

func (p *path) connect(id string, t link.Transport, changes ...func(*codec.Connect)) *conn {
	c := p.b.newConn(link.Accepted{Transport: t, At: p.b.clock.Now(), Local: true})
	p.b.addConn(c)
	packet := codec.Connect{ClientID: codec.View(id), CleanStart: true, ReceiveMaximum: 65535}
	for _, change := range changes {
		change(&packet)
	}
	b, err := codec.AppendConnect(nil, &packet, codec.Version5)
	if err != nil {
		p.tb.Fatal(err)
	}
	p.tb.Cleanup(c.finish)
	p.put(c, b)
	return c
}

func (p *path) subscribe(c *conn, qos codec.QoS, filters ...string) {
	subs := make([]codec.Subscription, len(filters))
	for i, f := range filters {
		subs[i] = codec.Subscription{Filter: codec.View(f), QoS: qos}
	}
	b, err := codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, subs, codec.Version5)
	if err != nil {
		p.tb.Fatal(err)
	}
	p.put(c, b)
}

// pathBatch is how many messages one read brings.
const pathBatch = 16

// batches returns reads of pathBatch messages each, to so many topics in turn.
func (p *path) batches(qos codec.QoS, topicNames int) [][]byte {
	payload := make([]byte, 64)
	all := make([][]byte, max(topicNames/pathBatch, 1))
	n := 0
	for i := range all {
		for range pathBatch {
			b, err := codec.AppendPublish(all[i], &codec.Publish{
				QoS: qos, PacketID: uint16(n%pathBatch) + 1, Topic: codec.View(fmt.Sprint("t/", n%topicNames)), Payload: payload,
			}, codec.Version5)
			if err != nil {
				p.tb.Fatal(err)
			}
			all[i], n = b, n+1
		}
	}
	return all
}

// round puts a batch of messages through, and at QoS 1 and 2 the
// acknowledgements of receiver and publisher.
func (p *path) round(qos codec.QoS, batch []byte) {
	p.put(p.pub, batch)
	first := p.acks
	p.acks += pathBatch * int(min(qos, 1))
	switch qos {
	case 1:
		p.acknowledge(p.sub, codec.TypePuback, first)
	case 2:
		p.acknowledge(p.sub, codec.TypePubrec, first)
		p.acknowledge(p.sub, codec.TypePubcomp, first)
		p.acknowledge(p.pub, codec.TypePubrel, 0)
	}
}

// acknowledge puts in acknowledgements of a batch, from the first-th Packet
// Identifier on, as a Client sends them.
func (p *path) acknowledge(c *conn, t codec.PacketType, first int) {
	p.buf = p.buf[:0]
	for i := range pathBatch {
		b, err := codec.AppendAck(p.buf, &codec.Ack{Type: t, PacketID: uint16((first+i)%65535) + 1}, codec.Version5)
		if err != nil {
			p.tb.Fatal(err)
		}
		p.buf = b
	}
	p.put(c, p.buf)
}

// pathAllocations is how many allocations a batch of pathBatch messages may take,
// from the bytes of PUBLISH to the bytes for the receiver and the acknowledgements
// of both sides.
var pathAllocations = map[codec.QoS]float64{0: 0, 1: 0, 2: 0}

// pathPolicy has a hundred rules about others before the one that allows all.
func pathPolicy() *access.Policy {
	rules := make([]access.Rule, 100)
	for i := range rules {
		rules[i] = access.Rule{Deny: true, User: fmt.Sprint("user", i), Actions: access.Publish | access.Receive, Filter: "t/#"}
	}
	return access.NewPolicy(append(rules, access.Rule{Actions: access.Publish | access.Receive | access.Subscribe, Filter: "#", MaxQoS: 2}))
}

// TestPathAllocations guards the hot path: a rise of its allocations fails, on
// any machine. Lower the figure when it falls.
func TestPathAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector empties pools at random")
	}
	for name, policy := range map[string]*access.Policy{"no policy": nil, "a policy": pathPolicy()} {
		for qos, most := range pathAllocations {
			p := newPath(t, 1000, qos)
			p.b.SetPolicy(policy)
			batches := p.batches(qos, 16)
			for range 100 { // until the buffers and the remembered routes are there
				p.round(qos, batches[0])
			}
			before := p.out.written
			if got := testing.AllocsPerRun(1000, func() { p.round(qos, batches[0]) }); got > most {
				t.Errorf("%s, QoS %d: %v allocations for %d messages, the baseline is %v", name, qos, got, pathBatch, most)
			}
			if p.out.written-before < 1000*pathBatch*64 {
				t.Errorf("%s, QoS %d: only %d bytes were delivered", name, qos, p.out.written-before)
			}
		}
	}
}

// BenchmarkPermission is BenchmarkPath with 16 topics, without a policy and with one.
func BenchmarkPermission(b *testing.B) {
	for qos := range codec.QoS(3) {
		for _, with := range []bool{false, true} {
			b.Run(fmt.Sprintf("QoS=%d/policy=%v", qos, with), func(b *testing.B) {
				p := newPath(b, 0, qos)
				if with {
					p.b.SetPolicy(pathPolicy())
				}
				p.measure(b, qos, 16)
			})
		}
	}
}

// BenchmarkPath is the whole path of a message in process, without system
// calls: its bytes decoded, matched among subscriptions, encoded into the
// receiver's buffer and, at QoS 1 and 2, acknowledged by both sides.
func BenchmarkPath(b *testing.B) {
	for _, subscriptions := range []int{0, 100_000, 1_000_000} {
		for qos := range codec.QoS(3) {
			b.Run(fmt.Sprintf("subscriptions=%d/QoS=%d", subscriptions, qos), func(b *testing.B) {
				p := newPath(b, subscriptions, qos)
				for _, topicNames := range []int{16, 1 << 16} {
					b.Run(fmt.Sprintf("topics=%d", topicNames), func(b *testing.B) { p.measure(b, qos, topicNames) })
				}
			})
		}
	}
}

func (p *path) measure(b *testing.B, qos codec.QoS, topicNames int) {
	batches := p.batches(qos, topicNames)
	before := p.out.written
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += pathBatch {
		p.round(qos, batches[n/pathBatch%len(batches)])
	}
	if p.out.written == before {
		b.Fatal("nothing was delivered")
	}
}

// BenchmarkBesideRetained is BenchmarkPath with too many topics to be remembered, while another
// connection has as many retained.
func BenchmarkBesideRetained(b *testing.B) {
	p := newPath(b, 0, 0)
	other, payload := p.connect("other", new(sink)), make([]byte, 64)
	var retain [][]byte
	for i := range 256 {
		packet, err := codec.AppendPublish(nil, &codec.Publish{Retain: true, Topic: codec.View(fmt.Sprint("state/", i)), Payload: payload}, codec.Version5)
		if err != nil {
			b.Fatal(err)
		}
		retain = append(retain, packet)
	}
	batches := p.batches(0, 1<<16)
	var retaining sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	retaining.Go(func() {
		for n := range b.N {
			p.put(other, retain[n%len(retain)])
		}
	})
	for n := 0; n < b.N; n += pathBatch {
		p.round(0, batches[n/pathBatch%len(batches)])
	}
	retaining.Wait()
}
