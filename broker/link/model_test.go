package link

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

var seed = flag.Uint64("seed", 0, "seed of the randomised tests; 0: a new one")

func newSeed(t *testing.T) uint64 {
	t.Helper()
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("replay with -seed=%d", s)
	return s
}

// A course is a random course of events for one Outbox.
type course struct {
	*bench
	r        *rand.Rand
	audit    *audit
	id       int
	receipts []*receipt
}

func newCourse(b *bench, seed uint64) *course {
	b.wire.room = 1 << 40
	c := &course{bench: b, r: rand.New(rand.NewPCG(seed, 0)), audit: newAudit(b.wire, b.disk)}
	b.out.SetClient(codec.Version5, uint16(c.r.IntN(4)), uint32(c.r.IntN(2)*c.r.IntN(30)), time.Time{})
	return c
}

// hold is a random one.
func (c *course) hold() (h Hold, p promise) {
	p.commit, p.held = c.disk.committed.Load()+uint64(c.r.IntN(4)), true
	if c.r.IntN(8) == 0 {
		p.commit = 0
	}
	h.Commit, h.Credit, h.Answered = p.commit, c.r.IntN(2) == 0, uint32(c.r.IntN(1000))
	if c.r.IntN(3) == 0 {
		p.receipt = new(receipt)
		h.Receipt = p.receipt
		c.receipts = append(c.receipts, p.receipt)
	}
	return h, p
}

// queue queues a random packet.
func (c *course) queue() {
	c.id++
	switch c.r.IntN(4) {
	case 0:
		p := c.audit.queue(promise{id: c.id})
		if !c.now(uint16(c.id)) {
			c.audit.refused(p)
		}
	case 1:
		h, p := c.hold()
		p.id = c.id
		promised := c.audit.queue(p)
		if !c.held(uint16(c.id), h) && c.out.is(closing) {
			c.audit.refused(promised)
		}
	default:
		p := promise{id: c.id, topic: fmt.Sprint("topic/", c.r.IntN(5))}
		qos := codec.QoS(c.r.IntN(3))
		if qos == 2 {
			p.held, p.commit = true, c.disk.committed.Load()+uint64(c.r.IntN(4))
		}
		promised := c.audit.queue(p)
		if c.publish(qos, p.topic, strconv.Itoa(c.id), p.commit) != Taken {
			c.audit.refused(promised)
		}
	}
}

// step lets one random thing happen.
func (c *course) step() {
	switch c.r.IntN(10) {
	case 0:
		c.disk.commit(c.disk.committed.Load() + 1)
	case 1:
		if n := len(c.receipts); n > 0 {
			c.receipts[c.r.IntN(n)].complete.Store(true)
			c.p.Add(c.out)
		}
	case 2:
		c.wire.mu.Lock()
		c.wire.room = c.r.IntN(50)
		c.wire.mu.Unlock()
	case 3:
		c.wire.take(1 << 40)
		c.flush()
		synctest.Wait()
		c.audit.settled()
	case 4:
		c.flush()
	default:
		c.queue()
	}
}

// run is a whole course, to its end.
func (c *course) run(steps int) error {
	for range steps {
		c.step()
	}
	c.flush()
	switch c.r.IntN(3) {
	case 0:
		c.out.Abort()
	case 1:
		c.id++
		p := c.audit.queue(promise{id: c.id})
		c.out.Close(ack(uint16(c.id))(nil))
		c.queue() // it is refused
		c.disk.commit(c.disk.committed.Load() + 10)
		c.wire.take(1 << 40)
		synctest.Wait()
		if !p.written || !c.wire.closed() {
			return fmt.Errorf("the last packet is written: %v; the connection is closed: %v", p.written, c.wire.closed())
		}
		for _, q := range c.audit.queued {
			if !q.held && !q.written {
				return fmt.Errorf("packet %d was ready when it closed and was not written", q.id)
			}
		}
	default:
		c.disk.commit(c.disk.committed.Load() + 10)
		c.wire.take(1 << 40)
		synctest.Wait()
		c.audit.settled()
		if n := c.out.Held(); n > 0 {
			return fmt.Errorf("%d packets are held when all is on disk", n)
		}
	}
	return c.audit.err()
}

// TestModel: in random courses nothing is written before it may be, out of order, twice,
// or with the wrong Topic Name, and nothing is kept back without need.
func TestModel(t *testing.T) {
	base := newSeed(t)
	for i := range uint64(300) {
		virtual(t, -1, func(t *testing.T, b *bench) {
			if err := newCourse(b, base+i).run(200); err != nil {
				t.Fatalf("-run '^TestModel$' -seed=%d: %v", base+i, err)
			}
		})
	}
}

// TestModelControl: Commits that say too early what is on disk are noticed.
func TestModelControl(t *testing.T) {
	base := newSeed(t)
	caught := 0
	for i := range uint64(20) {
		virtual(t, -1, func(t *testing.T, b *bench) {
			b.disk.early = 1
			if newCourse(b, base+i).run(200) != nil {
				caught++
			}
		})
	}
	if caught < 15 {
		t.Errorf("only %d of 20 courses notice", caught)
	}
}

// TestConcurrent: several goroutines queue and flush, another commits, and the Client
// takes a little at a time.
func TestConcurrent(t *testing.T) {
	const (
		senders = 4
		packets = 2000
	)
	base := newSeed(t)
	b := newBench(t, 100)
	b.out.SetClient(codec.Version5, 3, 0, time.Time{})
	a := newAudit(b.wire, b.disk)
	var senderGroup, group sync.WaitGroup
	done := make(chan struct{})
	group.Go(func() { // the Client
		for range 1_000_000 {
			select {
			case <-done:
				b.wire.take(1 << 40)
				return
			default:
				b.wire.take(100)
			}
		}
	})
	group.Go(func() { // the disk
		for n := uint64(1); ; n++ {
			select {
			case <-done:
				b.disk.commit(n + 10)
				return
			default:
				b.disk.commit(n)
			}
		}
	})
	for sender := range senders {
		senderGroup.Go(func() {
			r := rand.New(rand.NewPCG(base, uint64(sender)))
			var p Pending
			for i := range packets {
				if room := b.out.Room(); room != nil {
					<-room
				}
				id := (sender+1)*10_000 + i
				commit := b.disk.committed.Load() + uint64(r.IntN(3))
				m := codec.Publish{Topic: codec.View(fmt.Sprint("topic/", r.IntN(5))), Payload: []byte(strconv.Itoa(id)), PacketID: 1}
				switch m.QoS = codec.QoS(r.IntN(4)); m.QoS {
				case 3:
					a.queue(promise{id: id, held: true, commit: commit})
					b.out.QueueHeld(&p, Hold{Commit: commit}, ack(uint16(id)))
				default:
					if m.QoS == 0 {
						m.PacketID = 0
					}
					if m.QoS < 2 {
						commit = 0
					}
					a.queue(promise{id: id, held: m.QoS == 2, commit: commit, topic: string(m.Topic)})
					b.out.QueuePublish(&p, &m, commit)
				}
				if r.IntN(3) == 0 {
					p.Flush(b.m)
				}
			}
			p.Flush(b.m)
		})
	}
	senderGroup.Wait()
	close(done)
	group.Wait()
	eventually(t, func() string {
		b.out.Committed()
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, p := range a.queued {
			if !p.written {
				return fmt.Sprintf("packet %d is not written", p.id)
			}
		}
		return ""
	})
	if err := a.err(); err != nil {
		t.Error(err)
	}
	if b.out.Room() != nil || b.out.Held() > 0 {
		t.Error("something waits when all is written")
	}
}
