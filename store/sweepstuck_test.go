package store

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// TestSweepBehindStuck: what is done and is stored in one run with a message that its
// Client never acknowledges leaves with the cleanup, also while the Client is connected;
// what is not done stays, and comes again after a crash as it was.
func TestSweepBehindStuck(t *testing.T) {
	for _, qos := range []codec.QoS{1, 2} {
		t.Run(fmt.Sprintf("QoS=%d", qos), func(t *testing.T) { sweepBehindStuck(t, qos) })
	}
}

func sweepBehindStuck(t *testing.T, qos codec.QoS) {
	c := newHolClient(t, qos, 6*holBatch, 0, 11, 700, 701)
	for c.delivered < 3*holBatch {
		c.publish()
	}
	c.settle()
	const cleared = 2 * holBatch // more than 512 messages are done beyond
	stuck := []uint64{1, 12, 701, 702}
	if before := c.stored(cleared); len(before) < 2*len(stuck) {
		t.Errorf("before the cleanup only %v are stored: nothing to be swept", before)
	}
	state := c.s.AppendState(nil)
	c.sweep()
	if after := c.stored(cleared); !slices.Equal(after, stuck) {
		t.Errorf("after the cleanup %v are stored, expected %v", after, stuck)
	}
	if again := c.s.AppendState(nil); !slices.Equal(again, state) || c.s.QueueLen() != len(stuck) || !c.s.Attached() {
		t.Errorf("the cleanup changed the State from %x to %x; %d in the queue", state, again, c.s.QueueLen())
	}
	c.kill()
	c.sweep()
	for c.delivered < 5*holBatch { // others flow on
		c.publish()
	}
	c.settle()
	c.sweep()
	if after := c.stored(cleared); !slices.Equal(after, stuck) {
		t.Errorf("after a crash %v are stored, expected %v", after, stuck)
	}
	clear(c.stuck)
	c.kill()
	c.settle()
	for id, n := range c.got[:c.delivered] {
		if n == 0 || n > 1 && qos == 2 || int(n) > 1+c.kills {
			t.Errorf("message %d came %d times", id, n)
		}
	}
	if left := c.stored(1 << 40); len(left) > 0 || c.s.QueueLen() != 0 {
		t.Errorf("%v are left, %d in the queue", left, c.s.QueueLen())
	}
}

// stored returns the Seqs below to that are stored.
func (c *holClient) stored(to uint64) (seqs []uint64) {
	c.t.Helper()
	for from := uint64(1); ; {
		entries, err := c.db.Page(1, from, 100, 1<<20)
		if err != nil {
			c.t.Fatal(err)
		}
		for i := range entries {
			if from = entries[i].Seq + 1; from <= to {
				seqs = append(seqs, entries[i].Seq)
			}
		}
		if len(entries) == 0 {
			return seqs
		}
	}
}

// sweep does what the cleanup of a broker does.
func (c *holClient) sweep() {
	c.t.Helper()
	c.commit()
	for from := c.s.SweepFrom(); ; {
		entries, err := c.db.Page(1, from, 100, 1<<20)
		if err != nil {
			c.t.Fatal(err)
		}
		if len(entries) == 0 {
			return
		}
		c.do(func() { c.s.SweepPage(from, entries, time.Unix(1e9, 0), 0, &c.fx) })
		c.commit()
		from = entries[len(entries)-1].Seq + 1
	}
}
