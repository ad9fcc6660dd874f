package commit

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/session"
)

var states = []state{stateOpen, stateAwaiting, stateShut, stateWriting, stateCommitted}

// groupIn returns a group in that state, with the entry 1 in w, which is sent.
func groupIn(s state, w *session.Writes) *group {
	g := newGroup(1)
	g.put(7, w)
	g.add(w, []session.Entry{{Seq: 1, Message: new(session.Message)}}, true)
	way := map[state][]state{
		stateOpen: nil, stateAwaiting: {stateAwaiting}, stateShut: {stateShut},
		stateWriting: {stateShut, stateWriting}, stateCommitted: {stateShut, stateWriting, stateCommitted},
	}
	for _, next := range way[s] {
		g.become(next)
	}
	return g
}

// panics reports whether f does.
func panics(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return false
}

// TestTransitions: each way from one state to another, and no other.
func TestTransitions(t *testing.T) {
	allowed := []string{
		"open awaiting", "open shut", "awaiting shut", "shut writing", "shut committed", "writing committed",
	}
	for _, from := range states {
		for _, to := range states {
			g := groupIn(from, new(session.Writes))
			way := fmt.Sprint(from, " ", to)
			want := slices.Contains(allowed, way)
			if did := !panics(func() { g.become(to) }); did != want {
				t.Errorf("%s: %v", way, did)
			}
			if now := g.state; (now == to) != (want || from == to) {
				t.Errorf("%s: it is %v", way, now)
			}
		}
	}
}

// TestAdditions: only an open group is added to, in whatever way.
func TestAdditions(t *testing.T) {
	for name, add := range map[string]func(*group, *session.Writes){
		"writes":           func(g *group, w *session.Writes) { g.put(8, w) },
		"removal":          func(g *group, _ *session.Writes) { g.remove(7) },
		"retained message": func(g *group, _ *session.Writes) { g.setRetained("t", session.RetainedWrite{}) },
		"entry":            func(g *group, w *session.Writes) { g.add(w, []session.Entry{{Seq: 2}}, true) },
		"entry, unsent":    func(g *group, w *session.Writes) { g.add(w, []session.Entry{{Seq: 2}}, false) },
		"what must":        func(g *group, _ *session.Writes) { g.mustCommit() },
	} {
		for _, s := range states {
			w := new(session.Writes)
			g := groupIn(s, w)
			if added := !panics(func() { add(g, w) }); added != (s == stateOpen) {
				t.Errorf("%s, %v: added %v", name, s, added)
			}
		}
	}
}

// TestStrikes: what may be struck out of a group in each state.
func TestStrikes(t *testing.T) {
	for _, acknowledged := range []bool{true, false} {
		for _, s := range states {
			w := new(session.Writes)
			g := groupIn(s, w)
			want := s == stateOpen || s == stateAwaiting && acknowledged
			struck, _ := g.strike(w, 1, acknowledged)
			if struck != want {
				t.Errorf("%v, acknowledged %v: struck %v", s, acknowledged, struck)
			}
			if entries, elided := g.elide(); entries != 1-elided || (elided == 1) != want || g.isEmpty() != want {
				t.Errorf("%v, acknowledged %v: %d entries, %d elided, empty %v", s, acknowledged, entries, elided, g.isEmpty())
			}
			if again, _ := g.strike(w, 1, acknowledged); again {
				t.Errorf("%v: struck twice", s)
			}
		}
	}
	if struck, _ := newGroup(1).strike(nil, 1, true); struck {
		t.Error("struck out of nothing")
	}
}

// TestSeal: a group awaits acknowledgements only if they can make all of it needless,
// and if that is not vain.
func TestSeal(t *testing.T) {
	awaited := func(g *group, w *session.Writes) {
		g.add(w, []session.Entry{{Seq: 1, Message: new(session.Message)}}, true)
	}
	for _, test := range []struct {
		name string
		fill func(*group, *session.Writes)
		a    ackWait
		want state
	}{
		{"nothing", func(*group, *session.Writes) {}, ackWait{}, stateShut},
		{"a message that is sent", awaited, ackWait{}, stateAwaiting},
		{"one that is not", func(g *group, w *session.Writes) { g.add(w, []session.Entry{{Seq: 1}}, false) }, ackWait{}, stateShut},
		{"one of each", func(g *group, w *session.Writes) {
			awaited(g, w)
			g.add(w, []session.Entry{{Seq: 2}}, false)
		}, ackWait{}, stateShut},
		{"a retained message too", func(g *group, w *session.Writes) {
			awaited(g, w)
			g.setRetained("t", session.RetainedWrite{})
		}, ackWait{}, stateShut},
		{"one that is acknowledged", func(g *group, w *session.Writes) {
			awaited(g, w)
			g.strike(w, 1, true)
		}, ackWait{}, stateShut},
		{"after a vain wait", awaited, ackWait{skip: 1}, stateShut},
	} {
		g, w := newGroup(1), new(session.Writes)
		g.put(7, w)
		test.fill(g, w)
		wait := g.seal(&test.a)
		if g.state != test.want || (wait > 0) != (test.want == stateAwaiting) {
			t.Errorf("%s: %v, to wait %v", test.name, g.state, wait)
		}
		select {
		case <-g.sealed:
		default:
			t.Errorf("%s: who waits for the next group is not woken", test.name)
		}
	}
}

// TestEntries: the memory of entries is counted, and that of struck ones given back.
func TestEntries(t *testing.T) {
	const n = 4096
	g, w := newGroup(1), new(session.Writes)
	g.put(7, w)
	for seq := range uint64(n) {
		g.add(w, []session.Entry{{Seq: seq, Message: new(session.Message)}}, true)
	}
	if got := g.entries.Load(); got != n {
		t.Errorf("%d entries, added %d", got, n)
	}
	g.seal(new(ackWait))
	for seq := range uint64(n) {
		g.strike(w, seq, true)
	}
	if got := g.entries.Load(); got > n/2 || got != int64(len(w.Entries)) {
		t.Errorf("%d entries are counted and %d in memory when all are acknowledged", got, len(w.Entries))
	}
	select {
	case <-g.enough:
	default:
		t.Error("nobody knows that all are acknowledged")
	}
	if entries, elided := g.elide(); entries != 0 || elided != n {
		t.Errorf("%d to write, %d elided", entries, elided)
	}
}

// TestReceipt: it is complete when each copy is acknowledged and the message is routed,
// and never by a copy that goes to another Session.
func TestReceipt(t *testing.T) {
	g, w := newGroup(1), new(session.Writes)
	r := NewReceipt(nil)
	for seq := range uint64(3) {
		g.add(w, []session.Entry{{Seq: seq, Message: new(session.Message), Receipt: r}}, true)
		r.Add()
	}
	strike := func(seq uint64, acknowledged bool) *Receipt {
		_, complete := g.strike(w, seq, acknowledged)
		return complete
	}
	if strike(0, true) != nil || r.Complete() || r.Routed() || strike(1, true) != nil || r.Complete() {
		t.Error("complete without the last copy")
	}
	if strike(2, false) != nil || r.Complete() {
		t.Error("complete by a copy that went to another Session")
	}
	g.add(w, []session.Entry{{Seq: 3, Message: new(session.Message), Receipt: r}}, true)
	if strike(3, true) != r || !r.Complete() {
		t.Error("not complete")
	}
	if alone := NewReceipt(nil); alone.Complete() || !alone.Routed() || !alone.Complete() {
		t.Error("a message without copies")
	}
	if (*Receipt)(nil).Complete() {
		t.Error("no Receipt is complete")
	}
}

// TestAckWait: how long acknowledgements are awaited, and how seldom if in vain.
func TestAckWait(t *testing.T) {
	var a ackWait
	if got := a.wait(1); got != ackWaitMin {
		t.Errorf("%v before the first commit", got)
	}
	a.committed(4 * time.Millisecond)
	for entries, want := range map[int64]time.Duration{1: 8 * time.Millisecond, 64: 12 * time.Millisecond, 1000: 16 * time.Millisecond} {
		if got := a.wait(entries); got != want {
			t.Errorf("%v for %d entries, expected %v", got, entries, want)
		}
	}
	a.commit = time.Second
	if got := a.wait(1); got != ackWaitMax {
		t.Errorf("%v with a slow disk", got)
	}
	for _, skip := range []int{1, 3, 7, 15, 31, 63, 64, 64} {
		a.waited(10, 6)
		for range skip {
			if a.wait(10) != 0 {
				t.Fatalf("it is not skipped %d times", skip)
			}
		}
		if a.wait(10) == 0 {
			t.Fatalf("it is skipped more than %d times", skip)
		}
	}
	a.waited(10, 5)
	a.waited(10, 10)
	if a.wait(10); a.wait(10) == 0 {
		t.Error("what was vain is not forgotten after a wait that was not")
	}
}
