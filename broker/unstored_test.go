package broker

import (
	"fmt"
	"sync"
	"testing"

	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// A stalledStore is a store whose disk does not answer while gate is locked.
type stalledStore struct {
	Store
	gate sync.Mutex
}

func (s *stalledStore) Apply(b *session.Batch) error {
	s.gate.Lock()
	defer s.gate.Unlock()
	return s.Store.Apply(b)
}

// TestUnstoredIsBounded: whatever a Client sends while the disk does not answer,
// it stops being read before much of it is in memory, and is read again afterwards.
// No Receive Maximum is needed for that.
func TestUnstoredIsBounded(t *testing.T) {
	store := new(stalledStore)
	p := newPathOn(t, func(s Store) Store { store.Store = s; return store }, func(*Options) {})
	lasting := func(c *codec.Connect) { c.HasSessionExpiry, c.SessionExpirySeconds = true, 3600 }
	p.subscribe(p.connect("silent", new(sink), lasting), 2, "kept/#")

	publish := func(qos codec.QoS, size int) func(int) ([]byte, error) {
		payload := make([]byte, size)
		return func(i int) ([]byte, error) {
			return codec.AppendPublish(nil, &codec.Publish{QoS: qos, PacketID: uint16(i) + 1, Topic: codec.View("kept/x"), Payload: payload}, codec.Version5)
		}
	}
	for _, kind := range []struct {
		name   string
		packet func(i int) ([]byte, error)
		before func(c *conn)
	}{
		{"QoS 1, large", publish(1, 300_000), nil},
		{"QoS 1, larger than the limit allows", publish(1, 900_000), nil},
		{"QoS 1, small", publish(1, 1), nil},
		{"QoS 2, large", publish(2, 300_000), nil},
		{"QoS 2, small", publish(2, 1), nil},
		{"QoS 2, over and over", func(int) ([]byte, error) { return publish(2, 1)(0) }, nil},
		{"PUBREL", func(i int) ([]byte, error) {
			return codec.AppendAck(nil, &codec.Ack{Type: codec.TypePubrel, PacketID: uint16(i) + 1}, codec.Version5)
		}, func(c *conn) {
			for i := range 10_000 {
				b, err := codec.AppendPublish(nil, &codec.Publish{QoS: 2, PacketID: uint16(i) + 1, Topic: codec.View("nobody")}, codec.Version5)
				if err != nil {
					t.Fatal(err)
				}
				p.put(c, b)
				awaitRoom(c)
			}
		}},
		{"SUBSCRIBE", func(i int) ([]byte, error) {
			return codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, []codec.Subscription{{Filter: codec.View(fmt.Sprint("s/", i%100))}}, codec.Version5)
		}, nil},
		{"UNSUBSCRIBE", func(i int) ([]byte, error) {
			return codec.AppendUnsubscribe(nil, &codec.Unsubscribe{PacketID: 1}, []codec.View{codec.View(fmt.Sprint("s/", i%100))}, codec.Version5)
		}, func(c *conn) {
			for i := range 100 {
				p.subscribe(c, 1, fmt.Sprint("s/", i))
			}
		}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			c := p.connect(kind.name, new(sink), lasting)
			if kind.before != nil {
				kind.before(c)
			}
			if err := p.b.commits.Flush(); err != nil {
				t.Fatal(err)
			}
			store.gate.Lock()
			packets, bytes := 0, 0
			for room := true; room; packets++ {
				b, err := kind.packet(packets)
				if err != nil {
					t.Fatal(err)
				}
				p.put(c, b)
				bytes += len(b)
				room = c.out.Room() == nil
				if packets > link.HeldPacketsMax+gateBatch || bytes > link.AnsweredBytesMax+link.OutBytesMax {
					store.gate.Unlock()
					t.Fatalf("still read after %d packets with %d bytes", packets, bytes)
				}
			}
			store.gate.Unlock()
			awaitRoom(c) // and it comes back
			t.Logf("%d packets, %d bytes", packets, bytes)
		})
	}
}

// awaitRoom waits until c may be read.
func awaitRoom(c *conn) {
	if room := c.out.Room(); room != nil {
		<-room
	}
}
