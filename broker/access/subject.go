package access

import (
	"hash/maphash"
	"slices"
)

// A Subject is a Client, of which a Policy decides. It remembers which rules are about it,
// and what was decided last.
//
// Requests to publish, to receive and to subscribe have nothing in common, so that each
// kind may be decided by a goroutine of its own at the same time; of one kind only one
// at a time. One Policy may follow another at any time. Until a Policy has rules, a
// Subject costs no more than itself.
type Subject struct {
	user, client string
	groups       []string
	rules        []compiled // of the Identity; nil: it has no list of them
	views        [3]*view   // by Action
}

// NewSubject makes a Subject of an Identity, of which it keeps what it needs, and a Client
// Identifier; nil: a Client without a user name.
func NewSubject(id *Identity, clientID string) *Subject {
	s := &Subject{client: clientID}
	if id != nil {
		s.user, s.groups = id.User, id.Groups
		if id.Rules != nil {
			s.rules = compile(id.Rules)
		}
	}
	return s
}

// A view is what a Policy has to say to a Subject about one Action.
type view struct {
	version uint64 // of the Policy
	rules   []*bound
	decided
}

// bind makes, or brings up to date, what the Policy has to say to the Subject about the
// Action.
func (s *Subject) bind(p *Policy, action Actions) *view {
	place := &s.views[action>>1] // 1, 2 and 4
	if *place == nil {
		*place = new(view)
	}
	v := *place
	v.version, v.rules = p.version, s.gather(p, action)
	v.forget()
	return v
}

// gather takes those rules out of the Policy that are about the Subject and the Action.
func (s *Subject) gather(p *Policy, action Actions) []*bound {
	var rules []*bound
	add := func(c *compiled) {
		if b, why := c.bind(s, action); why == about {
			rules = append(rules, b)
		}
	}
	for i := range s.rules {
		add(&s.rules[i])
	}
	places := slices.Concat(p.others, p.byUser[s.user], p.byClient[s.client])
	for _, group := range s.groups {
		places = append(places, p.byGroup[group]...)
	}
	slices.Sort(places)
	for _, i := range slices.Compact(places) { // a group may be there twice
		add(&p.rules[i])
	}
	return slices.Clip(rules)
}

// search looks for the first rule that is about the Request.
func (v *view) search(r *Request) Decision {
	for _, b := range v.rules {
		if b.isAbout(r) == about {
			return Decision{!b.rule.Deny, b.rule}
		}
	}
	return Decision{}
}

// The bounds of what a Subject remembers of each of publish and receive.
const (
	decidedSlots = 16
	decidedBytes = 256 // of a topic
)

// decided is what was decided about the last topics. Each has four places to be in, so that
// few of them drive each other out. Clients mostly go through their topics in the same order:
// the slot that followed the last one before is looked at first, without a hash.
type decided struct {
	slots  *[decidedSlots]decision
	last   uint8 // the slot that was asked for
	victim uint8 // which of four places is taken when all are in use
}

type decision struct {
	topic []byte // kept, to be used again
	rule  *Rule  // nil: none decided
	hash  uint32 // of the topic
	// kind has the QoS, whether it is retained, and that the slot is in use.
	kind uint8
	next uint8 // the slot that was asked for after it
}

// is reports whether e is about the Request.
func (e *decision) is(r *Request, kind uint8) bool {
	return e.kind == kind && string(e.topic) == r.Topic
}

var decidedSeed = maphash.MakeSeed()

func kindOf(r *Request) uint8 {
	kind := uint8(r.QoS)<<2 | 1
	if r.Retain {
		kind |= 2
	}
	return kind
}

// find returns what was decided about the Request, or nil.
func (d *decided) find(r *Request) *decision {
	if d.slots == nil {
		return nil
	}
	kind := kindOf(r)
	last := &d.slots[d.last%decidedSlots]
	if e := &d.slots[last.next%decidedSlots]; e.is(r, kind) {
		d.last = last.next
		return e
	}
	hash := uint32(maphash.String(decidedSeed, r.Topic))
	for place := range uint32(4) {
		i := hash >> (4 * place) % decidedSlots
		if e := &d.slots[i]; e.hash == hash && e.is(r, kind) {
			d.last, last.next = uint8(i), uint8(i)
			return e
		}
	}
	return nil
}

// remember puts a decision where nothing is, or in place of another.
func (d *decided) remember(r *Request, rule *Rule) {
	if len(r.Topic) > decidedBytes {
		return
	}
	if d.slots == nil {
		d.slots = new([decidedSlots]decision)
	}
	hash := uint32(maphash.String(decidedSeed, r.Topic))
	var i uint32
	for place := range uint32(4) {
		if i = hash >> (4 * place) % decidedSlots; d.slots[i].kind == 0 {
			break
		}
	}
	if d.slots[i].kind != 0 {
		d.victim++
		i = hash >> (4 * (d.victim % 4)) % decidedSlots
	}
	e := &d.slots[i]
	e.topic, e.rule, e.hash, e.kind = append(e.topic[:0], r.Topic...), rule, hash, kindOf(r)
	d.slots[d.last%decidedSlots].next, e.next = uint8(i), uint8(i)
	d.last = uint8(i)
}

func (d *decided) forget() {
	if d.slots == nil {
		return
	}
	for i := range d.slots {
		d.slots[i].kind, d.slots[i].rule = 0, nil
	}
}
