package broker

import (
	"time"

	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// The Will of a Session that ends with its connection is kept on disk too, so that
// the next start knows whose connections ended with the process. Nobody waits for
// it to be written, and what is written is no Session: it is not resumed.

// mayKeepWill reports whether the Will of a Session that is not durable is stored: if
// there is no room, the CONNECT is accepted without that.
func (b *Broker) mayKeepWill(p *codec.Connect) bool {
	return !control.Broken(control.WillNotKept) && b.commits.Admit(sessionCost(p), "Will")
}

// restoreWill makes a Will that the last process left due after the grace in which
// the Client may come back. The caller holds the gate.
func (b *Broker) restoreWill(l *session.Loaded, now time.Time) {
	cl := b.registry.acquire(b, l.Record.ClientID)
	defer cl.mu.Unlock()
	st := cl.storedLocked()
	st.kept = session.RestoreKeptWill(l, &b.limits)
	b.expirer.set(st, dueAt(now.Add(b.o.WillGrace)))
}

// takeKeptLocked returns the Will that the last process left, and removes it from
// the store; nil: there is none. The caller holds client.mu and the gate.
func (cl *Client) takeKeptLocked(now time.Time, l *pending) *session.Will {
	if cl.stored == nil || cl.stored.kept == nil {
		return nil
	}
	s := cl.stored
	cl.b.expirer.remove(s)
	cl.stored = nil
	l.fx.Reset()
	closed := s.kept.End(now, &l.fx)
	cl.b.commits.Merge(&s.part, s.kept, &l.fx, nil)
	return closed.Will
}
