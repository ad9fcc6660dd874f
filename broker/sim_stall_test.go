package broker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// TestSimDiskStall: one sync takes 1 to 120 s. Until it returns nothing is
// acknowledged that it, or what waits behind it, must make durable; what needs
// no disk goes on as if nothing were the matter.
func TestSimDiskStall(t *testing.T) {
	root := simRoot(t)
	seeds(t, 20, func(seed uint64) error {
		_, err := inBubble(t, root, seed, simConfig{}, (*world).stall)
		return err
	})
}

// prompt is how long anything may take that needs no disk: thrice the slowest
// way there and back.
const prompt = 200 * time.Millisecond

// A stalled is the cast of TestSimDiskStall and what it has sent.
type stalled struct {
	w               *world
	pub, sub, quick *simClient // quick is not durable
	absent          *simClient // for whom messages must be stored
	late, fresh     *simClient // connect during the stall; fresh is not durable
	freshAt         time.Time
	begin, end      time.Time // of the stall
	held, free      []*simMessage
	elided          []*simMessage // to nobody who does not acknowledge at once
	heldSub         *simSub
}

func (w *world) stall() error {
	return w.standstill(func(s *stalled, length time.Duration) (end func() error, err error) {
		normal := w.disk.delay
		w.disk.setDelay(func() time.Duration {
			if !s.begin.IsZero() {
				return normal()
			}
			s.begin, s.end = time.Now(), time.Now().Add(length)
			return length
		})
		return func() error { return nil }, nil
	})
}

// standstill has clients work while the disk takes nothing, for a time that begin begins with the
// next commit at the latest.
func (w *world) standstill(begin func(s *stalled, length time.Duration) (end func() error, err error)) error {
	s := &stalled{w: w,
		pub: newSimClient(w, "pub", codec.Version5, true, 2), sub: newSimClient(w, "sub", codec.Version311, true, 2),
		quick: newSimClient(w, "quick", codec.Version5, false, 0), late: newSimClient(w, "late", codec.Version5, true, 2),
		fresh: newSimClient(w, "fresh", codec.Version311, false, 0), absent: newSimClient(w, "absent", codec.Version5, true, 2),
	}
	w.clients = []*simClient{s.pub, s.sub, s.quick, s.absent}
	if err := w.start(); err != nil {
		return err
	}
	w.locked(func() {
		for _, c := range w.clients {
			c.connectLocked(false, nil)
		}
	})
	time.Sleep(time.Second)
	w.locked(func() {
		s.subscribe(s.sub, "t/0")
		s.subscribe(s.sub, "t/3")
		s.subscribe(s.quick, "t/1")
		s.subscribe(s.absent, "t/0")
	})
	time.Sleep(time.Second)
	w.locked(func() { s.absent.link.disconnectLocked() })
	time.Sleep(time.Second)
	length := time.Second + time.Duration(w.r.Int64N(int64(119*time.Second)))
	end, err := begin(s, length)
	if err != nil {
		return err
	}
	w.locked(func() { s.publish(s.pub, "t/0", 1, &s.held) }) // its commit is the one that stalls
	time.Sleep(prompt)
	s.during(length - 2*prompt)
	if err := end(); err != nil {
		return err
	}
	time.Sleep(3*prompt + time.Second)
	s.ready()
	w.locked(s.check)
	w.stop()
	return w.verdict()
}

func (s *stalled) subscribe(c *simClient, filter string) *simSub {
	sub := &simSub{filter: filter, id: c.freeID(), sentAt: s.w.eventLocked()}
	c.subs = append(c.subs, sub)
	c.link.sendSubscribe(sub)
	return sub
}

func (s *stalled) publish(c *simClient, topic string, qos codec.QoS, list *[]*simMessage) {
	m := s.w.newMessageLocked(c, topic, qos)
	m.sentAt = s.w.eventLocked()
	if qos > 0 {
		m.id = c.freeID()
		c.inflight = append(c.inflight, m)
	}
	*list = append(*list, m)
	c.link.sendPublishLocked(m, false)
}

// during lets the clients work while the disk stands still.
func (s *stalled) during(length time.Duration) {
	w := s.w
	for i := range 10 {
		w.locked(func() {
			if len(s.pub.inflight) < 40 {
				s.publish(s.pub, "t/0", codec.QoS(1+w.r.IntN(2)), &s.held)
			}
			s.publish(s.pub, "t/1", 0, &s.free)
			s.publish(s.quick, "t/3", 1, &s.elided)
			switch i {
			case 1:
				s.late.connectLocked(false, nil)
			case 2:
				s.freshAt = time.Now()
				s.fresh.connectLocked(false, nil)
			case 3:
				s.heldSub = s.subscribe(s.sub, "t/2")
			}
			for _, c := range []*simClient{s.pub, s.sub, s.quick} {
				c.link.pinged = time.Now()
				c.link.send(codec.AppendPingreq(nil), nil)
			}
		})
		time.Sleep(length / 10)
		s.ready()
	}
}

// ready checks what /ready says: no from 10 s of the stall on, and yes before.
func (s *stalled) ready() {
	now, err := time.Now(), s.w.b.Ready()
	s.w.disk.mu.Lock()
	stalled := now.Sub(s.begin)
	if s.begin.IsZero() || now.After(s.end) {
		stalled = 0
	}
	s.w.disk.mu.Unlock()
	if (stalled > 10*time.Second+prompt && err == nil) || (stalled < 10*time.Second && err != nil) {
		s.w.locked(func() { s.w.faultLocked("ready is %v when the disk has stalled for %v", err, stalled) })
	}
}

func (s *stalled) check() {
	w := s.w
	early := func(what string, at time.Time) {
		if at.IsZero() {
			w.faultLocked("%s never came", what)
		} else if at.Before(s.end) {
			w.faultLocked("%s came %v before the disk had it", what, s.end.Sub(at))
		}
	}
	if s.begin.IsZero() {
		w.faultLocked("the disk did not stall")
	}
	for _, m := range s.held {
		early(fmt.Sprintf("the acknowledgement of message %d", m.no), m.ackedTime)
		if m.qos == 2 {
			early(fmt.Sprintf("message %d with QoS 2", m.no), m.takenTime)
		} else if took := m.takenTime.Sub(m.lastSent); took < 0 || took > prompt {
			w.faultLocked("message %d with QoS 1, which need not wait, took %v", m.no, took)
		}
	}
	for _, m := range s.free {
		if took := m.takenTime.Sub(m.lastSent); took < 0 || took > prompt {
			w.faultLocked("message %d with QoS 0 took %v", m.no, took)
		}
	}
	for _, m := range s.elided {
		if took := m.ackedTime.Sub(m.lastSent); took < 0 || took > 2*prompt {
			w.faultLocked("message %d, which leaves nothing to store, was acknowledged after %v", m.no, took)
		}
	}
	early("SUBACK", s.heldSub.ackedTime)
	if s.late.link == nil {
		w.faultLocked("the client that connected during the stall was cut off")
	} else {
		early("CONNACK", s.late.link.since)
	}
	if l := s.fresh.link; l == nil || l.since.IsZero() || l.since.Sub(s.freshAt) > prompt {
		w.faultLocked("a client whose Session is not stored had to wait for CONNACK")
	}
	for _, c := range []*simClient{s.pub, s.sub, s.quick} {
		if c.link == nil || !c.link.pinged.IsZero() {
			w.faultLocked("%s got no PINGRESP", c.id)
		}
	}
	if w.pingMax > prompt {
		w.faultLocked("a PINGRESP took %v", w.pingMax)
	}
}

// locked runs f under w.mu.
func (w *world) locked(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}
