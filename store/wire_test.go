package store

import (
	"bytes"
	"errors"
	"flag"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/session"
)

var wireBatches = flag.Int("wire.batches", 300, "how many random batches TestWireBatches sends through bytes")

// TestWireBatches: a Batch that went through bytes changes a store as the Batch must, and comes out as the
// same bytes.
func TestWireBatches(t *testing.T) {
	r := newRand(t)
	db := openTest(t, testOptions(t.TempDir()))
	m := newModel(r, db.NextID())
	n := *wireBatches / raceSlowdown
	for i := range n {
		b := m.batch()
		b.Time, b.System = m.time(), m.time()
		text := AppendBatch(nil, b)
		got, err := DecodeBatch(text)
		if err != nil {
			t.Fatalf("batch %d: %v", i, err)
		}
		if again := AppendBatch([]byte("before"), got); !bytes.Equal(again[6:], text) {
			t.Fatalf("batch %d: its bytes are others the second time", i)
		}
		if !got.Time.Equal(b.Time) || !got.System.Equal(b.System) {
			t.Fatalf("batch %d: %v and %v, expected %v and %v", i, got.Time, got.System, b.Time, b.System)
		}
		apply(t, db, got)
		if i%5 == 4 || i == n-1 {
			if err := m.compare(db); err != nil {
				t.Fatalf("batch %d: %v", i, err)
			}
		}
		if i%20 == 0 {
			cutAnywhere(t, text)
		}
	}
}

// cutAnywhere: no part of a Batch, and none with more behind it, is taken for a whole one.
func cutAnywhere(t *testing.T, text []byte) {
	t.Helper()
	for n := 0; n < len(text); n += 1 + n/50 {
		if _, err := DecodeBatch(text[:n]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("the first %d of %d bytes: %v", n, len(text), err)
		}
	}
	if _, err := DecodeBatch(append(text[:len(text):len(text)], 0)); !errors.Is(err, ErrDamaged) {
		t.Fatalf("one byte more: %v", err)
	}
}

// TestWireSharesMessages: a message in many queues is there once, and is one message again; entries that
// were struck out are not there.
func TestWireSharesMessages(t *testing.T) {
	b := session.NewBatch()
	shared := &session.Message{Topic: "a", Payload: bytes.Repeat([]byte("x"), 1000)}
	for id := range session.ID(100) {
		b.Sessions[id+1] = &session.Writes{Entries: []session.Entry{{Seq: 1}, {Seq: 2, Message: shared, QoS: 1, SubscriptionIDs: []uint32{7}, Share: "s", QueuedAt: time.UnixMilli(5)}}}
	}
	text := AppendBatch(nil, b)
	if len(text) > 1000+100*20 {
		t.Errorf("%d bytes", len(text))
	}
	got, err := DecodeBatch(text)
	if err != nil {
		t.Fatal(err)
	}
	first := got.Sessions[1].Entries
	if len(first) != 1 || first[0].Seq != 2 || first[0].Share != "s" || first[0].SubscriptionIDs[0] != 7 || !first[0].QueuedAt.Equal(time.UnixMilli(5)) || !sameMessage(first[0].Message, shared) {
		t.Errorf("%+v", first)
	}
	for id, w := range got.Sessions {
		if w.Entries[0].Message != first[0].Message {
			t.Errorf("Session %d has a message of its own", id)
		}
	}
}

// FuzzDecodeBatch: bytes of anybody are refused, or are a Batch that stays as it is.
func FuzzDecodeBatch(f *testing.F) {
	r := newRand(f)
	m := newModel(r, 1)
	for range 20 {
		f.Add(AppendBatch(nil, m.batch()))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := DecodeBatch(text)
		if err != nil {
			return
		}
		once := AppendBatch(nil, b)
		again, err := DecodeBatch(once)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(AppendBatch(nil, again), once) {
			t.Error("its bytes are others the second time")
		}
	})
}
