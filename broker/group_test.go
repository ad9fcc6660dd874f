package broker_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// digest tells what a store would write of b.
func digest(b *session.Batch) string {
	var out strings.Builder
	for _, id := range sortedKeys(b.Sessions) {
		w := b.Sessions[id]
		fmt.Fprintf(&out, "%d: ended %v record %p will %v %p subscriptions %q state %x floor %d discarded %v entries", id, w.Ended, w.Record,
			w.HasWill, w.Will, sortedKeys(w.Subscriptions), w.State, w.Floor, w.Discarded)
		for i := range w.Entries {
			fmt.Fprintf(&out, " %d=%p", w.Entries[i].Seq, w.Entries[i].Message)
		}
		out.WriteByte('\n')
	}
	for _, topic := range sortedKeys(b.Retained) {
		fmt.Fprintf(&out, "%s: %d\n", topic, b.Retained[topic].Version)
	}
	return out.String()
}

// A batchCheck is shown every batch and keeps the first fault.
type batchCheck struct {
	subscribers int

	mu      sync.Mutex // guards the following
	clients map[string]session.ID
	stored  map[string]bool // by payload, the messages so far
	batches int             // with messages in them
	copies  int
	fault   error
}

func (c *batchCheck) look(b *session.Batch) (after func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, w := range b.Sessions {
		if w.Record != nil {
			c.clients[w.Record.ClientID] = id
		}
	}
	copies := make(map[*session.Message]int)
	for _, w := range b.Sessions {
		for i := range w.Entries {
			copies[w.Entries[i].Message]++
		}
	}
	for m, n := range copies {
		c.copies += n
		c.stored[string(m.Payload)] = true
		c.note(c.whole(b, m, n))
	}
	for client, id := range c.clients {
		var st session.State
		w := b.Sessions[id]
		if w == nil || w.State == nil {
			continue
		}
		c.note(st.Decode(w.State))
		for id := range st.Received.All() {
			if !c.stored[fmt.Sprint(client, " ", id)] {
				c.note(fmt.Errorf("the Packet Identifier of %s %d is stored before the message", client, id))
			}
		}
	}
	c.batches += min(len(copies), 1)
	before := digest(b)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if now := digest(b); now != before {
			c.note(fmt.Errorf("a batch changed while it was written, from\n%sto\n%s", before, now))
		}
	}
}

func (c *batchCheck) note(err error) {
	if c.fault == nil {
		c.fault = err
	}
}

// whole checks that all that belongs to m is in b.
func (c *batchCheck) whole(b *session.Batch, m *session.Message, copies int) error {
	var client string
	var id uint16
	if _, err := fmt.Sscanf(string(m.Payload), "%s %d", &client, &id); err != nil {
		return err
	}
	if copies != c.subscribers {
		return fmt.Errorf("%s has %d of %d copies in its batch", m.Payload, copies, c.subscribers)
	}
	if _, ok := b.Retained[m.Topic]; !ok {
		return fmt.Errorf("%s is not retained in its batch", m.Payload)
	}
	if m.QoS < 2 {
		return nil
	}
	var st session.State
	w := b.Sessions[c.clients[client]]
	if w == nil || st.Decode(w.State) != nil || !st.Received.Has(id) {
		return fmt.Errorf("the Packet Identifier of %s is not in its batch", m.Payload)
	}
	return nil
}

// TestOneTransaction: all that one PUBLISH causes is in one batch, whenever the
// committer closes it: each copy, the retained message and, with QoS 2, the
// Packet Identifier. And no batch changes while it is written.
func TestOneTransaction(t *testing.T) {
	const publishers, rounds, window = 4, 60 / raceSlowdown, 8
	check := &batchCheck{subscribers: 100, clients: make(map[string]session.ID), stored: make(map[string]bool)}
	f := newFixture(t)
	f.store.setLook(check.look)
	for i := range check.subscribers {
		p := f.connect(fmt.Sprint("sub", i))
		p.subscribe(1, "all/#", 2)
		p.expect(codec.TypeSuback)
		_ = p.Close()
	}
	publish := func(p *peer, name string) error {
		next := uint16(1)
		for range rounds {
			for range window {
				b, _ := codec.AppendPublish(nil, &codec.Publish{
					QoS: codec.QoS(1 + next%2), PacketID: next, Retain: true,
					Topic: codec.View("all/" + name), Payload: codec.View(fmt.Sprint(name, " ", next)),
				}, codec.Version5)
				if _, err := p.Write(b); err != nil {
					return err
				}
				next++
			}
			for done := 0; done < window; {
				frame, err := p.next()
				if err != nil {
					return err
				}
				var ack codec.Ack
				if err := ack.Decode(frame, codec.Version5); err != nil || ack.Reason != codec.Success {
					return fmt.Errorf("%v %d: %v (%v)", ack.Type, ack.PacketID, ack.Reason, err)
				}
				if ack.Type != codec.TypePubrec {
					done++
					continue
				}
				rel, _ := codec.AppendAck(nil, &codec.Ack{Type: codec.TypePubrel, PacketID: ack.PacketID}, codec.Version5)
				if _, err := p.Write(rel); err != nil {
					return err
				}
			}
		}
		return nil
	}
	var running sync.WaitGroup
	for i := range publishers {
		name := fmt.Sprint("pub", i)
		p := f.connect(name)
		running.Go(func() {
			if err := publish(p, name); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	f.store.setLook(nil)
	check.mu.Lock()
	defer check.mu.Unlock()
	if check.fault != nil {
		t.Error(check.fault)
	}
	if want := publishers * rounds * window * check.subscribers; check.copies != want {
		t.Errorf("%d copies, expected %d", check.copies, want)
	}
	t.Logf("%d copies in %d batches", check.copies, check.batches)
}

// TestSealedBatchStays: a batch that is being written is not changed by an
// acknowledgement that comes then; what was acknowledged is removed by a later one.
func TestSealedBatchStays(t *testing.T) {
	f := newFixture(t)
	pub, sub := f.connect("pub"), f.connect("sub")
	sub.subscribe(1, "t", 1)
	sub.expect(codec.TypeSuback)
	var first sync.Once
	digests := make(chan string, 2)
	f.store.setLook(func(b *session.Batch) func() {
		after := func() {}
		first.Do(func() {
			digests <- digest(b)
			after = func() { digests <- digest(b) }
		})
		return after
	})
	open := f.store.close()
	defer open()
	pub.publish(1, 1, "t", "m")
	var p codec.Publish
	if err := p.Decode(sub.expect(codec.TypePublish), codec.Version5); err != nil {
		t.Fatal(err)
	}
	<-f.store.entered
	sub.ack(codec.TypePuback, p.PacketID)
	sub.quiet()
	open()
	pub.expect(codec.TypePuback)
	if before, after := <-digests, <-digests; before != after {
		t.Errorf("the batch changed while it was written, from\n%sto\n%s", before, after)
	}
}
