package broker

import (
	"github.com/x0a1b/promptmq/broker/commit"
	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/metrics"
	"github.com/x0a1b/promptmq/session"
)

// A pending is what a goroutine has caused and must finish when it holds no lock:
// packets in outboxes, and log lines; and its scratch memory on the way.
type pending struct {
	link.Pending
	// oneID is the Subscription Identifier of the message that is being encoded.
	oneID [1]uint32
	// packet is the retained message that is being delivered.
	packet codec.Publish
	// outcomes are those of the deliveries that were decided.
	outcomes outcomes
	// fx is what the Session asks for whose Client the goroutine has locked: one
	// at a time, so it is not each Client's own.
	fx session.Effects
	// completed are whose receipts have just become complete; emptied by applyLocked.
	completed []commit.Waiter
	// refused are packets that a Session has sent, to a Client that may not have them:
	// emptied by applyLocked, and orphans by Broker.leave.
	refused []session.Send
	denying bool // who has applied an event goes on with refused
	orphans []orphan
	// tracedSend is the message that a trace was told is sent, while it is being queued.
	tracedSend *session.Message
	// sys are new subscriptions to $SYS: see showSys.
	sys []*session.Subscription
	// notices are log lines that wait until no lock is held.
	notices []notice.Line
}

// say writes a log line with the next flush: for who holds a lock.
func (pend *pending) say(line notice.Line) { pend.notices = append(pend.notices, line) }

// flush writes to the sockets, counts the messages in m, and then writes to the log.
func (pend *pending) flush(m *metrics.Broker) {
	pend.outcomes.count(m)
	pend.Flush(m)
	if len(pend.notices) > 0 {
		pend.writeNotices()
	}
}

// writeNotices is not inlined: its frame would make the stacks of all readers grow.
//
//go:noinline
func (pend *pending) writeNotices() {
	for i := range pend.notices {
		pend.notices[i].Write()
	}
	pend.notices = nil
}
