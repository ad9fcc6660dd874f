package access

import "github.com/x0a1b/promptmq/codec"

// A Rule allows or denies. The first whose conditions all hold decides.
type Rule struct {
	Deny bool
	// User, Group and Client say whom it is about; "": anybody. Those that are given must
	// all hold.
	User, Group, Client string
	Nobody              bool // it is about Clients without a user name only
	Actions             Actions
	// Filter is a Topic Filter in which %u and %c, each a whole level or part of one, stand
	// for the user name and the Client Identifier. What they stand for is compared as it
	// is: a wildcard in it is none.
	Filter string
	// MaxQoS and NoRetain say which publications, and up to which QoS deliveries and
	// subscriptions, the rule is about.
	MaxQoS   codec.QoS
	NoRetain bool
	// Where says where the rule stands, for people: "acl.txt:12", "rule 7 of the store".
	Where string
}

// Actions is a set of what a Client can do.
type Actions uint8

// The actions. Receive is a delivery, Subscribe a Topic Filter in SUBSCRIBE.
const (
	Publish Actions = 1 << iota
	Receive
	Subscribe
)

// A Request is what a Subject wants to do, or is to be given.
type Request struct {
	Action Actions // one
	Topic  string  // a Topic Name; for Subscribe a Topic Filter without $share
	QoS    codec.QoS
	Retain bool
}

// A Decision is what a Policy says to a Request.
type Decision struct {
	Allowed bool
	Rule    *Rule // that decided; nil: there was none
}
