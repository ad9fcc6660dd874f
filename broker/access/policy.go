package access

import (
	"slices"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/x0a1b/promptmq/codec"
)

// A Policy is a list of Rules, made ready to decide. It does not change, and any number of
// goroutines may use it.
type Policy struct {
	version uint64
	rules   []compiled
	// The places in rules of those that name a user, else a Client Identifier, else a
	// group, and of the others: a Subject need not look at all the rules of other Clients.
	byUser, byClient, byGroup map[string][]int
	others                    []int
}

// A compiled Rule has its Topic Filter taken apart.
type compiled struct {
	rule *Rule
	// pieces are the parts of a Topic Filter into which names are put; one without any is
	// the same for all Subjects.
	pieces []piece
	same   bound
	broken bool // Check found something
}

// versions counts the Policies of this process.
var versions atomic.Uint64

// NewPolicy makes a Policy of Rules, which it copies, in their order. One without any
// allows everything. Rules that Rule.Check finds wrong are the caller's error: one that
// allows is about nothing, one that denies is about everything that anybody does.
func NewPolicy(rules []Rule) *Policy {
	p := &Policy{
		version: versions.Add(1), rules: compile(rules),
		byUser: map[string][]int{}, byClient: map[string][]int{}, byGroup: map[string][]int{},
	}
	for i, c := range p.rules {
		switch r := c.rule; {
		case c.broken:
			p.others = append(p.others, i)
		case r.User != "":
			p.byUser[r.User] = append(p.byUser[r.User], i)
		case r.Client != "":
			p.byClient[r.Client] = append(p.byClient[r.Client], i)
		case r.Group != "":
			p.byGroup[r.Group] = append(p.byGroup[r.Group], i)
		default:
			p.others = append(p.others, i)
		}
	}
	return p
}

func compile(rules []Rule) []compiled {
	kept := slices.Clone(rules)
	list := make([]compiled, len(kept))
	for i := range kept {
		c := &list[i]
		c.rule = &kept[i]
		c.same.rule = c.rule
		if c.broken = c.rule.Check() != nil; c.broken {
			continue
		}
		if c.pieces = splitFilter(c.rule.Filter); len(c.pieces) == 1 && c.pieces[0].name == 0 {
			c.same.filter, c.same.shape = c.pieces[0].text, shapeOf(c.pieces[0].text)
			c.pieces = nil
		}
	}
	return list
}

// Version is another one for each Policy that this process makes; never 0.
func (p *Policy) Version() uint64 { return p.version }

// Len is the number of rules.
func (p *Policy) Len() int { return len(p.rules) }

// Rules returns a copy of the rules.
func (p *Policy) Rules() []Rule {
	rules := make([]Rule, len(p.rules))
	for i, c := range p.rules {
		rules[i] = *c.rule
	}
	return rules
}

// Decide says whether the Subject may do what the Request says. What it decided about a
// topic is remembered by the Subject; see there for who may call it at a time. It keeps
// nothing of the Request.
//
// The first rule that is about the Subject and the Request decides; if there is none, it
// is denied. Without any rule of the Policy, and without a list of the Identity,
// everything is allowed. For Subscribe a rule is about the Topic Filters that its own covers.
func (p *Policy) Decide(s *Subject, r Request) Decision { return p.decide(s, &r) }

// DecideView is Decide about a topic that is in a buffer which the caller may change
// afterwards; r.Topic is not looked at.
func (p *Policy) DecideView(s *Subject, topic codec.View, r Request) Decision {
	r.Topic = unsafe.String(unsafe.SliceData(topic), len(topic))
	return p.decide(s, &r)
}

func (p *Policy) decide(s *Subject, r *Request) Decision {
	if len(p.rules) == 0 && s.rules == nil {
		return Decision{Allowed: true}
	}
	v := s.views[r.Action>>1]
	if v == nil || v.version != p.version {
		v = s.bind(p, r.Action)
	}
	if r.Action == Subscribe {
		return v.search(r)
	}
	if e := v.find(r); e != nil {
		return Decision{e.rule != nil && !e.rule.Deny, e.rule}
	}
	d := v.search(r)
	v.remember(r, d.Rule)
	return d
}

// A passed says why a rule was passed over; about: it was not.
type passed string

const (
	about       passed = ""
	otherUser   passed = "it is about another user"
	otherGroup  passed = "it is about a group that the user is not in"
	otherClient passed = "it is about another Client Identifier"
	hasUser     passed = "it is about Clients without a user name"
	noUser      passed = "there is no user name for its %u"
	badName     passed = "the name for its %u or %c cannot stand there: it is empty, has a wildcard, a / or a leading $"
	dangerous   passed = "it is a pattern of Mosquitto, which is about no Client with + or # in its user name or Client Identifier"
	notUsable   passed = "it is not in order"
	otherAction passed = "it is about other actions"
	aboveQoS    passed = "the QoS is above its own"
	isRetained  passed = "it is not about retained messages"
	otherTopic  passed = "its Topic Filter does not match"
	notCovered  passed = "its Topic Filter does not cover the one that is asked for"
	notTheOne   passed = "it is about one Topic Filter, and that is another"
	noOverlap   passed = "its Topic Filter has no topic in common with the one that is asked for"
)

// A bound is a rule about a Subject, with its names put in.
type bound struct {
	rule   *Rule
	filter string // "": every topic
	shape  shape
}

// bind puts the names of the Subject into the rule, or says why it is not about the Subject
// and the action.
func (c *compiled) bind(s *Subject, action Actions) (*bound, passed) {
	r := c.rule
	switch {
	case c.broken && !r.Deny:
		return nil, notUsable
	case c.broken:
		return &c.same, about
	case r.User != "" && r.User != s.user:
		return nil, otherUser
	case r.Nobody && s.user != "":
		return nil, hasUser
	case r.Client != "" && r.Client != s.client:
		return nil, otherClient
	case r.Group != "" && !slices.Contains(s.groups, r.Group):
		return nil, otherGroup
	case r.Actions&action == 0:
		return nil, otherAction
	case r.Mosquitto && r.User == "" && !r.Nobody && strings.ContainsAny(s.user+s.client, "+#"):
		return nil, dangerous
	case c.pieces == nil:
		return &c.same, about
	}
	return c.fill(s)
}

// fill puts the names of the Subject into the Topic Filter of the rule.
func (c *compiled) fill(s *Subject) (*bound, passed) {
	r := c.rule
	var filter strings.Builder
	for _, p := range c.pieces {
		name := s.client
		switch p.name {
		case 0:
			filter.WriteString(p.text)
			continue
		case 'u':
			if name = s.user; name == "" {
				return nil, noUser
			}
		}
		// No Topic Name has a wildcard or U+0000 in it, so nothing is the same as this.
		if strings.ContainsAny(name, "+#\x00") {
			return nil, badName
		}
		if !r.Deny && (name == "" || strings.Contains(name, "/") && !r.Mosquitto ||
			name[0] == '$' && filter.Len() == 0 && !r.Mosquitto) {
			return nil, badName
		}
		filter.WriteString(name)
	}
	if filter.Len() == 0 { // no Topic Name is empty
		return nil, badName
	}
	return &bound{r, filter.String(), shapeOf(filter.String())}, about
}

// isAbout says why the rule, of which the Action is one, is passed over, if it is.
func (b *bound) isAbout(r *Request) passed {
	switch {
	case !b.rule.Deny && r.QoS > b.rule.MaxQoS:
		return aboveQoS
	case !b.rule.Deny && b.rule.NoRetain && r.Retain && r.Action == Publish:
		return isRetained
	case b.filter == "":
	case r.Action != Subscribe:
		if !matches(b.filter, b.shape, r.Topic) {
			return otherTopic
		}
	case b.rule.Literal:
		if b.filter != r.Topic {
			return notTheOne
		}
	case b.rule.Mosquitto:
		if !overlaps(b.filter, r.Topic) {
			return noOverlap
		}
	case !covers(b.filter, r.Topic):
		return notCovered
	}
	return about
}
