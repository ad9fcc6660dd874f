package access

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/topics"
)

// A Rule allows or denies. The first whose conditions all hold decides.
type Rule struct {
	Deny bool
	// User, Group and Client say whom it is about; "": anybody. Those that are given must
	// all hold.
	User, Group, Client string
	Nobody              bool // it is about Clients without a user name only
	Actions             Actions
	// Filter is a Topic Filter in which %u and %c, each a whole level or part of one, stand
	// for the user name and the Client Identifier, and %% for %. What they stand for is
	// compared as it is: a wildcard in it is none. A rule that allows is about no Client for
	// which one of them would be empty, have a / in it, or bring a $ to the begin of the
	// Topic Name.
	Filter string
	// MaxQoS and NoRetain say which publications, and up to which QoS deliveries and
	// subscriptions, a rule that allows is about. One that denies is about them all.
	MaxQoS   codec.QoS
	NoRetain bool
	// Literal is of a rule about Subscribe alone: it is about that very Topic Filter, and not
	// about those that it covers.
	Literal bool
	// Mosquitto marks a rule that is read from an acl_file: it is about a Topic Filter
	// that has any Topic Name in common with its own, since Mosquitto asks again at each
	// delivery; a user name or Client Identifier may have a / in it; and if it names
	// neither a User nor Nobody (a pattern), it is about no Client with + or # in either.
	Mosquitto bool
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

	allActions = Publish | Receive | Subscribe
)

// A Request is what a Subject wants to do, or is to be given.
type Request struct {
	Action Actions // one
	Topic  string  // a valid Topic Name; for Subscribe a Topic Filter without $share
	QoS    codec.QoS
	Retain bool // of a Publish; it means nothing otherwise
}

// A Decision is what a Policy says to a Request.
type Decision struct {
	Allowed bool
	Rule    *Rule // that decided; nil: there was none
}

// The most that a Rule may have.
const (
	ruleNameBytes  = 1024 // of User, Group and Client each
	ruleLevelsMax  = 128
	ruleFilterSize = 8192
)

// Check says what is wrong with the Rule, if anything.
func (r *Rule) Check() error {
	for _, name := range []string{r.User, r.Group, r.Client} {
		if len(name) > ruleNameBytes {
			return fmt.Errorf("a name of more than %d bytes", ruleNameBytes)
		}
		if !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
			return fmt.Errorf("the name %q is not UTF-8 without U+0000", name)
		}
	}
	switch {
	case r.Nobody && r.User != "":
		return errors.New("it is about Clients without a user name, and names a user")
	case r.Actions == 0 || r.Actions&^allActions != 0:
		return errors.New("it needs one or more of the actions publish, receive and subscribe")
	case r.Literal && r.Actions != Subscribe:
		return errors.New("literal is for the action subscribe alone")
	case r.MaxQoS > 2:
		return fmt.Errorf("there is no QoS %d", r.MaxQoS)
	case len(r.Filter) > ruleFilterSize:
		return fmt.Errorf("a Topic Filter of more than %d bytes", ruleFilterSize)
	case !utf8.ValidString(r.Filter):
		return errors.New("the Topic Filter is not UTF-8")
	}
	pieces := splitFilter(r.Filter)
	var example strings.Builder
	for _, p := range pieces {
		if p.name != 0 {
			example.WriteByte('n')
		}
		example.WriteString(p.text)
	}
	if err := topics.ValidFilter([]byte(example.String()), ruleLevelsMax); err != nil {
		return fmt.Errorf("the Topic Filter %q: %w", r.Filter, err)
	}
	return nil
}

// A piece of a Topic Filter of a Rule is text, or the name that %u or %c stands for.
type piece struct {
	name byte // 'u' or 'c'; 0: it is text
	text string
}

// splitFilter takes the Topic Filter of a Rule apart. A % before any other character is
// one.
func splitFilter(filter string) []piece {
	var pieces []piece
	var text strings.Builder
	for i := 0; i < len(filter); i++ {
		if filter[i] != '%' || i+1 == len(filter) || !strings.ContainsRune("uc%", rune(filter[i+1])) {
			text.WriteByte(filter[i])
			continue
		}
		i++
		if filter[i] == '%' {
			text.WriteByte('%')
			continue
		}
		if text.Len() > 0 {
			pieces = append(pieces, piece{text: text.String()})
			text.Reset()
		}
		pieces = append(pieces, piece{name: filter[i]})
	}
	if text.Len() > 0 {
		pieces = append(pieces, piece{text: text.String()})
	}
	return pieces
}
