package broker

import (
	"log/slog"
	"time"

	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// publishWill publishes the Will Message of a Client, in the commit group that removes the
// Will, if its author may still publish it. The caller holds the gate and no other lock.
// [MQTT-3.1.2-8] [MQTT-3.1.2-14] [MQTT-3.1.2-15]
func (b *Broker) publishWill(w *session.Will, clientID string, by *author, now time.Time, pend *pending) {
	control.Panic(control.PanicInWill)
	if !b.mayPublishWill(w, clientID, by) {
		b.m.RefusedMessages(codec.NotAuthorized.String()).Inc()
		pend.say(b.notices.Line(slog.LevelInfo, "will denied", clientID, "a Will Message was not published: its Client may not publish it any more", trouble.WillDenied,
			"client", notice.Shown(clientID), "user", notice.Shown(by.user), "topic", notice.Shown(w.Message.Topic)))
		return
	}
	m := *w.Message
	p := codec.Publish{
		Topic: codec.View(m.Topic), Payload: m.Payload, QoS: m.QoS, Retain: m.Retain, Forward: codec.ForwardBytes(m.Forward),
		HasMessageExpiry: w.HasMessageExpiry, MessageExpirySeconds: w.MessageExpirySeconds,
	}
	if w.HasMessageExpiry {
		m.ExpiresAt = now.Add(time.Duration(w.MessageExpirySeconds) * time.Second)
	}
	var s routing
	pub := publication{p: &p, origin: origin{kind: fromWill}, author: by, why: causeWill, now: now, expiresAt: m.ExpiresAt, m: &m, passesFull: true, mustFit: true}
	if reason := b.publish(&pub, &s, pend); reason == codec.Success {
		return
	}
	// Refused because it cannot be retained. Nobody can send it again, so those who are
	// subscribed get it without that.
	b.m.RefusedMessages(codec.QuotaExceeded.String()).Inc()
	pend.say(b.notices.Line(slog.LevelWarn, "will not retained", m.Topic,
		"a Will Message was published, but not retained: a limit of retained messages is reached", trouble.WillNotRetained, "topic", notice.Shown(m.Topic)))
	p.Retain, m.Retain = false, false
	b.publish(&pub, &s, pend)
}

// A kept Will is that of a Session that ends with its connection. It is on disk so that
// the next start publishes the Wills of the connections that ended with the process.
// Nothing waits for that write, and the Session itself is not stored.

// mayKeepWill reports whether the store has room for a kept Will. If not, the CONNECT
// is accepted all the same.
func (b *Broker) mayKeepWill(p *codec.Connect) bool {
	return !control.Broken(control.WillNotKept) && b.commits.Admit(sessionCost(p), "Will")
}

// restoreWill makes the kept Will of a connection of the last process due after
// Options.WillGrace, in which the Client may come back. The caller holds the gate.
func (b *Broker) restoreWill(l *session.Loaded, now time.Time) {
	cl := b.registry.acquire(b, l.Record.ClientID)
	defer cl.mu.Unlock()
	s := cl.storedLocked()
	s.kept = session.RestoreKeptWill(l, &b.limits)
	b.timers.set(s, dueAt(now.Add(b.o.WillGrace)))
}

// takeKeptLocked removes the kept Will of the last process from the store and returns
// it; nil: there is none. The caller holds client.mu and the gate.
func (cl *Client) takeKeptLocked(now time.Time, pend *pending) *session.Will {
	if cl.stored == nil || cl.stored.kept == nil {
		return nil
	}
	s := cl.stored
	cl.b.timers.remove(s)
	cl.stored = nil
	pend.fx.Reset()
	closed := s.kept.End(now, &pend.fx)
	cl.b.commits.Merge(&s.part, s.kept, &pend.fx, nil)
	return closed.Will
}
