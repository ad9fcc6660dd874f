package session

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// TestSendNow: a Session that keeps nothing it has sent does, packet by
// packet, what one does that keeps everything.
func TestSendNow(t *testing.T) {
	base := *seed
	if base == 0 {
		base = rand.Uint64()
	}
	for i := range uint64(100) {
		t.Run(fmt.Sprintf("seed=%d", base+i), func(t *testing.T) {
			r := rand.New(rand.NewPCG(base+i, 0))
			p := newSendNowPair(t, r)
			notKept := 0
			for range 2000 {
				if r.IntN(2) == 0 {
					notKept += p.deliver(codec.QoS(1 + r.IntN(2)))
				} else {
					p.acknowledge()
				}
			}
			if notKept == 0 || notKept == p.delivered {
				t.Errorf("%d of %d messages were not kept", notKept, p.delivered)
			}
		})
	}
}

// A sendNowPair is two Sessions to which the same happens.
type sendNowPair struct {
	t            *testing.T
	r            *rand.Rand
	keeps, other *Session
	a, b         Effects
	now          time.Time
	delivered    int
	sent         []Send // not acknowledged
	released     []uint16
}

func newSendNowPair(t *testing.T, r *rand.Rand) *sendNowPair {
	limits := &Limits{WindowMessages: 4, WindowBytes: 1 << 20, QueueMessages: 1 + r.IntN(30), QueueBytes: 1 << (9 + r.IntN(8)), Policy: DropNewest, Inflight: 10}
	p := &sendNowPair{t: t, r: r, now: time.Unix(1e9, 0), keeps: New(1, "a", "", false, limits), other: New(2, "b", "", false, limits)}
	maximum := uint16(1 + r.IntN(12))
	for _, s := range []*Session{p.keeps, p.other} {
		s.startQueue()
		s.next = packetIDs - 500 // the identifiers begin anew on the way
		s.floor, s.sent, s.diskFrom = s.next, s.next, s.next
		s.Attach(maximum, 0, p.now, &Effects{})
	}
	return p
}

// deliver returns 1 if the message was not kept.
func (p *sendNowPair) deliver(qos codec.QoS) (notKept int) {
	p.delivered++
	p.a.Reset()
	p.b.Reset()
	e := Entry{Message: &Message{Topic: "t", Payload: make([]byte, p.r.IntN(1000))}, QoS: qos, SubscriptionIDs: make([]uint32, p.r.IntN(2))}
	p.keeps.Deliver(e, p.now, &p.a)
	packet := codec.Publish{QoS: qos, Topic: codec.View(e.Message.Topic), Payload: e.Message.Payload, SubscriptionIDs: e.SubscriptionIDs}
	if p.other.SendNow(&packet) {
		p.b.Sends, notKept = append(p.b.Sends, Send{Message: e.Message, PacketID: packet.PacketID, QoS: qos}), 1
	} else {
		p.other.Deliver(e, p.now, &p.b)
	}
	p.compare("a delivery")
	return notKept
}

// acknowledge answers something that was sent, or nothing that was.
func (p *sendNowPair) acknowledge() {
	p.a.Reset()
	p.b.Reset()
	id := uint16(20000 + p.r.IntN(20000)) // of no message: they begin near the last and do not come so far
	var same bool
	switch n := p.r.IntN(20); {
	case n == 0:
		same = p.keeps.ReceivePuback(id, p.now, &p.a) == p.other.ReceivePuback(id, p.now, &p.b)
	case n < 5 && len(p.released) > 0:
		i := p.r.IntN(len(p.released))
		id = p.released[i]
		p.released = slices.Delete(p.released, i, i+1)
		same = p.keeps.ReceivePubcomp(id, p.now, &p.a) && p.other.ReceivePubcomp(id, p.now, &p.b)
	case len(p.sent) > 0:
		i := p.r.IntN(len(p.sent))
		s := p.sent[i]
		p.sent = slices.Delete(p.sent, i, i+1)
		if s.QoS == 1 {
			same = p.keeps.ReceivePuback(s.PacketID, p.now, &p.a) && p.other.ReceivePuback(s.PacketID, p.now, &p.b)
			break
		}
		reason := []codec.ReasonCode{codec.Success, codec.Success, codec.QuotaExceeded}[p.r.IntN(3)]
		same = p.keeps.ReceivePubrec(s.PacketID, reason, p.now, &p.a) && p.other.ReceivePubrec(s.PacketID, reason, p.now, &p.b)
		if reason < 0x80 {
			p.released = append(p.released, s.PacketID)
		}
	default:
		return
	}
	if !same {
		p.t.Fatalf("an acknowledgement for %d is found by one of the two at most", id)
	}
	p.compare("an acknowledgement")
}

func (p *sendNowPair) compare(after string) {
	p.t.Helper()
	if !slices.EqualFunc(p.a.Sends, p.b.Sends, func(a, b Send) bool {
		return a.PacketID == b.PacketID && a.QoS == b.QoS && a.Message == b.Message && a.Dup == b.Dup && a.AfterCommit == b.AfterCommit
	}) {
		p.t.Fatalf("after %s\n%v is sent by one that keeps all,\n%v by one that does not", after, p.a.Sends, p.b.Sends)
	}
	if a, b := p.keeps, p.other; a.QueueLen() != b.QueueLen() || a.Full() != b.Full() || a.queueBytes != b.queueBytes || a.windowBytes != b.windowBytes || a.floor != b.floor || a.inflight != b.inflight || p.a.DroppedNewest != p.b.DroppedNewest {
		p.t.Fatalf("after %s %d messages are queued, %d in flight, floor %d; and %d, %d, %d",
			after, a.QueueLen(), a.inflight, a.floor, b.QueueLen(), b.inflight, b.floor)
	}
	for _, s := range p.a.Sends {
		if s.Message != nil {
			p.sent = append(p.sent, s)
		}
	}
}
