package broker

import (
	"context"
	"time"

	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/session"
)

// Queue returns a part of the queue of a Client's Session, in its order, without payloads.
// Total is how many messages there are, as far as known. It reads what is not in memory from disk, with no lock held: what
// is sent or dropped meanwhile may be left out. It fails with inspect.ErrNotFound if there is no
// Session with this Client Identifier, with inspect.ErrBadCursor, with ctx's error or
// with that of the store.
func (b *Broker) Queue(ctx context.Context, id string, w inspect.Window) (page inspect.Page[inspect.Queued], err error) {
	found, err := newSelection[inspect.Queued](w, "queue", false)
	if err != nil {
		return page, err
	}
	cl := b.registry.find(id)
	if cl == nil {
		return page, inspect.ErrNotFound
	}
	from := uint64(max(0, found.after.number))
	s, diskFrom, group := cl.offerWaiting(from, found)
	if s == nil {
		return page, inspect.ErrNotFound
	}
	page.Total = found.total
	if diskFrom > 0 && len(found.rows) <= found.limit {
		if err := b.commits.WaitContext(ctx, group); err != nil {
			return page, err
		}
		if err := cl.offerStored(ctx, s, max(diskFrom, from), found); err != nil {
			return page, err
		}
	}
	rows, next := found.take()
	page.Items, page.Next = make([]inspect.Queued, 0, len(rows)), next
	for _, r := range rows {
		page.Items = append(page.Items, r.item)
	}
	return page, nil
}

// offerWaiting offers what is in memory of the queue from a Seq on, and sets to.total to how
// much there is in all. s is nil if there is no Session. If there is more on disk, it
// begins at diskFrom, and group is the commit group to wait for before it is read.
func (cl *Client) offerWaiting(from uint64, to *selection[inspect.Queued]) (s *session.Session, diskFrom, group uint64) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if s = cl.sess; s == nil {
		return nil, 0, 0
	}
	for _, e := range s.Waiting(from, to.limit+2) { // one more than a part has, and the one that was last before
		to.offer(rank{number: int64(e.Seq)}, shownQueued(&e.Entry, e.Stage))
	}
	to.total = s.QueueLen()
	if s.Spilled() {
		diskFrom, _ = s.PageFrom()
	}
	return s, diskFrom, cl.lastGroup
}

// offerStored offers what is on disk of the queue of s from a Seq on, as much as is wanted.
func (cl *Client) offerStored(ctx context.Context, s *session.Session, from uint64, to *selection[inspect.Queued]) error {
	for wanted := to.limit + 2; wanted > 0 && ctx.Err() == nil; {
		entries, err := cl.b.store.Page(s.ID, from, wanted, windowBytes)
		if err != nil || len(entries) == 0 {
			return err
		}
		from = entries[len(entries)-1].Seq + 1
		wanted -= cl.offerEntries(s, entries, to)
	}
	return ctx.Err()
}

// offerEntries offers those of the entries that are still in the queue of s, and returns how
// many these are.
func (cl *Client) offerEntries(s *session.Session, entries []session.Entry, to *selection[inspect.Queued]) (n int) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	total := to.total
	for i := range entries {
		if stage := s.StageOf(entries[i].Seq); stage != session.Gone && stage != session.Received { // that was in memory
			to.offer(rank{number: int64(entries[i].Seq)}, shownQueued(&entries[i], stage))
			n++
		}
	}
	to.total = total
	return n
}

// shownQueued is an entry of a queue as the list has it.
func shownQueued(e *session.Entry, stage session.Stage) inspect.Queued {
	q := inspect.Queued{Position: e.Seq, QoS: int(e.QoS), State: "waiting", QueuedAt: utc(e.QueuedAt)}
	switch stage {
	case session.Sent:
		q.State = "sent"
	case session.Received:
		q.State = "received"
	}
	if m := e.Message; m != nil {
		q.Topic, q.Bytes, q.Expires = m.Topic, len(m.Payload), utc(m.ExpiresAt)
	}
	return q
}

// utc leaves a zero time what it is.
func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}
