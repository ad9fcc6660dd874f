package commit

import (
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/metrics"
	"github.com/x0a1b/promptmq/session"
)

// roomy is a Store that nothing is written to.
type roomy struct{ Store }

func (roomy) Room() int64 { return math.MaxInt32 }

func newIdle() *Committer {
	log := slog.New(slog.DiscardHandler)
	return New(roomy{}, NewClock(time.Now, log), log, metrics.NewBroker())
}

var limits = session.Limits{WindowMessages: 8, WindowBytes: 1 << 20, QueueMessages: 5, QueueBytes: 1 << 20, Inflight: 5}

// TestRows: what an event writes joins the open group as its Urgency asks for.
func TestRows(t *testing.T) {
	c := newIdle()
	s := session.New(1, "c", "", true, &limits)
	var p Part
	var fx session.Effects
	merge := func(event func(fx *session.Effects)) {
		fx.Reset()
		event(&fx)
		c.Merge(&p, s, &fx, nil)
	}
	merge(func(fx *session.Effects) { s.Owe("a", session.Owed{UpTo: 3}, fx) })
	if g := c.open.Load(); g.must.Load() || !g.timed.Load() || g.reserved.Load() != RowCost+1 || p.Group() != 1 {
		t.Errorf("lazily: must %t, timed %t, %d bytes reserved, group %d", g.must.Load(), g.timed.Load(), g.reserved.Load(), p.Group())
	}
	c.seal()
	merge(func(fx *session.Effects) { s.Subscribe(&session.Subscription{Filter: "a"}, fx) })
	if g := c.open.Load(); !g.must.Load() || g.timed.Load() || p.Group() != 2 || len(g.batch.Sessions[1].Subscriptions) != 1 {
		t.Errorf("must commit: must %t, timed %t, group %d", g.must.Load(), g.timed.Load(), p.Group())
	}
	c.seal()
	merge(func(fx *session.Effects) { s.End(time.Now(), fx) })
	if g := c.open.Load(); !g.must.Load() || !g.timed.Load() || !g.batch.Sessions[1].Ended {
		t.Errorf("soon: must %t, timed %t", g.must.Load(), g.timed.Load())
	}
}

// TestKeptWillComesAndGoes: a Will that is kept and dropped within one group is never
// written; one of an earlier group is removed.
func TestKeptWillComesAndGoes(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		c := newIdle()
		s := session.New(1, "c", "", false, &limits)
		var p Part
		var fx session.Effects
		s.Open(session.Opening{Will: &session.Will{Message: new(session.Message)}, KeepWill: true}, time.Now(), &fx)
		c.Merge(&p, s, &fx, nil)
		if w := c.open.Load().batch.Sessions[1]; w == nil || w.Will == nil || w.Record == nil || c.open.Load().must.Load() {
			t.Fatalf("%+v", w)
		}
		want := uint64(0)
		if sealed {
			c.seal()
			want = 2
		}
		fx.Reset()
		s.End(time.Now(), &fx)
		c.Merge(&p, s, &fx, nil)
		if w := c.open.Load().batch.Sessions[1]; (w != nil) != sealed || p.Group() != want || w != nil && !w.Ended {
			t.Errorf("sealed %t: %+v, group %d", sealed, w, p.Group())
		}
	}
}
