package commit

import (
	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/session"
)

// A Part is what the open group, and the one sealed before it, write for one Session. Its
// zero value is ready. Its user is in the gate and holds the lock of the Session.
type Part struct {
	last, before groupWrites
	floor        uint64 // the Floor that was written last; 0: not known
}

// A groupWrites is what one group writes for a Session.
type groupWrites struct {
	group  uint64
	writes *session.Writes
}

// Group is the number of the last group that has something of the Session; 0: none has.
func (p *Part) Group() uint64 { return p.last.group }

// of returns the Session's writes in g; nil: there are none.
func (p *Part) of(g *group) *session.Writes {
	switch g.number {
	case p.last.group:
		return p.last.writes
	case p.before.group:
		return p.before.writes
	}
	return nil
}

// Merge is the way of a Session's Effects to disk: it puts what fx writes for s, whose
// state is the one after fx, into the open group. Of a Session that is not Durable nothing
// is written but a Will that is kept. An entry that is removed while its group can still be
// changed is struck out and costs nothing; if that completes a Receipt, its Waiter is
// appended to completed, and the caller has it flushed when it holds no lock. Of fx nothing
// is kept but the Messages of its Entries. The caller is in the gate and holds the lock of
// the Session.
func (c *Committer) Merge(p *Part, s *session.Session, fx *session.Effects, completed []Waiter) []Waiter {
	if fx.Rows != nil {
		c.mergeRows(p, s, fx.Rows)
	}
	if !s.Durable() {
		return completed
	}
	if len(fx.Entries) > 0 {
		c.open.Load().add(c.writes(p, s), fx.Entries, fx.Awaited)
	}
	if len(fx.Discarded) > 0 {
		w := c.writes(p, s)
		w.Discarded = append(w.Discarded, fx.Discarded...)
	}
	if len(fx.DiscardedRanges) > 0 { // with the State, which says that they are done
		w := c.writes(p, s)
		w.DiscardedRanges = append(w.DiscardedRanges, fx.DiscardedRanges...)
	}
	stored := false // some of what was removed
	for _, seq := range fx.Removed {
		struck, complete := c.strike(p, seq, fx.Acknowledged)
		stored = stored || !struck
		if complete != nil {
			completed = append(completed, complete.waiter)
		}
	}
	if fx.State {
		c.open.Load().mustCommit()
	}
	if fx.State || stored || fx.DroppedNewest+fx.DroppedOldest > 0 { // the State has the number of them
		c.putState(p, s)
		if !fx.State && len(fx.Entries) == 0 {
			c.Later() // nobody waits for a removal
		}
	}
	return completed
}

// strike takes an entry out of its group if that is still possible, and reports whether it
// was. It returns the Receipt that became complete by that.
func (c *Committer) strike(p *Part, seq uint64, acknowledged bool) (struck bool, complete *Receipt) {
	g := c.open.Load()
	if struck, complete = g.strike(p.of(g), seq, acknowledged); struck || c.awaiting == nil {
		return struck, complete
	}
	return c.awaiting.strike(p.of(c.awaiting), seq, acknowledged)
}

// mergeRows is Merge for what changes beside the queue and the State.
func (c *Committer) mergeRows(p *Part, s *session.Session, r *session.Rows) {
	g := c.open.Load()
	if r.Ended && !s.Durable() && p.last.group == g.number { // all that it wrote is in this group
		g.remove(s.ID)
		*p = Part{}
		return
	}
	for i := range r.Owed {
		if r.Owed[i].First {
			c.Reserve(int64(RowCost + len(r.Owed[i].Filter)))
		}
	}
	c.writes(p, s).Merge(r)
	if r.Urgency > session.Lazily {
		g.mustCommit()
	}
	if r.Urgency < session.MustCommit {
		c.Later()
	}
}

// writes returns the open group's writes for s.
func (c *Committer) writes(p *Part, s *session.Session) *session.Writes {
	g := c.open.Load()
	if p.last.group != g.number || p.last.writes == nil {
		p.before, p.last = p.last, groupWrites{g.number, new(session.Writes)}
		g.put(s.ID, p.last.writes)
	}
	return p.last.writes
}

// putState writes the State of s, and the Floor of its queue.
func (c *Committer) putState(p *Part, s *session.Session) {
	w := c.writes(p, s)
	w.State, w.Floor = s.AppendState(w.State[:0]), s.Floor()
	if w.FloorBefore == 0 {
		w.FloorBefore = p.floor
	}
	p.floor = w.Floor
	if control.Broken(control.IdentifierNotDurable) {
		var st session.State
		_ = st.Decode(w.State) // just encoded
		st.Received = nil
		w.State = st.Append(w.State[:0])
	}
}
