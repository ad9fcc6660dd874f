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

// A keptWill is a Will Message that an earlier process left.
type keptWill struct {
	sess session.ID // under which it is stored
	will *session.Will
}

// keepWillLocked has the Will of a Session that is not durable stored with the
// open group, unless there is no room: the CONNECT was accepted without it. The
// caller holds client.mu and the gate.
func (cl *Client) keepWillLocked(p *codec.Connect, now time.Time) {
	s, commits := cl.sess, cl.b.commits
	if control.Broken(control.WillNotKept) {
		return
	}
	if !commits.Admit(sessionCost(p), "Will") {
		return
	}
	commits.Put(s.ID, &session.Writes{Record: s.Record(true, now), HasWill: true, Will: s.Will})
	cl.storedLocked().willGroup = commits.Number()
	commits.Later()
}

// dropWillLocked takes back what keepWillLocked did: out of the open group, where
// it costs nothing, or from the disk; then it returns the group to wait for, by who
// promises that. The caller holds client.mu and the gate.
func (cl *Client) dropWillLocked() (group uint64) {
	st, commits := cl.stored, cl.b.commits
	if st == nil || st.willGroup == 0 {
		return 0
	}
	if st.willGroup == commits.Number() {
		commits.TakeBack(cl.sess.ID)
	} else {
		commits.Put(cl.sess.ID, &session.Writes{Ended: true})
		commits.Later()
		group = commits.Number()
	}
	st.willGroup = 0
	return group
}

// isKeptWill reports whether what is stored is a Will and nothing else of a Session
// that has ended with the last process.
func isKeptWill(l *session.Loaded) bool {
	return l.Record.Connected && l.Record.ExpirySeconds == 0 && l.Will != nil &&
		len(l.Subscriptions) == 0 && len(l.State) == 0 && l.NextSeq == 0
}

// restoreWill makes a Will that the last process left due after the grace in which
// the Client may come back. The caller holds the gate.
func (b *Broker) restoreWill(l *session.Loaded, now time.Time) {
	cl := b.registry.acquire(b, l.Record.ClientID)
	defer cl.mu.Unlock()
	st := cl.storedLocked()
	st.kept = &keptWill{sess: l.Record.ID, will: l.Will}
	b.expirer.set(st, dueAt(now.Add(b.o.WillGrace)))
}

// takeKeptLocked returns the Will that the last process left, and removes it from
// the store; nil: there is none. The caller holds client.mu and the gate.
func (cl *Client) takeKeptLocked() *session.Will {
	if cl.stored == nil || cl.stored.kept == nil {
		return nil
	}
	kept := cl.stored.kept
	cl.b.expirer.remove(cl.stored)
	cl.stored = nil
	cl.b.commits.Put(kept.sess, &session.Writes{Ended: true})
	cl.b.commits.Later()
	return kept.will
}
