package commit

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/x0a1b/promptmq/broker/lock"
	"github.com/x0a1b/promptmq/session"
)

// A state of a group: see the table in doc.go.
type state uint8

const (
	stateOpen state = iota
	stateAwaiting
	stateShut
	stateWriting
	stateCommitted
)

// mayFollow are the transitions, by the state that they lead from.
var mayFollow = [...][]state{
	stateOpen:      {stateAwaiting, stateShut},
	stateAwaiting:  {stateShut},
	stateShut:      {stateWriting, stateCommitted},
	stateWriting:   {stateCommitted},
	stateCommitted: nil,
}

func (s state) String() string {
	return [...]string{"open", "awaiting", "shut", "writing", "committed"}[s]
}

// A group is what one transaction will write, and who waits for it.
type group struct {
	// Static after newGroup.
	number uint64
	sealed chan struct{} // closed when the group is no longer open
	enough chan struct{} // has room for the one signal of awaitNoMore

	// state is changed by the Committer's goroutine alone: until the group is shut with
	// the gate held exclusively, so that who is in the gate may read it.
	state state

	entries  atomic.Int64 // queue entries, without those whose memory was freed
	awaited  atomic.Int64 // entries that were sent, and may be acknowledged before they are written
	must     atomic.Bool  // there is something that no acknowledgement makes needless
	timed    atomic.Bool  // a timer will have it committed
	reserved atomic.Int64 // bytes: see space

	mu      lock.Mutex[lock.Leaf] // guards the following; batch only while the group is open
	batch   *session.Batch
	waiters []Waiter
	done    chan struct{} // closed after the commit; made by the first that asks
}

func newGroup(number uint64) *group {
	return &group{
		number: number, batch: session.NewBatch(),
		sealed: make(chan struct{}), enough: make(chan struct{}, 1),
	}
}

// become is the only way from one state to another.
func (g *group) become(next state) {
	for _, s := range mayFollow[g.state] {
		if s == next {
			g.state = next
			return
		}
	}
	panic(fmt.Sprintf("commit: group %d cannot become %v, it is %v", g.number, next, g.state))
}

// gather panics unless the group may still be added to.
func (g *group) gather() {
	if g.state != stateOpen {
		panic(fmt.Sprintf("commit: group %d takes nothing more, it is %v", g.number, g.state))
	}
}

// put puts the writes of one Session into the group.
func (g *group) put(id session.ID, w *session.Writes) {
	g.gather()
	g.mu.Lock()
	g.batch.Sessions[id] = w
	g.mu.Unlock()
}

// remove takes the writes of one Session out of the group.
func (g *group) remove(id session.ID) {
	g.gather()
	g.mu.Lock()
	delete(g.batch.Sessions, id)
	g.mu.Unlock()
}

// setRetained puts the change of a retained message into the group.
func (g *group) setRetained(topic string, w session.RetainedWrite) {
	g.gather()
	g.mu.Lock()
	g.batch.Retained[topic] = w
	g.mu.Unlock()
	g.mustCommit()
}

// mustCommit says that the group has something that no acknowledgement makes needless.
func (g *group) mustCommit() {
	g.gather()
	if !g.must.Load() { // else each caller would take the cache line from the others
		g.must.Store(true)
	}
}

// add appends entries to w, a Session's writes in the group. awaited says that all were
// sent, and may be acknowledged before they are written.
func (g *group) add(w *session.Writes, entries []session.Entry, awaited bool) {
	g.gather()
	if w.Entries == nil {
		w.Entries = groupEntries.get()
	}
	w.Entries = append(w.Entries, entries...)
	n := int64(len(entries))
	g.entries.Add(n)
	if awaited {
		g.awaited.Add(n)
	} else {
		g.mustCommit()
	}
}

// strike takes an entry out of w, a Session's writes in the group, or nil. It reports
// whether it was there and could be struck out, and returns its Receipt if that became
// complete.
func (g *group) strike(w *session.Writes, seq uint64, acknowledged bool) (struck bool, complete *Receipt) {
	if g.state != stateOpen && (g.state != stateAwaiting || !acknowledged) {
		return false, nil
	}
	had := w.EntriesLen()
	receipt, struck := w.Strike(seq)
	if !struck {
		return false, nil
	}
	if n := w.EntriesLen(); n != had {
		g.entries.Add(int64(n - had))
	}
	if g.awaited.Add(-1) == 0 && g.state == stateAwaiting { // to an open one more may be added
		g.awaitNoMore()
	}
	if r, ok := receipt.(*Receipt); ok && acknowledged && r.count() {
		complete = r
	}
	return true, complete
}

// seal closes the group to additions. It returns how long to wait for acknowledgements;
// 0: the group is shut.
// The caller holds the gate exclusively.
func (g *group) seal(a *ackWait) time.Duration {
	wait := time.Duration(0)
	if awaited := g.awaited.Load(); awaited > 0 && !g.must.Load() {
		wait = a.wait(awaited)
	}
	if wait > 0 {
		g.become(stateAwaiting)
	} else {
		g.become(stateShut)
	}
	close(g.sealed)
	return wait
}

// awaitNoMore ends the wait for acknowledgements, if there is one or, of a group that is
// being sealed, will be.
func (g *group) awaitNoMore() {
	select {
	case g.enough <- struct{}{}:
	default:
	}
}

// elide takes out what need not be written any more, and returns how many entries are
// left and how many were elided. The group is shut.
func (g *group) elide() (entries, elided int) {
	for id, w := range g.batch.Sessions {
		n := 0
		for i := range w.Entries {
			if w.Entries[i].Message != nil {
				n++
			}
		}
		entries += n
		elided += len(w.Entries) - n + w.Elided
		if n == 0 && !w.BesideEntries() {
			delete(g.batch.Sessions, id)
			recycle(w)
		}
	}
	return entries, elided
}

// isEmpty reports whether there is nothing to write.
func (g *group) isEmpty() bool { return len(g.batch.Sessions) == 0 && len(g.batch.Retained) == 0 }

// finish makes the group committed, lets Wait return, and returns who is to be told.
func (g *group) finish() []Waiter {
	g.become(stateCommitted)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.done != nil {
		close(g.done)
	}
	waiters := g.waiters
	g.waiters = nil
	return waiters
}
