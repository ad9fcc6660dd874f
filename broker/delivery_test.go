package broker

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/metrics"
	"github.com/x0a1b/promptmq/topics"
)

var outcomesSeed = flag.Uint64("outcomes.seed", 0, "run TestOutcomes with this seed only")

// A received is a transport that keeps what the broker sends.
type received struct {
	sink
	mu    sync.Mutex // also the committer's goroutine writes
	bytes []byte
}

func (r *received) TryWrite(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bytes = append(r.bytes, b...)
	return len(b), nil
}

// take returns what was sent since the last call.
func (r *received) take() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.bytes
	r.bytes = nil
	return b
}

// A subject is a Client of TestOutcomes as the test knows it.
type subject struct {
	id      string
	durable bool
	will    bool
	subs    map[string]bool // of its Session; nil: there is none
	conn    *conn           // nil: not connected
	in      *received
	unacked []ackable
}

type ackable struct {
	t  codec.PacketType // to answer with
	id uint16
}

// An outcomesTest lets a broker deliver on all ways at random, and counts what is to
// become of how many copies without asking the broker.
type outcomesTest struct {
	*path
	r        *rand.Rand
	shared   bool // there are Shared Subscriptions
	roomy    bool // the queues have room for many messages
	subjects []*subject
	retained map[string]bool // Topic Names

	expected int // copies routed for subscribers by what was published, retained or a Will
	acked    int // copies that were acknowledged
	inFlight int // copies that were sent, and lost with their Session
	log      []string
}

var (
	outcomesTopics  = []string{"a", "b/c"}
	outcomesFilters = []string{"a", "b/c", "#", "b/+"}
	outcomesShared  = []string{"$share/g/a", "$share/g/#", "$share/h/#"}
)

// TestOutcomes: each copy of each message has one outcome and is counted once,
// whatever way it takes.
func TestOutcomes(t *testing.T) {
	if *outcomesSeed != 0 {
		testOutcomes(t, *outcomesSeed)
		return
	}
	for range 12 {
		if seed := rand.Uint64(); !testOutcomes(t, seed) {
			return
		}
	}
}

func testOutcomes(t *testing.T, seed uint64) (ok bool) {
	return t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
		r := rand.New(rand.NewPCG(seed, 0))
		o := &outcomesTest{r: r, shared: r.IntN(2) == 0, roomy: r.IntN(2) == 0, retained: make(map[string]bool)}
		o.path = newPathWith(t, func(opts *Options) {
			opts.QueuePolicy = []string{"drop-oldest", "drop-newest", "reject"}[r.IntN(3)]
			if opts.MaxQueuedMessages = 1000; !o.roomy {
				opts.MaxQueuedMessages = 4
			}
		})
		o.pub = o.path.connect("pub", new(sink))
		for i := range 5 {
			o.subjects = append(o.subjects, &subject{id: fmt.Sprint("s", i), durable: i%2 == 0})
		}
		t.Cleanup(func() {
			for _, s := range o.subjects {
				if s.conn != nil {
					s.conn.finish()
				}
			}
			if t.Failed() {
				t.Logf("replay: -run TestOutcomes -outcomes.seed=%d\n%s", seed, strings.Join(o.log, "\n"))
			}
		})
		for range 150 {
			o.step()
			if t.Failed() {
				return
			}
		}
	})
}

func (o *outcomesTest) note(format string, args ...any) {
	o.log = append(o.log, fmt.Sprintf(format, args...))
}

// step does one thing at random, and then sums up.
func (o *outcomesTest) step() {
	s := o.subjects[o.r.IntN(len(o.subjects))]
	switch n := o.r.IntN(20); {
	case s.conn == nil && n < 10:
		o.connect(s)
	case n < 10:
		o.publish(o.r.IntN(10) == 0)
	case n == 10 && o.roomy:
		for range 300 {
			o.publish(false)
		}
	case n < 12:
		o.publishLate(s)
	case s.conn == nil:
		o.publish(false)
	case n < 15:
		o.subscribe(s)
	case n == 15:
		o.unsubscribe(s)
	case n == 16:
		o.publishClosing(s)
	case n == 17:
		o.end(s)
	default:
		o.acknowledge(s)
	}
	eventually(o.tb.(*testing.T), o.sum)
}

// sum says what is wrong with the figures. They are right when nothing goes on.
func (o *outcomesTest) sum() string {
	m, drops, queue := o.b.m, 0, o.b.census().queued
	for _, d := range &m.Dropped {
		drops += int(d.Get())
	}
	direct, kept, refused := int(m.DeliveriesSent.Get()), int(m.DeliveriesQueued.Get()), int(m.DeliveriesDropped.Get())
	handedOver := direct + kept + refused - o.expected
	if handedOver < 0 || (handedOver > 0 && !o.shared) {
		return fmt.Sprintf("%d copies were routed, and became: %d sent, %d queued, %d dropped", o.expected, direct, kept, refused)
	}
	if now := int(m.MessagesSent[0].Get()) + o.acked + queue + o.inFlight + drops; now != o.expected {
		return fmt.Sprintf("%d copies were routed; of them %d were sent with QoS 0, %d acknowledged, %d are queued, %d were lost in flight, %d dropped: %d",
			o.expected, m.MessagesSent[0].Get(), o.acked, queue, o.inFlight, drops, now)
	}
	return ""
}

// copies is how many copies of a message with this Topic Name are to be routed.
func (o *outcomesTest) copies(topic string) (n int) {
	shares := make(map[string]bool)
	for _, s := range o.subjects {
		matched := false
		for filter := range s.subs {
			share, rest := splitShare(filter)
			switch {
			case !topics.MatchString(rest, topic):
			case share != "":
				shares[filter] = true
			default:
				matched = true
			}
		}
		if matched {
			n++
		}
	}
	return n + len(shares)
}

func (o *outcomesTest) topic() string { return outcomesTopics[o.r.IntN(len(outcomesTopics))] }

func (o *outcomesTest) publish(retain bool) {
	topic, qos := o.topic(), codec.QoS(o.r.IntN(3))
	p := codec.Publish{QoS: qos, Topic: codec.View(topic), Payload: codec.View("payload"), Retain: retain}
	if qos > 0 {
		p.PacketID = 1
	}
	if !retain && o.r.IntN(8) == 0 {
		p.HasMessageExpiry = true // and has passed
	}
	if o.r.IntN(8) == 0 {
		p.Payload = make([]byte, 100) // too large for some
	}
	if retain && o.r.IntN(3) == 0 {
		p.Payload = nil
	}
	o.note("publish %s QoS %d retain %v expires %v %d bytes", topic, qos, retain, p.HasMessageExpiry, len(p.Payload))
	b, err := codec.AppendPublish(nil, &p, codec.Version5)
	if err != nil {
		o.tb.Fatal(err)
	}
	refused := o.b.m.RefusedMessages(codec.QuotaExceeded.String())
	before := refused.Get()
	o.put(o.pub, b)
	if qos == 2 {
		o.put(o.pub, o.ack(ackable{codec.TypePubrel, 1}))
	}
	if refused.Get() != before {
		return
	}
	o.expected += o.copies(topic)
	if retain {
		o.retained[topic] = len(p.Payload) > 0
	}
}

// publishLate is publish, but before the message is delivered one of its targets may
// unsubscribe or end.
func (o *outcomesTest) publishLate(s *subject) {
	pub, route := o.routed(o.topic(), codec.QoS(o.r.IntN(3)), false)
	o.note("publish late %s QoS %d for %d", pub.p.Topic, pub.p.QoS, len(route.targets))
	if n := o.copies(pub.p.Topic.String()); n != len(route.targets) {
		o.tb.Errorf("%d targets, expected %d", len(route.targets), n)
	}
	o.expected += len(route.targets)
	if s.conn != nil && o.r.IntN(2) == 0 {
		o.unsubscribe(s)
	} else if s.conn != nil {
		o.end(s)
	}
	o.path.deliverAll(pub, route)
}

// publishClosing is publish while a connection is closing, and its end.
func (o *outcomesTest) publishClosing(s *subject) {
	o.drain(s)
	o.note("%s is closing", s.id)
	s.conn.out.Close(nil)
	o.publish(false)
	o.cut(s)
}

func (o *outcomesTest) connect(s *subject) {
	c := codec.Connect{ClientID: codec.View(s.id), CleanStart: !s.durable, ReceiveMaximum: uint16(1 + o.r.IntN(3))}
	if s.durable {
		c.HasSessionExpiry, c.SessionExpirySeconds = true, 1000
	}
	if o.r.IntN(3) == 0 {
		c.MaximumPacketSize = 60
	}
	if s.will = o.r.IntN(3) == 0; s.will {
		c.HasWill, c.Will.Topic, c.Will.QoS, c.Will.Payload = true, codec.View("a"), 1, codec.View("gone")
	}
	o.note("%s connects, will %v", s.id, s.will)
	b, err := codec.AppendConnect(nil, &c, codec.Version5)
	if err != nil {
		o.tb.Fatal(err)
	}
	s.in, s.unacked = new(received), nil
	s.conn = o.b.newConn(link.Accepted{Transport: s.in, At: o.b.clock.Now(), Local: true})
	o.b.addConn(s.conn)
	if s.subs == nil {
		s.subs = make(map[string]bool)
	}
	o.put(s.conn, b)
}

// end ends the connection of s without DISCONNECT.
func (o *outcomesTest) end(s *subject) {
	if o.shared || o.r.IntN(2) == 0 {
		o.drain(s) // what was sent by a Shared Subscription is not lost with its Session
	}
	if !s.durable {
		s.conn.client.mu.Lock()
		o.inFlight += s.conn.client.sess.QueueLen() - s.conn.client.sess.Unsent()
		s.conn.client.mu.Unlock()
	}
	o.cut(s)
}

// cut is end for a connection on which nothing was lost in flight.
func (o *outcomesTest) cut(s *subject) {
	o.note("%s ends", s.id)
	if !s.durable {
		s.subs = nil
	}
	if s.will {
		o.expected += o.copies("a")
	}
	s.conn.finish()
	s.conn = nil
}

func (o *outcomesTest) subscribe(s *subject) {
	o.drain(s) // retained messages come only when there is room
	filters := outcomesFilters
	if o.shared && o.r.IntN(2) == 0 {
		filters = outcomesShared
	}
	filter := filters[o.r.IntN(len(filters))]
	o.note("%s subscribes to %s", s.id, filter)
	s.subs[filter] = true
	if share, _ := splitShare(filter); share == "" {
		for topic, is := range o.retained {
			if is && topics.MatchString(filter, topic) {
				o.expected++
			}
		}
	}
	o.path.subscribe(s.conn, codec.QoS(o.r.IntN(3)), filter)
}

func (o *outcomesTest) unsubscribe(s *subject) {
	for filter := range s.subs {
		o.note("%s unsubscribes from %s", s.id, filter)
		delete(s.subs, filter)
		o.path.unsubscribe(s.conn, filter)
		return
	}
}

func (o *outcomesTest) ack(a ackable) []byte {
	b, err := codec.AppendAck(nil, &codec.Ack{Type: a.t, PacketID: a.id}, codec.Version5)
	if err != nil {
		o.tb.Fatal(err)
	}
	return b
}

// acknowledge answers the first thing that s was sent and has not answered.
func (o *outcomesTest) acknowledge(s *subject) (something bool) {
	o.read(s)
	if s.conn == nil || len(s.unacked) == 0 {
		return false
	}
	a := s.unacked[0]
	s.unacked = s.unacked[1:]
	if a.t != codec.TypePubrec {
		o.acked++
	}
	o.put(s.conn, o.ack(a))
	return true
}

func queueLen(cl *Client) int {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.sess == nil {
		return 0
	}
	return cl.sess.QueueLen()
}

// drain acknowledges until nothing is queued for s.
func (o *outcomesTest) drain(s *subject) {
	o.note("%s acknowledges all", s.id)
	eventually(o.tb.(*testing.T), func() string {
		for o.acknowledge(s) {
		}
		if n := queueLen(s.conn.client); n > 0 {
			s.conn.out.Committed() // what awaited a commit
			return fmt.Sprintf("%d messages are queued for %s", n, s.id)
		}
		return ""
	})
}

// read takes what was sent to s.
func (o *outcomesTest) read(s *subject) {
	if s.conn == nil {
		return
	}
	b := s.in.take()
	var r codec.Reader
	r.Reset(1 << 20)
	r.SetVersion(codec.Version5)
	r.Lend(b)
	r.Wrote(len(b))
	for {
		f, err := r.Next()
		if err == codec.ErrIncomplete {
			return
		}
		if err != nil {
			o.tb.Fatal(err)
		}
		switch f.Type() {
		case codec.TypePublish:
			var p codec.Publish
			if err := p.Decode(f, codec.Version5); err != nil {
				o.tb.Fatal(err)
			}
			if p.QoS > 0 {
				s.unacked = append(s.unacked, ackable{[]codec.PacketType{0, codec.TypePuback, codec.TypePubrec}[p.QoS], p.PacketID})
			}
		case codec.TypePubrel:
			var a codec.Ack
			if err := a.Decode(f, codec.Version5); err != nil {
				o.tb.Fatal(err)
			}
			s.unacked = append(s.unacked, ackable{codec.TypePubcomp, a.PacketID})
		}
	}
}

// TestEveryOutcomeIsCounted: each outcome has a counter of its own.
func TestEveryOutcomeIsCounted(t *testing.T) {
	for o := range numOutcomes {
		if o == dropped {
			continue // never without a reason
		}
		m, n := metrics.NewBroker(), outcomes{}
		n.routed[o]++
		n.count(m)
		counters := []*metrics.Counter{m.DeliveriesSent, m.DeliveriesQueued, m.DeliveriesPassedOn}
		sum := 0
		for _, c := range append(counters, m.Dropped[:]...) {
			sum += int(c.Get())
		}
		if sum != 1 {
			t.Errorf("outcome %d is counted %d times", o, sum)
		}
		if was := m.DeliveriesDropped.Get() == 1; was != (o >= dropped) {
			t.Errorf("outcome %d: dropped is %v", o, was)
		}
	}
}
