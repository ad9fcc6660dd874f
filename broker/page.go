package broker

import (
	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/session"
)

// pageFrom returns what to read, and the group to wait for before; current says
// that sess and c are still the Client's.
func (cl *Client) pageFrom(sess *session.Session, c *conn) (from, upTo uint64, messages, bytes int, group uint64, current bool) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	from, upTo = sess.PageFrom()
	messages, bytes = sess.PageSize()
	return from, upTo, messages, bytes, cl.lastGroup, cl.sess == sess && cl.conn == c
}

// page reads the next stored entries and hands them to the Session, which wants
// them for the Client, or without a connection (c is nil) to make room. It runs
// in its own goroutine and holds no lock while it reads.
func (cl *Client) page(sess *session.Session, c *conn, group uint64) {
	defer cl.b.recoverPanic("paging a queue", func() {
		if c != nil { // nothing would page for it any more
			c.mark(failed)
			c.out.Abort()
		}
	})
	if cl.b.commits.Wait(group) != nil {
		return
	}
	from, upTo, messages, bytes, group, current := cl.pageFrom(sess, c)
	if !current || cl.b.commits.Wait(group) != nil {
		return
	}
	entries, err := cl.b.store.Page(sess.ID, from, messages, bytes)
	if err != nil {
		cl.b.noteUnread("reading a queue failed", cl.id, err)
		if c != nil {
			c.mark(failed)
			c.out.Abort() // the Session is kept; the Client may come back
		}
		return
	}
	var pend pending
	defer pend.flush(cl.b.m)
	cl.b.commits.Enter()
	defer cl.b.leave(&pend)
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.sess == sess && cl.conn == c {
		now := cl.b.clock.Now()
		pend.fx.Reset()
		sess.Paged(entries, upTo, now, &pend.fx)
		control.Panic(control.PanicInPage)
		cl.applyLocked(now, &pend)
		cl.startFeedLocked() // no acknowledgement follows if all of them were dropped
	}
}
