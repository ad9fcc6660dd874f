package broker

import (
	"container/list"

	"github.com/x0a1b/promptmq/session"
	"github.com/x0a1b/promptmq/topics"
)

const (
	// walkMax is how many nodes the search for a subscription's retained messages may
	// visit under one lock, and listMax how many it may find. A subscription that asks
	// for more is left to a scan, which looks at scanStep messages under one lock.
	walkMax  = 4096
	listMax  = 1024
	scanStep = 256
	// settleStep is how many debts are settled under one lock.
	settleStep = 64
)

// A debt is what one subscription is still owed of the retained messages: those that
// were retained before it was made, and still are when it is their turn. A subscription
// has one debt at most, however often it is made.
type debt struct {
	session.Owed
	sub      *session.Subscription
	waiting  *list.Element      // in backlog.waiting, or nil
	in       *scan              // or nil
	searched bool               // listed is all that is owed
	listed   []uint64           // versions of what is next, in order; the messages are not kept for it
	found    []*retainedMessage // the same, while the subscription is being made
}

// search looks for all that is owed, and returns how many of the visits of nodes are
// left; negative: they were not enough, or there is too much, and nothing was found.
func (d *debt) search(set *retainedSet, visits int) (found []*retainedMessage, left int) {
	return set.find(d.sub.Filter, d.After, d.UpTo, listMax, visits)
}

// next returns the next message that was found and is still retained; nil: none.
func (d *debt) next(set *retainedSet) *retainedMessage {
	for len(d.listed) > 0 {
		r := set.byVersion.get(d.listed[0])
		if d.listed = d.listed[1:]; r != nil {
			return r
		}
	}
	return nil
}

// A backlog is the debts to one Client. The debts that a short search may settle wait
// for it in their order. All others share one scan of all that is retained, so that its
// time does not grow with their number. It is data only: client.mu guards it.
type backlog struct {
	debts   map[string]*debt // by Topic Filter
	waiting list.List        // of *debt
	scan    *scan            // nil: none has begun
	later   *scan            // for the debts that came too late for scan; nil: none
}

func newBacklog() *backlog { return &backlog{debts: make(map[string]*debt)} }

// add makes sub owed all up to a version, from the first on.
func (o *backlog) add(sub *session.Subscription, upTo uint64) *debt {
	d := o.debts[sub.Filter]
	if d == nil {
		d = new(debt)
		o.debts[sub.Filter] = d
	}
	long := d.in != nil // that a search takes too long was found out before
	if long {
		d.in.remove(d)
	}
	d.sub, d.Owed = sub, session.Owed{UpTo: upTo}
	if long {
		o.scanLater(d)
	} else {
		o.searchLater(d)
	}
	return d
}

// remove forgets d.
func (o *backlog) remove(d *debt) {
	delete(o.debts, d.sub.Filter)
	o.leaveWaiting(d)
	if d.in != nil {
		d.in.remove(d)
	}
}

// searchLater puts d among those to be searched for.
func (o *backlog) searchLater(d *debt) {
	d.searched, d.listed, d.found = false, nil, nil
	if d.waiting == nil {
		d.waiting = o.waiting.PushBack(d)
	}
}

func (o *backlog) leaveWaiting(d *debt) {
	if d.waiting != nil {
		o.waiting.Remove(d.waiting)
		d.waiting = nil
	}
}

// scanLater has the next scan look for d.
func (o *backlog) scanLater(d *debt) {
	if o.later == nil {
		o.later = newScan()
	}
	o.later.add(d)
}

// A budget is how much may still be done under one lock.
type budget struct {
	visits  int // of nodes, by searches
	looks   int // at messages, by scans
	settled int // debts
	spent   bool
}

func newBudget() budget { return budget{visits: walkMax, looks: scanStep, settled: settleStep} }

// next returns the next message that is owed, and to which debt. A debt without a
// message is settled, and must be removed. No debt: none is left, or b is spent.
func (o *backlog) next(set *retainedSet, b *budget) (*debt, *retainedMessage) {
	for !b.spent && len(o.debts) > 0 {
		if front := o.waiting.Front(); front != nil {
			d := front.Value.(*debt)
			if !d.searched {
				o.search(d, set, b)
				continue
			}
			r := d.next(set)
			if r == nil {
				b.settle()
			}
			return d, r
		}
		if o.scan == nil {
			o.scan, o.later = o.later, nil
		}
		if d, r := o.scan.next(set, b); d != nil {
			return d, r
		}
		if d := o.scan.anyDebt(); o.scan.over && !b.spent && d != nil {
			b.settle()
			return d, nil
		}
		if len(o.scan.debts) == 0 {
			o.scan = nil
		}
	}
	return nil, nil
}

// settle notes that a debt is settled.
func (b *budget) settle() {
	b.settled--
	b.spent = b.spent || b.settled <= 0
}

// search searches for d, or leaves it to the next scan if that takes too long.
func (o *backlog) search(d *debt, set *retainedSet, b *budget) {
	visits := b.visits
	found, left := d.search(set, visits)
	if b.visits = left; left >= 0 {
		d.searched = true
		for _, r := range found {
			d.listed = append(d.listed, r.version)
		}
		return
	}
	b.spent = true
	if visits == walkMax { // else others took a part, and the next search may do it
		o.leaveWaiting(d)
		o.scanLater(d)
	}
}

// A scan looks at all retained messages, from the oldest on, for many debts.
type scan struct {
	debts   map[*debt]struct{}
	filters *topics.Filters[*debt, struct{}] // of debts
	at      uint64                           // the version up to which all were looked at
	upTo    uint64                           // the last version that is owed to any
	over    bool

	matches []topics.Match[*debt, struct{}] // to whom the message at version at may still have to go
	scratch []topics.Match[*debt, struct{}] // the memory of matches
}

func newScan() *scan {
	return &scan{debts: make(map[*debt]struct{}), filters: topics.NewFilters[*debt, struct{}](), at: 1<<64 - 1}
}

// add has the scan, which has not begun, look for d too.
func (s *scan) add(d *debt) {
	s.debts[d] = struct{}{}
	s.filters.Set(d.sub.Filter, d, struct{}{})
	s.at, s.upTo = min(s.at, d.After), max(s.upTo, d.UpTo)
	d.in = s
}

func (s *scan) remove(d *debt) {
	delete(s.debts, d)
	s.filters.Delete(d.sub.Filter, d)
	d.in = nil
}

// anyDebt returns one of the debts; nil: there is none.
func (s *scan) anyDebt() *debt {
	for d := range s.debts {
		return d
	}
	return nil
}

// next returns the next message that is owed to one of the debts. No debt: the scan
// is over, or b is spent.
func (s *scan) next(set *retainedSet, b *budget) (*debt, *retainedMessage) {
	for !s.over && len(s.debts) > 0 {
		if d, r := s.nextMatch(set); d != nil {
			return d, r
		}
		if b.looks--; b.looks < 0 {
			b.spent = true
			return nil, nil
		}
		r := set.byVersion.after(s.at)
		if r == nil || r.version > s.upTo {
			s.over = true
			return nil, nil
		}
		s.at = r.version
		s.scratch = s.filters.AppendMatches(s.scratch[:0], viewOf(r.message.Topic))
		s.matches = s.scratch
	}
	return nil, nil
}

// nextMatch returns the next debt to which the message that the scan is at is owed,
// if that is still retained.
func (s *scan) nextMatch(set *retainedSet) (*debt, *retainedMessage) {
	if len(s.matches) == 0 {
		return nil, nil
	}
	r := set.byVersion.get(s.at)
	for r != nil && len(s.matches) > 0 {
		d := s.matches[0].Key
		s.matches = s.matches[1:]
		if d.in == s && d.After < s.at && s.at <= d.UpTo {
			return d, r
		}
	}
	s.matches = nil
	return nil, nil
}
