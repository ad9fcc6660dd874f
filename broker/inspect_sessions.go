package broker

import (
	"context"
	"time"

	"github.com/x0a1b/promptmq/broker/commit"
	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/codec"
)

// EndSession ends the Session of a Client, with all that waits for it, and the connection if
// there is one. A Will is published [MQTT-3.1.2-8], and messages of Shared Subscriptions go to
// other members, as whenever a Session ends. It returns when the Session is gone from disk. It fails
// with inspect.ErrNotFound if there is none, with ctx's error or commit.ErrShuttingDown: then
// the Session may or may not be there.
func (b *Broker) EndSession(ctx context.Context, id string) error {
	if !b.registry.has(id) {
		return inspect.ErrNotFound
	}
	cl, turn, err := b.queueForTurn(id, nil) // no CONNECT gets the Session meanwhile
	if err != nil {
		return &inspect.Refused{Reason: codec.ServerBusy.String(), Why: "too many connections wait for this Client Identifier"}
	}
	if turn != nil {
		select {
		case <-turn:
		case <-ctx.Done():
			b.giveUpTurn(cl, turn)
			return ctx.Err()
		case <-b.commits.Ending():
			b.giveUpTurn(cl, turn)
			return commit.ErrShuttingDown
		}
	}
	defer b.endTurn(cl)
	return b.endSession(ctx, cl)
}

// endSession ends the Session of a Client when its connection, if there is one, has ended. The
// caller has a turn: see takeTurn.
func (b *Broker) endSession(ctx context.Context, cl *Client) error {
	found := false
	for late := false; ; {
		ended, old, group, err := b.tryEndSession(cl, late, found)
		if ended == nil {
			if err != nil {
				return err
			}
			return b.commits.WaitContext(ctx, group)
		}
		found = true
		if old != nil {
			cl.endConnection("the session was ended")
		}
		if late, err = b.awaitEnd(ctx, ended, old); err != nil {
			return err
		}
	}
}

// tryEndSession ends the Session if nothing is in the way, and returns the commit group to
// wait for; 0: none. Else ended and old are as of conn.tryTake. found says that there was a
// Session before: it may have ended with its connection.
func (b *Broker) tryEndSession(cl *Client, late, found bool) (ended chan struct{}, old *conn, group uint64, err error) {
	var pend pending
	defer pend.flush(b.m)
	b.commits.Enter()
	defer b.leave(&pend)
	now := b.clock.Now()
	var left, over detachment
	func() {
		cl.mu.Lock()
		defer cl.mu.Unlock()
		old = cl.conn
		if cl.changing >= oneEnding || old != nil && !late {
			ended = cl.changeoverLocked().allEndedLocked()
			return
		}
		if cl.sess == nil {
			if !found {
				err = inspect.ErrNotFound
			} else if s := cl.currentChangeoverLocked(); s != nil {
				group = s.group
			}
			return
		}
		if old != nil {
			left = cl.detachLocked(false, now, &pend)
		}
		if cl.sess != nil {
			over = cl.endLocked(now, &pend)
		}
		group = max(left.awaited(), over.awaited())
	}()
	if err != nil || ended != nil {
		return ended, old, 0, err
	}
	if old != nil {
		old.out.Close(nil)
	}
	b.finishDetach(cl, left, now, &pend)
	b.finishDetach(cl, over, now, &pend)
	return nil, nil, group, nil
}

// purgeStep is how many Sessions are ended for one commit: who waits for it must not wait for
// all of them.
const purgeStep = 32

// PurgeSessions ends the Sessions that have had no connection for olderThan, as EndSession
// does, a few in each commit, and returns how many there were; with dryRun it only counts. Of
// a Session whose last connection ended before the broker started and that never expires it is not
// known when that was: it counts from the start. It fails with ctx's error or
// commit.ErrShuttingDown: then n have ended, of which the last may not be gone from disk.
func (b *Broker) PurgeSessions(ctx context.Context, olderThan time.Duration, dryRun bool) (n int, err error) {
	now, group := b.clock.Now(), uint64(0)
	for i, cl := range b.registry.all() {
		if i%lookEvery == 0 && ctx.Err() != nil {
			return n, ctx.Err()
		}
		if !cl.isIdle(now, olderThan) {
			continue
		}
		if !dryRun {
			g, ended := b.endIdle(cl, now, olderThan)
			if !ended {
				continue
			}
			group = max(group, g)
		}
		if n++; !dryRun && n%purgeStep == 0 {
			if err := b.commits.WaitContext(ctx, group); err != nil {
				return n, err
			}
		}
	}
	return n, b.commits.WaitContext(ctx, group)
}

// isIdle reports whether the Client has a Session that has had no connection for so long.
func (cl *Client) isIdle(now time.Time, olderThan time.Duration) bool {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	return cl.isIdleLocked(now, olderThan)
}

func (cl *Client) isIdleLocked(now time.Time, olderThan time.Duration) bool {
	return cl.sess != nil && cl.conn == nil && cl.idleLocked(now) >= olderThan
}

// endIdle ends the Session if it is still idle. It returns the commit group to wait for; 0:
// none.
func (b *Broker) endIdle(cl *Client, now time.Time, olderThan time.Duration) (group uint64, ended bool) {
	var pend pending
	defer pend.flush(b.m)
	b.commits.Enter()
	defer b.leave(&pend)
	b.detaching(cl, now, &pend, func() detachment {
		if !cl.isIdleLocked(now, olderThan) {
			return detachment{}
		}
		after := cl.endLocked(now, &pend)
		cl.noteEndLocked(&after)
		group, ended = after.awaited(), true
		return after
	})
	return group, ended
}
