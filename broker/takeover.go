package broker

import (
	"context"
	"log/slog"
	"time"

	"github.com/x0a1b/promptmq/broker/commit"
	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// takeSession makes c the connection of the Client: it takes the Session over from
// another connection, resumes it, or begins a new one. It returns the group that
// CONNACK must wait for; 0: nothing is stored. If it refuses, nothing has changed.
func (c *conn) takeSession(p *codec.Connect, id string, who *principal, ack *codec.Connack) (group uint64, err error) {
	cl, err := c.b.takeTurn(id, who)
	if err != nil {
		return 0, err
	}
	defer c.b.endTurn(cl)
	for late := false; ; {
		ended, old, group, err := c.tryTake(cl, p, who, ack, late)
		if err != nil || ended == nil {
			return group, err
		}
		if old != nil {
			old.supersede()
		}
		if late, err = c.b.awaitEnd(context.Background(), ended, old); err != nil {
			return 0, refuse(codec.ServerUnavailable, "the Server is shutting down")
		}
	}
}

// awaitEnd waits until what has a Session has ended: the connection old, which was told to
// end, or, if that is nil, what is ending already. If old is late, awaitEnd cuts it off and
// reports that. No lock may be held.
func (b *Broker) awaitEnd(ctx context.Context, ended chan struct{}, old *conn) (late bool, err error) {
	var bound <-chan time.Time
	if old != nil {
		timer := time.NewTimer(takeoverWait)
		defer timer.Stop()
		bound = timer.C
	}
	select {
	case <-ended:
		return false, nil
	case <-bound:
		old.cutOff()
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	case <-b.commits.Ending():
		return false, commit.ErrShuttingDown
	}
}

// cutOff makes sure that nothing that the connection sends has any effect from now on.
// Handlers that store something hold the gate, so none is in the middle of it.
func (c *conn) cutOff() {
	c.b.commits.Alone(func() { c.mark(takenOver) })
}

// tryTake takes the Session if nothing is in the way. Else ended is not nil: it is closed
// when to try again. Then old, if it is not nil, is the connection to be told to end.
// late: old was told and is cut off, so its Session is taken now.
func (c *conn) tryTake(cl *Client, p *codec.Connect, who *principal, ack *codec.Connack, late bool) (ended chan struct{}, old *conn, group uint64, err error) {
	c.b.commits.Enter()
	defer c.b.leave(&c.pending)
	var after, over detachment
	func() {
		cl.mu.Lock()
		defer cl.mu.Unlock()
		if cl.changing >= oneEnding {
			ended = cl.changeoverLocked().allEndedLocked()
			return
		}
		old = cl.conn
		if err = c.b.revocations.check(who); err != nil {
			return
		}
		if old != nil && !late && c.abandoned() {
			err = refuse(codec.UnspecifiedError, "the Client had ended this connection before its CONNECT was handled, and is connected by another")
			return
		}
		if s := cl.currentChangeoverLocked(); s == nil || !s.admitted {
			if err = c.admitLocked(cl, p, who); err != nil {
				return
			}
		}
		if old != nil {
			s := cl.changeoverLocked()
			s.admitted = true
			if !late {
				ended = s.allEndedLocked()
				return
			}
			s.from, s.cutShort = old.net().RemoteAddr(), true
			after = cl.detachLocked(false, c.now, &c.pending)
			cl.noteEndLocked(&after)
		}
		over, group = c.takeSessionLocked(cl, p, who, ack)
	}()
	if err != nil || ended != nil {
		return ended, old, 0, err
	}
	if old != nil {
		old.out.Close(old.lastWord())
	}
	c.b.finishDetach(cl, after, c.now, &c.pending)
	c.b.finishDetach(cl, over, c.now, &c.pending)
	return nil, nil, group, nil
}

// abandoned reports whether the Client has ended the connection after CONNECT, as one does that
// had to wait for too long and has connected anew since. What is handled late must not end the new one.
func (c *conn) abandoned() bool {
	return c.reader.Buffered() == 0 && link.PeerEnded(c.net())
}

// admitLocked finds out, before anything is changed, whether the CONNECT can be
// accepted, and counts its connection, unless that takes over the place of another.
// The caller holds Client.mu and the gate.
func (c *conn) admitLocked(cl *Client, p *codec.Connect, who *principal) error {
	if cl.foreignLocked(who) {
		return errForeign()
	}
	b, takeover := c.b, cl.conn != nil
	if cl.sess == nil && b.sessions.Load() >= int64(b.options().MaxSessions) {
		return refuse(codec.QuotaExceeded, "too many sessions", "limit", c.b.options().MaxSessions, "key", "mqtt.max-sessions")
	}
	if err := c.mayHaveSessionLocked(cl, p, who); err != nil {
		return err
	}
	if !takeover && b.connectedClients.Add(1) > int64(b.o.MaxConnections) {
		b.connectedClients.Add(-1)
		return refuse(codec.QuotaExceeded, "too many connections", "limit", c.b.o.MaxConnections, "key", "mqtt.max-connections")
	}
	raise(&b.connectedMost, b.connectedClients.Load())
	fresh := cl.sess == nil || p.CleanStart || (takeover && cl.sess.ExpirySeconds() == 0)
	if fresh && c.params.sessionExpirySeconds > 0 && !b.commits.Admit(sessionCost(p), codec.TypeConnect.String()) {
		if !takeover {
			b.connectedClients.Add(-1)
		}
		return refuse(codec.QuotaExceeded, "the store has no room for a session")
	}
	return nil
}

// takeSessionLocked makes c the connection of the Client. over is the detachment of a
// Session that had to go, group what CONNACK must wait for.
func (c *conn) takeSessionLocked(cl *Client, p *codec.Connect, who *principal, ack *codec.Connack) (over detachment, group uint64) {
	s := cl.currentChangeoverLocked()
	if s != nil && s.from != nil {
		control.Panic(control.PanicInTakeover)
		c.b.m.Takeovers.Inc()
		attrs := []any{trouble.TakenOver, "client", notice.Shown(cl.id), "from", s.from.String(), "by", c.net().RemoteAddr().String()}
		if s.cutShort {
			c.b.m.TakeoversCutShort.Inc()
			attrs = append(attrs, "cut_short", true)
		}
		c.pending.say(c.b.notices.Line(slog.LevelInfo, "takeover", cl.id, "session taken over", attrs...))
		c.noteFight(cl.id, s.from)
	}
	cl.takeKeptLocked(c.now, &c.pending) // the Client is back: void [MQTT-3.1.3-9]
	over = c.chooseSessionLocked(cl, p, who, ack)
	c.client, cl.conn = cl, c
	cl.enterWhoLocked(who)
	group = max(c.openSessionLocked(cl, p), over.awaited()) // what CONNACK promises is gone must be gone on disk
	if s != nil {
		s.admitted = false
		group = max(group, s.group)
	}
	return over, group
}

// chooseSessionLocked resumes the Session, or ends it and begins a new one. [MQTT-3.1.2-4]
// [MQTT-3.1.2-5] [MQTT-3.1.2-6] [MQTT-3.1.4-4]
func (c *conn) chooseSessionLocked(cl *Client, p *codec.Connect, who *principal, ack *codec.Connack) (over detachment) {
	if cl.sess != nil && (!p.CleanStart || control.Broken(control.CleanStartIgnored)) {
		ack.SessionPresent = !control.Broken(control.SessionPresentLost) // [MQTT-3.2.2-3]
		if cl.sess.UserName == "" {
			c.b.countNames(cl.sess, -1)
			cl.sess.UserName = who.user()
			c.b.countNames(cl.sess, 1)
		}
		return detachment{}
	}
	if cl.sess != nil {
		over = cl.endLocked(c.now, &c.pending)
	}
	cl.sess = session.New(c.b.nextSessionID(), cl.id, who.user(), c.params.sessionExpirySeconds > 0, &c.b.limits)
	c.b.sessions.Add(1)
	c.b.countNames(cl.sess, 1)
	return over
}

// openSessionLocked notes in the Session what CONNECT says, and returns the group that
// has it; 0: nothing is stored. [MQTT-3.1.2-7]
func (c *conn) openSessionLocked(cl *Client, p *codec.Connect) (group uint64) {
	s := cl.sess
	o := session.Opening{Version: c.version, ExpirySeconds: c.params.sessionExpirySeconds}
	if p.HasWill {
		o.Will = newWill(&p.Will)
		o.KeepWill = !s.Durable() && c.b.mayKeepWill(p)
	}
	cl.hints.setDurable(s.Durable())
	cl.hints.setFull(s.FullBy())
	c.pending.fx.Reset()
	c.b.changesWill(s, func() (ended bool) {
		s.Open(o, c.now, &c.pending.fx)
		return false
	})
	cl.applyLocked(c.now, &c.pending)
	if !s.Durable() {
		return 0
	}
	cl.scheduleLocked()
	return cl.lastGroup
}

func newWill(w *codec.Will) *session.Will {
	return &session.Will{
		Message: &session.Message{
			Topic: w.Topic.String(), Payload: w.Payload.Clone(), Forward: w.Forward.AppendTo(nil),
			QoS: w.QoS, Retain: w.Retain,
		},
		DelaySeconds:     control.Unless(control.WillDelayIgnored, w.DelaySeconds),
		HasMessageExpiry: w.HasMessageExpiry, MessageExpirySeconds: w.MessageExpirySeconds,
	}
}
