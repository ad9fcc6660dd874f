// Package lock has the mutexes of the broker, and the order in which they are taken.
//
// A mutex is of one of the types below: its Place. Who holds one takes only those of a
// later place, so two of the same place are never held at once. An ordinary build has
// the mutexes of package sync and checks nothing. With -tags invariants each Lock
// checks the order, and panics before it could wait for ever.
package lock

// A Place is where a mutex stands in the order.
type Place interface{ place() place }

// The places, outermost first. A Leaf is the last: nothing is taken while one is held.
type (
	// Gate is of commit.Committer: shared by who changes what is stored, exclusive for
	// who seals a group.
	Gate struct{}
	// Router is of the subscriptions.
	Router struct{}
	// Retained is of the retained messages.
	Retained struct{}
	// Registry is of the Clients by their identifiers.
	Registry struct{}
	// Client is of one Client, with its Session.
	Client struct{}
	// Outbox is of one link.Outbox. Below it are those of its Transport, which have
	// an order of their own: see package link.
	Outbox struct{}
	// Leaf is of all others: of a Shared Subscription, of timers, changeovers and the
	// connections of a Broker, of commit.Committer and its groups.
	Leaf struct{}
)

type place uint8

func (Gate) place() place     { return 1 }
func (Router) place() place   { return 2 }
func (Retained) place() place { return 3 }
func (Registry) place() place { return 4 }
func (Client) place() place   { return 5 }
func (Outbox) place() place   { return 6 }
func (Leaf) place() place     { return 7 }
