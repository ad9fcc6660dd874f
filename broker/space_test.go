package broker_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/metrics"
	"github.com/x0a1b/promptmq/session"
	"github.com/x0a1b/promptmq/store"
)

// publishReason publishes with QoS 1 and returns the Reason Code of PUBACK.
func (p *peer) publishReason(id uint16, topic, payload string) codec.ReasonCode {
	p.t.Helper()
	p.publish(1, id, topic, payload)
	var ack codec.Ack
	if err := ack.Decode(p.expect(codec.TypePuback), codec.Version5); err != nil || ack.PacketID != id {
		p.t.Fatalf("PUBACK for %d, expected %d (%v)", ack.PacketID, id, err)
	}
	return ack.Reason
}

// TestDiskFull: while the disk takes nothing, acknowledgements wait, what would
// be stored is refused whole, and the rest goes on. When there is space again,
// so does everything, within a second of a clock that stands while anybody works.
func TestDiskFull(t *testing.T) { synctest.Test(t, diskFull) }

func diskFull(t *testing.T) {
	f := newFixture(t)
	sub, first, other := f.connect("sub"), f.connect("first"), f.connect("other")
	sub.subscribe(1, "q/#", 1)
	sub.expect(codec.TypeSuback)
	f.store.setFail(fmt.Errorf("written to a full disk: %w", session.ErrNoSpace))
	first.publish(1, 1, "q/held", "accepted")
	for f.m.CommitFailures.Get() < 8 { // more than another failure is forgiven; polls, the test's timeout is the deadline
		time.Sleep(time.Millisecond)
	}
	first.quiet()
	sub.expect(codec.TypePublish) // QoS 1 does not wait

	if r := other.publishReason(1, "q/refused", "not stored"); r != codec.QuotaExceeded {
		t.Errorf("PUBACK %v", r)
	}
	other.publish(2, 2, "q/refused", "not stored")
	var rec codec.Ack
	if err := rec.Decode(other.expect(codec.TypePubrec), codec.Version5); err != nil || rec.Reason != codec.QuotaExceeded {
		t.Errorf("PUBREC %v, %v", rec.Reason, err)
	}
	other.subscribe(3, "new", 1)
	var suback codec.Suback
	if err := suback.Decode(other.expect(codec.TypeSuback), codec.Version5); err != nil || suback.Reasons[0] != byte(codec.QuotaExceeded) {
		t.Errorf("SUBACK %v, %v", suback.Reasons, err)
	}
	late := f.dial()
	late.sendConnect("late")
	var connack codec.Connack
	if err := connack.Decode(late.expect(codec.TypeConnack), codec.Version5); err != nil || connack.Reason != codec.QuotaExceeded {
		t.Errorf("CONNACK %v, %v", connack.Reason, err)
	}
	sub.quiet() // no refused message has come
	other.publish(0, 0, "q/live", "QoS 0")
	sub.expect(codec.TypePublish)
	if r := other.publishReason(4, "nobody", "nothing to store"); r != codec.Success {
		t.Errorf("a message without a queue to enter: %v", r)
	}
	select {
	case err := <-f.b.Failed():
		t.Fatal(err)
	default:
	}
	for packet, want := range map[string]uint64{"PUBLISH": 2, "SUBSCRIBE": 1, "CONNECT": 1} {
		if n := f.m.StoreRefused(packet).Get(); n != want {
			t.Errorf("%d %s counted as refused, want %d", n, packet, want)
		}
	}

	f.store.setFail(nil)
	began := time.Now()
	first.expect(codec.TypePuback)
	if r := other.publishReason(5, "q/again", "stored"); r != codec.Success {
		t.Errorf("with space again: %v", r)
	}
	if d := time.Since(began); d > time.Second {
		t.Errorf("%v after there was space", d)
	}
	sub.expect(codec.TypePublish)
}

// TestMaxSizeDrained: what a store at its limit holds goes, and within a second
// there is room for new work.
func TestMaxSizeDrained(t *testing.T) { synctest.Test(t, maxSizeDrained) }

func maxSizeDrained(t *testing.T) {
	o := store.DefaultOptions()
	o.MaxSize = 1 << 20
	f := newFixtureOn(t, o, t.TempDir())
	sub, pub := f.connect("sub"), f.connect("pub")
	sub.subscribe(1, "q", 1)
	sub.expect(codec.TypeSuback)
	_ = sub.Close()
	payload := strings.Repeat("x", 4000)
	stored := 0
	for pub.publishReason(1, "q", payload) == codec.Success {
		if stored++; stored > 1000 {
			t.Fatal("the store has no limit")
		}
	}
	sub = f.connect("sub")
	for range stored {
		var p codec.Publish
		if err := p.Decode(sub.expect(codec.TypePublish), codec.Version5); err != nil {
			t.Fatal(err)
		}
		sub.ack(codec.TypePuback, p.PacketID)
	}
	sub.quiet()
	began := time.Now()
	for id := uint16(1); pub.publishReason(id, "q", payload) != codec.Success; id++ {
		if d := time.Since(began); d > time.Second {
			t.Fatalf("no room %v after it was drained of %d messages", d, stored)
		}
		time.Sleep(time.Millisecond)
	}
	t.Logf("room for %d messages, and again after %v", stored, time.Since(began))
	sub.expect(codec.TypePublish)
}

// A broker on a full disk can be stopped, and says that not all was stored.
func TestShutdownOnAFullDisk(t *testing.T) { synctest.Test(t, shutdownOnAFullDisk) }

func shutdownOnAFullDisk(t *testing.T) {
	db, err := store.Open(store.Options{DataDir: t.TempDir(), Synchronous: "OFF", JournalMode: "WAL", TempStore: "MEMORY"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }() // another test's business
	f := &fixture{t: t, store: &gatedStore{DB: db}, m: metrics.NewBroker()}
	o := broker.DefaultOptions()
	o.Bind, o.WSBind, o.Metrics = "", "", f.m
	if f.b, err = broker.New(o, f.store); err != nil {
		t.Fatal(err)
	}
	if err := f.b.Start(); err != nil {
		t.Fatal(err)
	}
	sub, pub := f.connect("sub"), f.connect("pub")
	sub.subscribe(1, "q/#", 1)
	sub.expect(codec.TypeSuback)
	f.store.setFail(session.ErrNoSpace)
	pub.publish(1, 1, "q/held", "never acknowledged")
	for f.m.CommitFailures.Get() == 0 {
		time.Sleep(time.Millisecond) // polls; the test's own timeout is the deadline
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	began := time.Now()
	if err := f.b.Shutdown(ctx); err == nil {
		t.Error("Shutdown gave no error")
	}
	if d := time.Since(began); d > 9*time.Second {
		t.Errorf("it took %v", d)
	}
}
