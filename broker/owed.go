package broker

import (
	"cmp"
	"container/list"
	"slices"
	"time"

	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/session"
	"github.com/x0a1b/promptmq/topics"
)

const (
	// feedStep is how many retained messages are delivered under one lock.
	feedStep = 32
	// feedQueueMax is how many messages may be queued for a Client before it
	// must acknowledge some to get further retained messages.
	feedQueueMax = 128
	// listMax is how many retained messages are listed for a subscription that
	// asks for few, walkMax how many nodes the search for them may visit under one
	// lock. For more than that all are looked at, scanStep of them under one lock.
	listMax  = 1024
	walkMax  = 4096
	scanStep = 256
	// walkMaxAtOnce bounds the search under the router's lock for writing.
	walkMaxAtOnce = 256
)

// A debt is what one subscription has still to be sent of the retained messages:
// those that were retained before it was made, and still are when it is their
// turn. Of each subscription there is one at most, however often it is made.
type debt struct {
	session.Owed
	sub      *session.Subscription
	waiting  *list.Element // in backlog.waiting, or nil
	in       *scan         // or nil
	searched bool          // listed is all that is owed
	listed   []uint64      // versions of what is next, in order: no message is kept for it
	found    []*retained   // the same, while the subscription is being made
}

const debtsAtEnd = 64 // are forgotten under one lock when a scan ends

// A backlog is the debts to one Client. Those that a short search may settle wait
// for it in their order; the others share one look at all that is retained, so its
// time does not grow with the number of subscriptions.
type backlog struct {
	debts   map[string]*debt // by Topic Filter
	waiting list.List        // of *debt
	scan    *scan            // nil: none has begun
	next    *scan            // for those that came too late for it; nil: none
}

// A scan looks at all retained messages, from the oldest on, for many debts.
type scan struct {
	debts   map[*debt]struct{}
	filters *topics.Filters[*debt, struct{}] // of debts
	at      uint64                           // the version up to which all were looked at
	upTo    uint64                           // the last that matters to anybody
	over    bool

	matches []topics.Match[*debt, struct{}] // to whom what is at at may have to go yet
	found   []topics.Match[*debt, struct{}] // the memory of matches
}

func newScan() *scan {
	return &scan{debts: make(map[*debt]struct{}), filters: topics.NewFilters[*debt, struct{}](), at: 1<<64 - 1}
}

// add lets the scan, which has not begun, look for d too.
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

// owe notes that all up to a version is owed to a subscription, from the first on.
func (o *backlog) owe(sub *session.Subscription, upTo uint64) *debt {
	d := o.debts[sub.Filter]
	if d == nil {
		d = new(debt)
		o.debts[sub.Filter] = d
	}
	long := d.in != nil // that was found out before
	if long {
		d.in.remove(d)
	}
	d.sub, d.Owed = sub, session.Owed{UpTo: upTo}
	if long {
		o.scanFor(d)
	} else {
		o.wait(d)
	}
	return d
}

// scanFor lets the next scan look for d.
func (o *backlog) scanFor(d *debt) {
	if o.next == nil {
		o.next = newScan()
	}
	o.next.add(d)
}

// wait puts d among those to be searched for.
func (o *backlog) wait(d *debt) {
	d.searched, d.listed, d.found = false, nil, nil
	if d.waiting == nil {
		d.waiting = o.waiting.PushBack(d)
	}
}

// drop forgets d.
func (o *backlog) drop(d *debt) {
	delete(o.debts, d.sub.Filter)
	if d.waiting != nil {
		o.waiting.Remove(d.waiting)
		d.waiting = nil
	}
	if d.in != nil {
		d.in.remove(d)
	}
}

// searchFor returns what is owed to d, in the order of versions, if that takes no
// more than so many visits of nodes, and how many are left; negative: it takes more.
func (r *router) searchFor(d *debt, visits int) (found []*retained, left int) {
	left, whole := r.retained.Walk(d.sub.Filter, visits, func(at *retained) bool {
		if d.After < at.version && at.version <= d.UpTo {
			found = append(found, at)
		}
		return len(found) <= listMax
	})
	if !whole {
		return nil, -1
	}
	slices.SortFunc(found, func(a, b *retained) int { return cmp.Compare(a.version, b.version) })
	return found, left
}

// A feeding is what one look at a backlog, under one lock, may still do.
type feeding struct {
	visits, items, ends int
	spent               bool // it may do no more

	now time.Time
	l   *pending
}

// nextLocked returns the next message that is owed, and to which subscription; nil:
// none is, or f is spent. The caller holds router.mu and cl.mu.
func (cl *Client) nextOwedLocked(o *backlog, f *feeding) (*debt, *retained) {
	for !f.spent && len(o.debts) > 0 {
		if front := o.waiting.Front(); front != nil {
			d := front.Value.(*debt)
			if !d.searched {
				cl.searchLocked(o, d, f)
				continue
			}
			if at := d.nextListed(cl.b.router); at != nil {
				return d, at
			}
			cl.settleLocked(o, d, f)
			continue
		}
		if o.scan == nil {
			o.scan, o.next = o.next, nil
		}
		if d, at := o.scan.advance(cl.b.router, f); d != nil {
			return d, at
		}
		for d := range o.scan.debts {
			if !o.scan.over || f.spent {
				break
			}
			cl.settleLocked(o, d, f)
		}
		if len(o.scan.debts) == 0 {
			o.scan = nil
		}
	}
	return nil, nil
}

// nextListed returns the next that was found for d and is still retained.
func (d *debt) nextListed(r *router) *retained {
	for len(d.listed) > 0 {
		at := r.history.get(d.listed[0])
		if d.listed = d.listed[1:]; at != nil {
			return at
		}
	}
	return nil
}

// searchLocked searches for d, or hands it to the next scan if that takes long.
func (cl *Client) searchLocked(o *backlog, d *debt, f *feeding) {
	visits := f.visits
	found, left := cl.b.router.searchFor(d, visits)
	if f.visits = left; left >= 0 {
		d.searched = true
		for _, at := range found {
			d.listed = append(d.listed, at.version)
		}
		return
	}
	f.spent = true
	if visits < walkMax { // others took a part
		return
	}
	o.waiting.Remove(d.waiting)
	d.waiting = nil
	o.scanFor(d)
}

// settleLocked forgets d, to which nothing is owed any more.
func (cl *Client) settleLocked(o *backlog, d *debt, f *feeding) {
	cl.disownLocked(o, d, f.now, f.l)
	if f.ends--; f.ends <= 0 {
		f.spent = true
	}
}

// advance returns the next message that one of the debts is owed. If there is none,
// the scan is over or f is spent.
func (s *scan) advance(r *router, f *feeding) (*debt, *retained) {
	for !s.over && len(s.debts) > 0 {
		if len(s.matches) > 0 {
			at := r.history.get(s.at)
			for at != nil && len(s.matches) > 0 {
				d := s.matches[0].Key
				s.matches = s.matches[1:]
				if d.in == s && d.After < s.at && s.at <= d.UpTo {
					return d, at
				}
			}
			s.matches = nil
		}
		if f.items--; f.items < 0 {
			f.spent = true
			return nil, nil
		}
		at := r.history.after(s.at)
		if at == nil || at.version > s.upTo {
			s.over = true
			return nil, nil
		}
		s.at = at.version
		s.found = s.filters.AppendMatches(s.found[:0], viewOf(at.message.Topic))
		s.matches = s.found
	}
	return nil, nil
}

// owedLocked is what is owed to the Client; nil: nothing.
func (cl *Client) owedLocked() *backlog {
	if cl.stored == nil {
		return nil
	}
	return cl.stored.owed
}

// oweLocked notes that a subscription is owed all that is retained now; nil: that
// is nothing. The caller holds router.mu and cl.mu.
func (cl *Client) oweLocked(sub *session.Subscription, now time.Time, l *pending) *debt {
	if !cl.b.router.mayMatchLocked(sub.Filter) {
		if o := cl.owedLocked(); o != nil && o.debts[sub.Filter] != nil {
			cl.disownLocked(o, o.debts[sub.Filter], now, l)
		}
		return nil
	}
	s := cl.storedLocked()
	if s.owed == nil {
		s.owed = &backlog{debts: make(map[string]*debt)}
	}
	d := s.owed.owe(sub, cl.b.router.version)
	cl.storeOwedLocked(d, now, l)
	return d
}

// mayMatchLocked says whether a message that a filter matches may be retained, as
// far as that can be told at once.
func (r *router) mayMatchLocked(filter string) bool {
	if r.retained.Len() == 0 {
		return false
	}
	name := viewOf(filter)
	if topics.HasWildcard(name) {
		return true
	}
	_, ok := r.retained.Get(name)
	return ok
}

// keepOwedLocked lets a subscription have what the one that it replaces was still
// owed: nothing is lost by replacing it. [MQTT-3.8.4-3]
func (cl *Client) keepOwedLocked(sub *session.Subscription) {
	if o := cl.owedLocked(); o != nil && o.debts[sub.Filter] != nil {
		o.debts[sub.Filter].sub = sub
	}
}

// storeOwedLocked notes in the Session what is owed to a subscription, with what was
// just queued for it. The caller holds cl.mu and the gate.
func (cl *Client) storeOwedLocked(d *debt, now time.Time, l *pending) {
	if control.Broken(control.OwedNotStored) || (cl.sess.Owes(d.sub.Filter) && control.Broken(control.OwedProgressLost)) {
		return
	}
	l.fx.Reset()
	cl.sess.Owe(d.sub.Filter, d.Owed, &l.fx)
	cl.applyLocked(now, l)
}

// restoreOwedLocked brings back what was stored. Versions go on after those in it,
// so that what is retained from now on is not taken for owed. The caller holds
// router.mu and cl.mu.
func (cl *Client) restoreOwedLocked(owed map[string]session.Owed) {
	for filter, stored := range owed {
		sub := cl.sess.Subscription(filter)
		if sub == nil {
			continue // not recovered from a damaged store
		}
		r, s := cl.b.router, cl.storedLocked()
		r.version = max(r.version, stored.UpTo)
		if s.owed == nil {
			s.owed = &backlog{debts: make(map[string]*debt)}
		}
		d := s.owed.owe(sub, stored.UpTo)
		d.After = stored.After
	}
}

// disownLocked forgets what is owed to a subscription. The caller holds cl.mu and the gate.
func (cl *Client) disownLocked(o *backlog, d *debt, now time.Time, l *pending) {
	l.fx.Reset()
	cl.sess.Disown(d.sub.Filter, &l.fx)
	cl.applyLocked(now, l)
	o.drop(d)
	if len(o.debts) == 0 {
		cl.stored.owed = nil
	}
}

// takesRetainedLocked says whether the Client is there and has room for retained
// messages.
func (cl *Client) takesRetainedLocked() bool {
	return cl.conn != nil && cl.sess.Attached() && cl.sess.QueueLen() < feedQueueMax && !cl.sess.Full()
}

// feedLocked delivers what is owed and reports whether to go on: not if nothing is
// or the Client must first read or acknowledge. Messages that were replaced since
// they were found are not in the history any more: the Client was or will be sent
// what replaced them. The caller holds router.mu, cl.mu and the gate.
func (cl *Client) feedLocked(now time.Time, l *pending) (more bool) {
	o := cl.owedLocked()
	if o == nil {
		return false
	}
	f := feeding{visits: walkMax, items: scanStep, ends: debtsAtEnd, now: now, l: l}
	for range feedStep {
		if !cl.takesRetainedLocked() {
			return false
		}
		d, at := cl.nextOwedLocked(o, &f)
		if d == nil {
			break
		}
		d.After = at.version
		cl.deliverRetainedLocked(at.message, d.sub, now, l)
		cl.storeOwedLocked(d, now, l)
	}
	return cl.owedLocked() != nil
}

// feedFoundLocked delivers what was found for new subscriptions in the step that
// made them. cl.mu is held since, so nothing can have overtaken it, and the router
// is free again. What cannot be delivered now is searched for once more later.
func (cl *Client) feedFoundLocked(made []*debt, now time.Time, l *pending) {
	for _, d := range made {
		if !d.searched || d.waiting == nil { // it takes long, or it came twice and is done
			continue
		}
		found := d.found
		d.searched, d.found = false, nil
		for len(found) > 0 && cl.takesRetainedLocked() {
			d.After = found[0].version
			cl.deliverRetainedLocked(found[0].message, d.sub, now, l)
			found = found[1:]
		}
		if len(found) > 0 {
			cl.storeOwedLocked(d, now, l)
		} else {
			cl.disownLocked(cl.owedLocked(), d, now, l)
		}
	}
}

// startFeedLocked makes a goroutine deliver what is owed if there is something and
// the Client can take it.
func (cl *Client) startFeedLocked() {
	if cl.owedLocked() != nil && !cl.feeding && cl.conn != nil && cl.sess.QueueLen() < feedQueueMax/2 && !cl.sess.Full() {
		cl.feeding = true
		go cl.feed(cl.conn)
	}
}

// feed delivers what is owed at the pace at which c takes it.
func (cl *Client) feed(c *conn) {
	ended := false
	defer func() {
		if !ended { // it panicked: another connection may try again
			c.out.Abort()
			cl.mu.Lock()
			defer cl.mu.Unlock()
			cl.endFeedLocked(c)
		}
	}()
	defer cl.b.recoverPanic("delivering retained messages")
	var l pending
	for more := true; more; {
		if room := c.out.Room(); room != nil {
			<-room
		}
		more = cl.feedStep(c, &l)
		l.flush(cl.b.m)
	}
	ended = true
}

// feedStep delivers a few messages and reports whether to go on.
func (cl *Client) feedStep(c *conn, l *pending) (more bool) {
	b := cl.b
	b.commits.Enter()
	defer b.commits.Leave()
	b.router.mu.RLock()
	defer b.router.mu.RUnlock()
	cl.mu.Lock()
	defer cl.mu.Unlock()
	control.Panic(control.PanicInFeed)
	more = cl.conn == c && cl.feedLocked(b.clock.Now(), l)
	if !more {
		cl.endFeedLocked(c)
	}
	return more
}

// endFeedLocked notes that nothing is delivered to c any more.
func (cl *Client) endFeedLocked(c *conn) {
	cl.feeding = false
	if cl.conn != c { // taken over meanwhile
		cl.startFeedLocked()
	}
}
