package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// A flow is one publisher. It keeps at most a window of messages that were not
// delivered to every subscriber that should have them, so its speed is the
// broker's; at QoS 1 and 2 also of messages that were not acknowledged.
type flow struct {
	*client
	batches   []batch
	window    int64
	ackWindow int64 // QoS 1 and 2; Receive Maximum bounds it
	copies    int64 // deliveries per message; 0: nobody subscribes
	limit     int64 // messages to send; 0: until stopped

	// acknowledged notes which messages were acknowledged; each has its number
	// in the payload then, after the index. nil: neither.
	acknowledged []bool

	// due are the intended times of messages of a pacer that were not sent yet.
	due []time.Duration

	sent, acked, delivered atomic.Int64
	wake                   chan struct{}
	packetID               uint16
}

// A batch is the packets of one write, encoded once. Only Packet Identifiers
// change between writes.
type batch struct {
	bytes    []byte
	ids      []int // where the Packet Identifiers stand
	payloads []int // where the payloads stand
	messages int64
}

// indexBytes are the first bytes of a payload, where the publisher says which
// one it is: a subscriber with several publishers credits the right one.
const indexBytes = 4

// appendMessage adds a PUBLISH to the batch.
func (b *batch) appendMessage(p *codec.Publish, v codec.Version) (err error) {
	start := len(b.bytes)
	p.PacketID = 0
	if p.QoS > 0 {
		p.PacketID = 1
	}
	if b.bytes, err = codec.AppendPublish(b.bytes, p, v); err != nil {
		return err
	}
	b.messages++
	b.payloads = append(b.payloads, len(b.bytes)-len(p.Payload))
	if p.QoS > 0 {
		header := 2 // the first byte and one of the Remaining Length
		for b.bytes[start+header-1] >= 0x80 {
			header++
		}
		b.ids = append(b.ids, start+header+2+len(p.Topic))
	}
	return nil
}

// nextID returns the next Packet Identifier, which is never 0.
func (f *flow) nextID() uint16 {
	f.packetID++
	if f.packetID == 0 {
		f.packetID = 1
	}
	return f.packetID
}

// publish writes batches while the windows have room, until stop is closed, the
// limit is reached or the connection fails.
func (f *flow) publish(stop <-chan struct{}) error {
	for i := 0; f.limit == 0 || f.sent.Load() < f.limit; i++ {
		b := &f.batches[i%len(f.batches)]
		for !f.room(b.messages) {
			select {
			case <-f.wake:
			case <-stop:
				return nil
			}
		}
		select {
		case <-stop:
			return nil
		default:
		}
		for _, at := range b.ids {
			binary.BigEndian.PutUint16(b.bytes[at:], f.nextID())
		}
		if f.acknowledged != nil {
			for i, at := range b.payloads {
				binary.BigEndian.PutUint64(b.bytes[at+indexBytes:], uint64(f.sent.Load())+uint64(i))
			}
		}
		f.sent.Add(b.messages) // first: the delivery may be faster than this goroutine
		if _, err := f.nc.Write(b.bytes); err != nil {
			return err
		}
	}
	return nil
}

func (f *flow) room(n int64) bool {
	after := f.sent.Load() + n
	if f.copies > 0 && after-f.delivered.Load()/f.copies > f.window {
		return false
	}
	return f.ackWindow == 0 || after-f.acked.Load() <= f.ackWindow
}

// credit counts n deliveries and lets the publisher go on.
func (f *flow) credit(n int64) {
	f.delivered.Add(n)
	f.nudge()
}

func (f *flow) nudge() {
	select {
	case f.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// done reports whether all that was sent has arrived.
func (f *flow) done() bool {
	sent := f.sent.Load()
	return f.delivered.Load() >= sent*f.copies && (f.ackWindow == 0 || f.acked.Load() >= sent)
}

// acknowledgements reads what the broker answers a publisher, and answers
// PUBREC with PUBREL, all of one read in one write.
func (f *flow) acknowledgements() error {
	var out []byte
	for {
		if err := f.fill(); err != nil {
			return err
		}
		out = out[:0]
		var acked int64
		for {
			p, err := f.r.Next()
			if err == codec.ErrIncomplete {
				break
			}
			if err != nil {
				return err
			}
			switch t := p.Type(); t {
			case codec.TypePuback, codec.TypePubrec, codec.TypePubcomp:
				if len(p.Body) > 2 && p.Body[2] >= 0x80 {
					return fmt.Errorf("the broker refused a message: %v with %v", t, codec.ReasonCode(p.Body[2]))
				}
				if len(p.Body) < 2 {
					return errShortAck
				}
				if t == codec.TypePubrec {
					out = append(out, byte(codec.TypePubrel)<<4|2, 2, p.Body[0], p.Body[1])
				} else {
					f.note(binary.BigEndian.Uint16(p.Body))
					acked++
				}
			default:
				return f.unexpected(p)
			}
		}
		if len(out) > 0 {
			if _, err := f.nc.Write(out); err != nil {
				return err
			}
		}
		if acked > 0 {
			f.acked.Add(acked)
			f.nudge()
		}
	}
}

// note marks the message with that Packet Identifier as acknowledged. Message n
// has identifier n % 65535 + 1, and fewer than that are under way.
func (f *flow) note(id uint16) {
	if f.acknowledged == nil {
		return
	}
	const identifiers = 65535
	last := f.sent.Load() - 1
	n := last - (last-(int64(id)-1)+identifiers)%identifiers
	if n >= 0 && n < int64(len(f.acknowledged)) {
		f.acknowledged[n] = true
	}
}

var errShortAck = errors.New("the broker sent an acknowledgement without a Packet Identifier")

// A receiver is one subscriber. It credits what it gets to the flows.
type receiver struct {
	*client
	// flows are those it subscribes to. If there are several, the payload says
	// which one a message is from.
	flows []*flow
	// each sees every PUBLISH, if set.
	each func(first byte, body codec.View)
	// granting is the QoS that a SUBACK still to come must grant.
	granting codec.QoS

	received atomic.Int64
}

// run reads until the connection fails. Packets may have come with the CONNACK.
func (s *receiver) run() error {
	var out []byte
	for {
		var err error
		if out, err = s.drain(out[:0]); err != nil {
			return err
		}
		if len(out) > 0 {
			if _, err := s.nc.Write(out); err != nil {
				return err
			}
		}
		if err := s.fill(); err != nil {
			return err
		}
	}
}

// drain takes all packets that are in the buffer and appends their
// acknowledgements. Deliveries of one publisher in a row are credited together.
func (s *receiver) drain(out []byte) ([]byte, error) {
	var from *flow
	var n, all int64
	for {
		p, err := s.r.Next()
		if err == codec.ErrIncomplete {
			break
		}
		if err != nil {
			return out, err
		}
		switch p.Type() {
		case codec.TypePublish:
			if p.First&0x06 != 0 {
				out = appendAnswer(out, p)
			}
			if s.each != nil {
				s.each(p.First, p.Body)
			}
			all++
			to := s.origin(p)
			if to != from && from != nil {
				from.credit(n)
				n = 0
			}
			from = to
			n++
		case codec.TypePubrel:
			if len(p.Body) < 2 {
				return out, errShortAck
			}
			out = append(out, byte(codec.TypePubcomp)<<4, 2, p.Body[0], p.Body[1])
		case codec.TypePingresp:
		case codec.TypeSuback:
			if err := s.granted(p, s.granting); err != nil {
				return out, err
			}
		default:
			return out, s.unexpected(p)
		}
	}
	s.received.Add(all)
	if from != nil {
		from.credit(n)
	}
	return out, nil
}

// appendAnswer appends the PUBACK or PUBREC for a message of QoS 1 or 2.
func appendAnswer(out []byte, p codec.Frame) []byte {
	t := codec.TypePuback
	if p.First&0x06 == 4 {
		t = codec.TypePubrec
	}
	at := 2
	if len(p.Body) >= 2 {
		at += int(binary.BigEndian.Uint16(p.Body))
	}
	if len(p.Body) < at+2 {
		return out // malformed: the missing acknowledgement will show
	}
	return append(out, byte(t)<<4, 2, p.Body[at], p.Body[at+1])
}

// origin returns the flow a message belongs to, nil if that is unknown.
func (s *receiver) origin(p codec.Frame) *flow {
	switch len(s.flows) {
	case 0:
		return nil
	case 1:
		return s.flows[0]
	}
	b := payload(p, s.v)
	if len(b) < indexBytes {
		return nil
	}
	if i := binary.BigEndian.Uint32(b); int(i) < len(s.flows) {
		return s.flows[i]
	}
	return nil
}

// payload finds the payload without looking at anything else.
func payload(p codec.Frame, v codec.Version) []byte {
	b := p.Body
	if len(b) < 2 {
		return nil
	}
	at := 2 + int(binary.BigEndian.Uint16(b))
	if p.First&0x06 != 0 {
		at += 2
	}
	if v == codec.Version5 {
		length, shift := 0, 0
		for at < len(b) {
			c := b[at]
			at++
			length |= int(c&0x7F) << shift
			shift += 7
			if c < 0x80 {
				break
			}
		}
		at += length
	}
	if at > len(b) {
		return nil
	}
	return b[at:]
}

// traffic is publishers and subscribers at work.
type traffic struct {
	r         *Runner
	flows     []*flow
	receivers []*receiver
	others    []*client // connections that only have to be closed in the end

	gathering bool // reads wait for a part of the window; see gather

	failed  chan error // the first failure of a connection
	stop    chan struct{}
	stopped sync.Once
	closing atomic.Bool
	ended   sync.WaitGroup
}

func (r *Runner) traffic() *traffic {
	return &traffic{r: r, failed: make(chan error, 1), stop: make(chan struct{})}
}

// begin starts one goroutine per connection that reads, and one per publisher
// that writes.
func (t *traffic) begin() {
	for i, s := range t.receivers {
		t.spawn(fmt.Sprintf("subscriber %d", i+1), s.run)
	}
	for i, f := range t.flows {
		name := fmt.Sprintf("publisher %d", i+1)
		t.spawn(name, f.acknowledgements)
		t.spawn(name, func() error { return f.publish(t.stop) })
	}
}

func (t *traffic) spawn(name string, run func() error) {
	t.ended.Go(func() {
		if err := run(); err != nil && !t.closing.Load() {
			select {
			case t.failed <- fmt.Errorf("%s: %w", name, err):
			default: // not the first
			}
		}
	})
}

// gather lets the kernel wake a reader only when a quarter of what the windows
// allow is there, but at most gatheredMax messages, so that a broker which
// writes packet by packet does not have the runner's wake-ups measured with it.
// packetBytes is the size of one delivery, qos that of the messages.
func (t *traffic) gather(packetBytes, qos int) {
	var window int64 // of all publishers, in deliveries
	for _, f := range t.flows {
		window += min(f.window, max(f.ackWindow, f.window*int64(1-min(qos, 1)))) * f.copies
	}
	deliveries := min(int(window)/max(len(t.receivers), 1)/4, gatheredMax)
	const ackBytes = 4
	switch qos {
	case 1:
		deliveries = min(deliveries, gatheredInFlight)
	case 2: // PUBREL takes turns with PUBLISH
		deliveries, packetBytes = min(deliveries, gatheredInFlight), ackBytes
	}
	if deliveries > 1 {
		for _, s := range t.receivers {
			t.gathering = readAtLeast(s.nc, min(deliveries*packetBytes, subscriberBuffer/2)) || t.gathering
		}
	}
	for _, f := range t.flows {
		if acks := min(int(f.ackWindow/4), gatheredMax); acks > 1 {
			t.gathering = readAtLeast(f.nc, acks*ackBytes) || t.gathering
		}
	}
}

// gatheredMax is where a wake-up costs little per message, and where small
// packets, which the kernel counts as large ones, do not fill its buffer.
const gatheredMax = 32

// gatheredInFlight is well below the 20 messages that brokers commonly allow in
// flight to a subscriber; waiting for more would stop them.
const gatheredInFlight = 8

// eager undoes gather: every byte wakes its reader. It is called when the
// publishers stop, and when nothing moves: the broker may allow fewer messages
// in flight than the reads wait for.
func (t *traffic) eager() {
	if !t.gathering {
		return
	}
	t.gathering = false
	for _, c := range t.clients() {
		readAtLeast(c.nc, 1)
	}
}

// eagerAfter is more than the time in which a slow broker fills a quarter of
// the windows.
const eagerAfter = 500 * time.Millisecond

// halt makes the publishers stop.
func (t *traffic) halt() {
	t.stopped.Do(func() { close(t.stop) })
	t.eager()
}

// close ends all connections and waits for the goroutines.
func (t *traffic) close() {
	t.closing.Store(true)
	t.halt()
	// A peer that takes no bytes must not hold up the end.
	soon := time.Now().Add(time.Second)
	for _, c := range t.clients() {
		_ = c.nc.SetWriteDeadline(soon)
		c.leave()
	}
	t.ended.Wait()
}

func (t *traffic) clients() []*client {
	all := append([]*client(nil), t.others...)
	for _, f := range t.flows {
		all = append(all, f.client)
	}
	for _, s := range t.receivers {
		all = append(all, s.client)
	}
	return all
}

// counts are the sums over all flows.
func (t *traffic) counts() (sent, acked, delivered, expected int64) {
	for _, f := range t.flows {
		delivered += f.delivered.Load() // before sent: never more than expected by this order
	}
	for _, f := range t.flows {
		acked += f.acked.Load()
	}
	for _, f := range t.flows {
		n := f.sent.Load()
		sent += n
		expected += n * f.copies
	}
	return sent, acked, delivered, expected
}

// received is what all subscribers got.
func (t *traffic) received() (n int64) {
	for _, s := range t.receivers {
		n += s.received.Load()
	}
	return n
}

// watch waits for d, or until over reports that it need not; it fails when a
// connection does, when ctx ends, and when nothing arrives for too long.
func (t *traffic) watch(ctx context.Context, what string, d time.Duration, over func() bool) error {
	var last int64 = -1
	began, moved := time.Now(), time.Now()
	start := t.received()
	step := min(max(d/20, time.Millisecond), 100*time.Millisecond)
	if over != nil {
		step = 5 * time.Millisecond
	}
	tick := time.NewTicker(step)
	defer tick.Stop()
	end := time.NewTimer(d)
	defer end.Stop()
	for shown := began; ; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-t.failed:
			return err
		case <-end.C:
			return nil
		case now := <-tick.C:
			if over != nil && over() {
				return nil
			}
			sent, acked, delivered, expected := t.counts()
			if arrived := acked + t.received(); arrived != last {
				last, moved = arrived, now
			}
			if now.Sub(moved) > eagerAfter {
				t.eager()
			}
			if now.Sub(moved) > t.r.Timeout {
				return stalled(t.r.Timeout, sent, acked, delivered, expected)
			}
			if now.Sub(shown) > 250*time.Millisecond {
				shown = now
				n := t.received()
				t.r.progress("%s: %d sent, %d acknowledged, %d delivered, %.0f/s", what, sent, acked, n, float64(n-start)/now.Sub(began).Seconds())
			}
		}
	}
}

func stalled(timeout time.Duration, sent, acked, delivered, expected int64) error {
	if sent == 0 {
		return fmt.Errorf("nothing came for %v", timeout)
	}
	if delivered < expected {
		return fmt.Errorf("%d of %d messages were not delivered: nothing came for %v", expected-delivered, expected, timeout)
	}
	return fmt.Errorf("%d of %d messages were not acknowledged: nothing came for %v", sent-acked, sent, timeout)
}

// settle waits until everything sent has arrived.
func (t *traffic) settle(ctx context.Context) error {
	return t.watch(ctx, "waiting for the last messages", time.Hour, func() bool {
		for _, f := range t.flows {
			if !f.done() {
				return false
			}
		}
		return true
	})
}
