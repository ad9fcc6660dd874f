package commit

import (
	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/session"
)

// A Part is what the open group, and the one that was sealed before it, write for one
// Session. Its zero value is ready. Who uses it holds the Committer's gate and the lock
// of the Session.
type Part struct {
	// The open group's writes for the Session: valid while group is the open one.
	// sealed are those of the group before: see Committer.strikable.
	writes, sealed     *session.Writes
	group, sealedGroup uint64
	floor              uint64 // the last that was written; 0: not known
}

// Group is the number of the last group that has something of the Session; 0: none has.
func (p *Part) Group() uint64 { return p.group }

// Merge puts what fx writes for s into the open group. What was added in this group and
// is done already is struck out and costs nothing. It appends to completed whose Receipt
// became complete thereby; the caller lets them know when it holds no lock. Of a Session
// that is not durable nothing is written but a Will that is kept.
func (c *Committer) Merge(p *Part, s *session.Session, fx *session.Effects, completed []Waiter) []Waiter {
	if fx.Rows != nil {
		c.mergeRows(p, s, fx.Rows)
	}
	if !s.Durable() {
		return completed
	}
	if len(fx.Entries) > 0 {
		w := c.writes(p, s)
		if w.Entries == nil {
			w.Entries = groupEntries.get()
		}
		w.Entries = append(w.Entries, fx.Entries...)
		c.held.Add(int64(len(fx.Entries)))
		if fx.Awaited {
			c.open.awaited.Add(int64(len(fx.Entries)))
		} else {
			c.open.firm.Store(true)
		}
	}
	if len(fx.Discarded) > 0 {
		w := c.writes(p, s)
		w.Discarded = append(w.Discarded, fx.Discarded...)
	}
	real := fx.State || fx.DroppedNewest+fx.DroppedOldest > 0 // the State has the number of them
	for _, seq := range fx.Removed {
		found, complete := c.strike(p, seq, fx.Acknowledged)
		if complete != nil {
			completed = append(completed, complete.waiter)
		}
		if !found {
			real = true
		}
	}
	if !real {
		return completed
	}
	w := c.writes(p, s)
	if fx.State {
		c.open.firm.Store(true)
	}
	p.putState(w, s)
	if control.Broken(control.IdentifierNotDurable) {
		var st session.State
		_ = st.Decode(w.State) // just encoded
		st.Received = nil
		w.State = st.Append(w.State[:0])
	}
	if !fx.State && len(fx.Entries) == 0 {
		c.Later() // nobody waits for a removal
	}
	return completed
}

// mergeRows is Merge for what changes beside the queue and the State.
func (c *Committer) mergeRows(p *Part, s *session.Session, r *session.Rows) {
	if r.Ended && !s.Durable() && p.group == c.open.number { // all that it wrote is in this group
		c.open.remove(s.ID)
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
		c.open.firm.Store(true)
	}
	if r.Urgency < session.MustCommit {
		c.Later()
	}
}

// writes returns the open group's writes for s.
func (c *Committer) writes(p *Part, s *session.Session) *session.Writes {
	g := c.open
	if p.group != g.number || p.writes == nil {
		p.sealed, p.sealedGroup = p.writes, p.group
		p.writes, p.group = new(session.Writes), g.number
		g.put(s.ID, p.writes)
	}
	return p.writes
}

// putState puts the State of s into w, its writes, and from where on its queue is not
// done.
func (p *Part) putState(w *session.Writes, s *session.Session) {
	w.State, w.Floor = s.AppendState(w.State[:0]), s.Floor()
	if w.FloorBefore == 0 {
		w.FloorBefore = p.floor
	}
	p.floor = w.Floor
}

// strike removes an entry that is not written yet, and reports whether there was one,
// and the Receipt that became complete by that. What was acknowledged may also be struck
// out of the sealed group, if that still waits. What moves to another Session may not:
// the two groups are two transactions.
func (c *Committer) strike(p *Part, seq uint64, acknowledged bool) (found bool, complete *Receipt) {
	if p.group == c.open.number {
		had := p.writes.EntriesLen()
		if r, ok := p.writes.Strike(seq); ok {
			if n := p.writes.EntriesLen(); n != had {
				c.held.Add(int64(n - had))
			}
			return true, c.open.noteStruck(r, acknowledged)
		}
	}
	g := c.strikable
	if g == nil || !acknowledged {
		return false, nil
	}
	w := p.writes
	if p.sealedGroup == g.number {
		w = p.sealed
	} else if p.group != g.number {
		return false, nil
	}
	r, ok := w.Strike(seq)
	if !ok {
		return false, nil
	}
	return true, g.noteStruck(r, acknowledged)
}
