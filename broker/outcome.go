package broker

import "github.com/x0a1b/promptmq/metrics"

// An outcome is what became of one copy of a message when a delivery was decided.
type outcome uint8

// Outcomes of a copy. One that is dropped has the reason: dropped + the
// metrics.DropReason, and beside those that delivery.decideLocked finds these may
// come later, for a copy that was queued: expired, too large, too old, the oldest
// of a full queue, or the end of its Session.
const (
	sent     outcome = iota // given to the connection; nothing keeps it
	queued                  // its Session keeps it until it is acknowledged, sent or not
	passedOn                // the member of a Shared Subscription has ended or unsubscribed: another is chosen
	dropped                 // and the reason

	expired         = dropped + outcome(metrics.DropExpired)
	tooLarge        = dropped + outcome(metrics.DropTooLarge)
	slowConsumer    = dropped + outcome(metrics.DropSlowConsumer)
	offline         = dropped + outcome(metrics.DropOfflineQoS0)
	noMember        = dropped + outcome(metrics.DropNoMember)
	queueFullNewest = dropped + outcome(metrics.DropQueueNewest)
	queueFullOldest = dropped + outcome(metrics.DropQueueOldest)
	tooOld          = dropped + outcome(metrics.DropTooOld)
	sessionEnded    = dropped + outcome(metrics.DropSessionEnded)
	unsubscribed    = dropped + outcome(metrics.DropUnsubscribed)
	denied          = dropped + outcome(metrics.DropDenied)
	numOutcomes     = dropped + outcome(metrics.NumDropReasons)
)

// outcomes counts what one goroutine has decided since it last flushed: see tally.
type outcomes struct {
	of [numOutcomes]int
	// dropped is how many of those that were dropped had not been queued before.
	dropped int
}

// routed counts the outcome of a copy that was just routed to its target.
func (n *outcomes) routed(o outcome) {
	n.of[o]++
	if o >= dropped {
		n.dropped++
	}
}

// dropQueued counts copies that were queued, and are dropped.
func (n *outcomes) dropQueued(o outcome, copies int) { n.of[o] += copies }

// count adds the outcomes to m and begins anew.
func (n *outcomes) count(m *metrics.Broker) {
	for o, copies := range &n.of {
		if copies == 0 {
			continue
		}
		switch o := outcome(o); o {
		case sent:
			m.DeliveriesSent.Add(copies)
		case queued:
			m.DeliveriesQueued.Add(copies)
		case passedOn:
			m.DeliveriesPassedOn.Add(copies)
		default:
			m.Dropped[o-dropped].Add(copies)
		}
		n.of[o] = 0
	}
	if n.dropped > 0 {
		m.DeliveriesDropped.Add(n.dropped)
		n.dropped = 0
	}
}
