package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

var (
	kills    = flag.Int("kills", 50/raceSlowdown, "how often TestKill9 kills the broker")
	killSeed = flag.Uint64("kill-seed", 0, "seed of TestKill9; 0: a new one")
)

// TestKill9 kills the broker again and again while durable clients publish and
// subscribe at QoS 1 and 2, and then asks for everything that was acknowledged:
// nothing may be missing or out of order, and nothing of QoS 2 may come twice.
// One time in five the process is stopped and continued before it dies.
// When the process dies cannot be repeated; the seed fixes the rest.
func TestKill9(t *testing.T) {
	t.Parallel()
	s := start(t, "mqtt: {queue-policy: reject, max-queued-messages: 100000000, max-queued-bytes: 100000000000}") // for the one who stays away
	w := killRepeatedly(t, s, *kills, clientSeconds*time.Second)
	for _, problem := range w.problems {
		t.Error(problem)
	}
	t.Logf("%d kills: %d messages acknowledged, %d deliveries", *kills, w.acked.Load(), w.delivered.Load())
}

// TestKill9Control breaks the promise on purpose: the same test must see it.
func TestKill9Control(t *testing.T) {
	t.Parallel()
	control := controlBinary(t)
	for tries := 1; ; tries++ {
		s := startBinary(t, control, []string{"BREAK_RULES=ack-before-commit"}, "")
		w := killRepeatedly(t, s, 10, 5*time.Second)
		s.stop()
		if len(w.problems) > 0 {
			t.Logf("caught after %d kills: %s", 10*tries, w.problems[0])
			return
		}
		if tries == 10 {
			t.Fatal("acknowledgements before the commit were not noticed in 100 kills")
		}
	}
}

// controlBinary is the path of a promptmq that breaks the rules in BREAK_RULES. It is
// built without the race detector, so -short leaves out what needs it.
func controlBinary(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("the control is a binary without the race detector")
	}
	control, err := buildControl()
	if err != nil {
		t.Fatal(err)
	}
	return control
}

// buildControl builds it once, beside the other one.
var buildControl = sync.OnceValues(func() (string, error) {
	control := binary + "-control"
	if out, err := exec.Command("go", "build", "-tags", "control", "-o", control, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return control, nil
})

// killRepeatedly kills the broker n times. patience is how long nothing may arrive
// in the end before what is missing is given up as lost.
func killRepeatedly(t *testing.T, s *server, n int, patience time.Duration) *killWorld {
	t.Helper()
	seed := *killSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("replay with -kill-seed=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	w := newKillWorld(t, s.mqtt, patience)
	for range n {
		if !w.progressed() {
			break
		}
		time.Sleep(time.Duration(rng.IntN(60)) * time.Millisecond) // the moment of death, not a wait for a condition
		if rng.IntN(5) == 0 {
			s.pause(time.Duration(rng.IntN(40)) * time.Millisecond)
		}
		s.kill()
		s.restart()
		addr := s.mqtt
		w.addr.Store(&addr)
	}
	w.progressed()
	w.finish()
	return w
}

const (
	killPublishers = 4 // half at QoS 1, half at QoS 2
	killInflight   = 8
)

// A killWorld is the clients of TestKill9.
type killWorld struct {
	t         *testing.T
	patience  time.Duration
	addr      atomic.Pointer[string]
	acked     atomic.Int64
	delivered atomic.Int64
	refused   atomic.Int64 // connects
	draining  atomic.Bool  // publishers finish what is in flight and stop
	stop      chan struct{}
	wg        sync.WaitGroup
	pubs      []*killPublisher
	subs      []*killSubscriber

	mu       sync.Mutex // guards the following
	problems []string
}

// errorf notes a broken promise.
func (w *killWorld) errorf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.problems = append(w.problems, fmt.Sprintf(format, args...))
}

func newKillWorld(t *testing.T, addr string, patience time.Duration) *killWorld {
	w := &killWorld{t: t, patience: patience, stop: make(chan struct{})}
	w.addr.Store(&addr)
	for i, qos := range []codec.QoS{2, 1, 2} {
		sub := &killSubscriber{w: w, id: fmt.Sprintf("sub%d", i), qos: qos, got: make(map[string][]int), receiving: make(map[uint16]bool)}
		w.subs = append(w.subs, sub)
		sub.subscribe()
	}
	for i := range killPublishers {
		p := &killPublisher{w: w, id: fmt.Sprintf("pub%d", i), qos: codec.QoS(1 + i%2), inflight: make(map[uint16]*killMessage)}
		w.pubs = append(w.pubs, p)
		w.run(p.session)
	}
	for _, sub := range w.subs[:2] { // the third stays away until the end
		w.run(sub.session)
	}
	return w
}

// run runs one network connection of a client after another.
func (w *killWorld) run(session func(*killConn) error) {
	w.wg.Add(1)
	go func() {
		defer w.wg.Done()
		for {
			select {
			case <-w.stop:
				return
			default:
			}
			c, err := w.dial()
			if err != nil {
				w.refused.Add(1)
				time.Sleep(time.Millisecond) // the broker is down; it comes back
				continue
			}
			err = session(c)
			c.Close()
			if errors.Is(err, errKillDone) {
				return
			}
		}
	}()
}

// progressed waits until some messages more have been acknowledged.
func (w *killWorld) progressed() bool {
	from, deadline := w.acked.Load(), time.Now().Add(clientSeconds*time.Second)
	for w.acked.Load() < from+20 {
		if time.Now().After(deadline) {
			w.errorf("no progress: %d acknowledged", w.acked.Load())
			return false
		}
		time.Sleep(time.Millisecond)
	}
	return true
}

// finish lets everything arrive and checks it.
func (w *killWorld) finish() {
	w.t.Helper()
	w.draining.Store(true)
	w.run(w.subs[2].session)
	last, since := w.delivered.Load(), time.Now()
	for !w.complete() && time.Since(since) < w.patience { // check tells what is missing
		if n := w.delivered.Load(); n != last {
			last, since = n, time.Now()
		}
		time.Sleep(5 * time.Millisecond)
	}
	close(w.stop)
	for _, sub := range w.subs {
		sub.abort()
	}
	w.wg.Wait()
	for _, sub := range w.subs {
		sub.check()
	}
}

func (w *killWorld) complete() bool {
	for _, p := range w.pubs {
		if !p.done.Load() {
			return false
		}
	}
	for _, sub := range w.subs {
		for _, p := range w.pubs {
			if sub.distinct(p.id) < int(p.next.Load()) {
				return false
			}
		}
	}
	return true
}

var errKillDone = errors.New("done")

// A killConn is a connection of a raw v5 client.
type killConn struct {
	net.Conn
	r   codec.Reader
	buf []byte
}

func (w *killWorld) dial() (*killConn, error) {
	nc, err := net.Dial("tcp", *w.addr.Load())
	if err != nil {
		return nil, err
	}
	c := &killConn{Conn: nc}
	c.r.Reset(0)
	return c, nil
}

// next returns the next packet; a broker that is silent for long is stuck.
func (c *killConn) next() (codec.Frame, error) {
	for {
		f, err := c.r.Next()
		if err != codec.ErrIncomplete {
			return f, err
		}
		if err := c.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			return f, err
		}
		n, err := c.Read(c.r.Room())
		if err != nil {
			return f, err
		}
		c.r.Wrote(n)
	}
}

// connect resumes a durable Session and reports whether there was one.
func (c *killConn) connect(id string) (present bool, err error) {
	b, err := codec.AppendConnect(nil, &codec.Connect{
		ClientID: codec.View(id), HasSessionExpiry: true, SessionExpirySeconds: 3600, ReceiveMaximum: 65535,
		RequestProblemInformation: true, KeepAliveSeconds: 60,
	}, codec.Version5)
	if err != nil {
		return false, err
	}
	if _, err := c.Write(b); err != nil {
		return false, err
	}
	f, err := c.next()
	if err != nil {
		return false, err
	}
	var ack codec.Connack
	if err := ack.Decode(f, codec.Version5); err != nil {
		return false, err
	}
	if ack.Reason != codec.Success {
		return false, fmt.Errorf("CONNACK: %v", ack.Reason)
	}
	return ack.SessionPresent, nil
}

func (c *killConn) queueAck(t codec.PacketType, id uint16) {
	c.buf, _ = codec.AppendAck(c.buf, &codec.Ack{Type: t, PacketID: id}, codec.Version5)
}

func (c *killConn) flush() error {
	_, err := c.Write(c.buf)
	c.buf = c.buf[:0]
	return err
}

// A killMessage is in flight from a publisher.
type killMessage struct {
	seq      int
	released bool // PUBREC came
}

// A killPublisher publishes the numbers from 0 on to its own topic.
type killPublisher struct {
	w        *killWorld
	id       string
	qos      codec.QoS
	known    bool // the broker has said that it has the session
	next     atomic.Int64
	done     atomic.Bool
	lastID   uint16
	order    []uint16 // of inflight
	inflight map[uint16]*killMessage
}

func (p *killPublisher) session(c *killConn) error {
	present, err := c.connect(p.id)
	if err != nil {
		return err
	}
	if p.known && !present {
		p.w.errorf("%s: the session is gone", p.id)
		return errKillDone
	}
	p.known = true
	for _, id := range p.order { // [MQTT-4.4.0-1]
		if m := p.inflight[id]; m.released {
			c.queueAck(codec.TypePubrel, id)
		} else {
			p.queue(c, id, m, true)
		}
	}
	for {
		for len(p.order) < killInflight && !p.w.draining.Load() {
			p.lastID = p.lastID%1000 + 1 // identifiers come round soon
			for p.inflight[p.lastID] != nil {
				p.lastID = p.lastID%1000 + 1
			}
			m := &killMessage{seq: int(p.next.Add(1) - 1)}
			p.order = append(p.order, p.lastID)
			p.inflight[p.lastID] = m
			p.queue(c, p.lastID, m, false)
		}
		if len(p.order) == 0 && p.w.draining.Load() {
			p.done.Store(true)
			return errKillDone
		}
		if err := c.flush(); err != nil {
			return err
		}
		if err := p.receive(c); err != nil {
			return err
		}
	}
}

func (p *killPublisher) queue(c *killConn, id uint16, m *killMessage, dup bool) {
	c.buf, _ = codec.AppendPublish(c.buf, &codec.Publish{
		QoS: p.qos, Dup: dup, PacketID: id, Topic: codec.View("kill/" + p.id), Payload: fmt.Append(nil, m.seq),
	}, codec.Version5)
}

// receive handles one packet from the broker.
func (p *killPublisher) receive(c *killConn) error {
	f, err := c.next()
	if err != nil {
		return err
	}
	var ack codec.Ack
	if err := ack.Decode(f, codec.Version5); err != nil {
		return err
	}
	m := p.inflight[ack.PacketID]
	if m == nil {
		p.w.errorf("%s: %v for identifier %d, which is not in flight", p.id, ack.Type, ack.PacketID)
		return errKillDone
	}
	switch {
	case ack.Type == codec.TypePubrec && ack.Reason < 0x80:
		m.released = true
		c.queueAck(codec.TypePubrel, ack.PacketID)
	case ack.Type == codec.TypePuback && ack.Reason < 0x80, ack.Type == codec.TypePubcomp:
		delete(p.inflight, ack.PacketID)
		p.order = slices.DeleteFunc(p.order, func(id uint16) bool { return id == ack.PacketID })
		p.w.acked.Add(1)
	default:
		p.w.errorf("%s: %v with %v", p.id, ack.Type, ack.Reason)
		return errKillDone
	}
	return nil
}

// A killSubscriber notes what arrives, and never loses its own state.
type killSubscriber struct {
	w         *killWorld
	id        string
	qos       codec.QoS
	receiving map[uint16]bool // QoS 2 identifiers between PUBLISH and PUBREL

	mu   sync.Mutex // guards the following
	got  map[string][]int
	seen map[string]map[int]bool
	conn *killConn
}

// subscribe makes the durable session once.
func (s *killSubscriber) subscribe() {
	s.seen = make(map[string]map[int]bool)
	c, err := s.w.dial()
	if err != nil {
		s.w.t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.connect(s.id); err != nil {
		s.w.t.Fatal(err)
	}
	b, err := codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1},
		[]codec.Subscription{{Filter: codec.View("kill/#"), QoS: s.qos}}, codec.Version5)
	if err != nil {
		s.w.t.Fatal(err)
	}
	if _, err := c.Write(b); err != nil {
		s.w.t.Fatal(err)
	}
	if f, err := c.next(); err != nil || f.Type() != codec.TypeSuback {
		s.w.t.Fatalf("SUBACK: %v, %v", f.Type(), err)
	}
}

func (s *killSubscriber) session(c *killConn) error {
	s.mu.Lock()
	s.conn = c
	s.mu.Unlock()
	present, err := c.connect(s.id)
	if err != nil {
		return err
	}
	if !present {
		s.w.errorf("%s: the session is gone", s.id)
		return errKillDone
	}
	for {
		f, err := c.next()
		if err != nil {
			return err
		}
		switch f.Type() {
		case codec.TypePublish:
			err = s.publish(c, f)
		case codec.TypePubrel:
			var ack codec.Ack
			if err = ack.Decode(f, codec.Version5); err == nil {
				delete(s.receiving, ack.PacketID)
				c.queueAck(codec.TypePubcomp, ack.PacketID)
			}
		default:
			s.w.errorf("%s: %v", s.id, f.Type())
		}
		if err == nil {
			err = c.flush()
		}
		if err != nil {
			return err
		}
	}
}

func (s *killSubscriber) publish(c *killConn, f codec.Frame) error {
	var p codec.Publish
	if err := p.Decode(f, codec.Version5); err != nil {
		return err
	}
	if p.QoS == 2 {
		c.queueAck(codec.TypePubrec, p.PacketID)
		if s.receiving[p.PacketID] {
			return nil // a repetition: the application has it
		}
		s.receiving[p.PacketID] = true
	} else {
		c.queueAck(codec.TypePuback, p.PacketID)
	}
	var seq int
	if _, err := fmt.Sscan(string(p.Payload), &seq); err != nil {
		return err
	}
	from := string(p.Topic[len("kill/"):])
	s.w.delivered.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got[from] = append(s.got[from], seq)
	if s.seen[from] == nil {
		s.seen[from] = make(map[int]bool)
	}
	s.seen[from][seq] = true
	return nil
}

func (s *killSubscriber) distinct(from string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen[from])
}

func (s *killSubscriber) abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		s.conn.Close()
	}
}

// check compares what arrived with what was published: all of it was
// acknowledged by now.
func (s *killSubscriber) check() {
	for _, p := range s.w.pubs {
		exactly := p.qos == 2 && s.qos == 2
		seen, last := make(map[int]int), -1
		for _, seq := range s.got[p.id] {
			if seen[seq]++; seen[seq] > 1 {
				if exactly {
					s.w.errorf("%s: message %d of %s came twice at QoS 2", s.id, seq, p.id)
				}
				continue
			}
			if seq < last {
				s.w.errorf("%s: message %d of %s came first after %d", s.id, seq, p.id, last)
			}
			last = seq
		}
		for seq := range int(p.next.Load()) {
			if seen[seq] == 0 {
				s.w.errorf("%s: message %d of %s, which was acknowledged, is lost", s.id, seq, p.id)
			}
		}
	}
}
