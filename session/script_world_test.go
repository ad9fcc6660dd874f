package session_test

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// A world is all that a script is about: Clients and their Sessions, the open
// commit group, and what is on disk. It does with the Effects what the broker
// does, and notes them as text.
type world struct {
	denied  map[string]bool // messages that no Client may have
	limits  session.Limits
	now     time.Time
	clients map[string]*client
	client  *client // whom the steps are about
	lastID  session.ID

	group map[session.ID]*session.Writes // open, not committed
	disk  map[session.ID]*stored

	fx   session.Effects
	text []string
}

// A client is one Client Identifier: its Session and what its Client has seen.
type client struct {
	id        string
	s         *session.Session // nil: none
	expiresAt time.Time        // of s without a connection; zero: never
	kept      *session.Session // has the Will that the last process left; nil: none
	ended     *session.Session // has messages on disk for others; nil: none
	endedFrom uint64           // from this Seq on

	version        codec.Version
	maximum        int  // Receive Maximum
	packetBytesMax int  // Maximum Packet Size; 0: none
	present        bool // CONNACK says Session Present

	held     []session.Send // await the commit
	ids      map[string]uint16
	wire     map[uint16]bool // Packet Identifiers in flight on this connection
	read     *page
	queue    string            // the queue, as it was last told
	messages map[uint64]string // the name of each Seq
}

// stored is what is on disk of one Session.
type stored struct {
	record  *session.Record
	will    *session.Will
	subs    map[string]*session.Subscription
	owed    map[string]session.Owed
	state   []byte
	entries map[uint64]session.Entry
}

// A page is what was read from a queue on disk and not yet given to the Session.
type page struct {
	entries []session.Entry
	upTo    uint64
}

var errNoSession = errors.New("the Client has no Session")

func newWorld() *world {
	w := &world{
		limits: session.Limits{
			WindowMessages: 8, WindowBytes: 1 << 20, QueueMessages: 1000, QueueBytes: 1 << 30,
			Policy: session.Reject, Inflight: 20,
		},
		now:     time.Unix(1e9, 0),
		clients: make(map[string]*client),
		group:   make(map[session.ID]*session.Writes),
		disk:    make(map[session.ID]*stored),
	}
	w.choose("c")
	return w
}

// choose makes the following steps about this Client.
func (w *world) choose(id string) { w.client = w.clientOf(id) }

func (w *world) clientOf(id string) *client {
	if w.clients[id] == nil {
		w.clients[id] = &client{id: id, ids: make(map[string]uint16), messages: make(map[uint64]string)}
	}
	return w.clients[id]
}

// run carries out one step and returns what it did.
func (w *world) run(line string) ([]string, error) {
	fields := strings.Fields(line)
	step, ok := steps[fields[0]]
	if !ok {
		return nil, errors.New("unknown step")
	}
	a, err := parseArgs(fields[1:])
	if err != nil {
		return nil, err
	}
	if step.session && w.client.s == nil {
		return nil, errNoSession
	}
	w.text = nil
	w.fx.Reset()
	if err := step.do(w, a); err != nil {
		return nil, err
	}
	return w.text, a.end()
}

func (w *world) say(format string, values ...any) {
	w.text = append(w.text, fmt.Sprintf(format, values...))
}

// writes are the open group's for a Session.
func (w *world) writes(id session.ID) *session.Writes {
	if w.group[id] == nil {
		w.group[id] = new(session.Writes)
	}
	return w.group[id]
}

// apply notes the Effects of an event of s as text, merges their writes into the open
// group, and sends what need not wait for it.
func (w *world) apply(c *client, s *session.Session) error {
	fx := &w.fx
	w.storeRows(s)
	w.store(c, s)
	for _, drop := range []struct {
		reason string
		n      int
	}{
		{"expired", fx.Expired}, {"too large", fx.TooLarge}, {"too old", fx.TooOld},
		{"the newest", fx.DroppedNewest}, {"the oldest", fx.DroppedOldest},
	} {
		if drop.n > 0 {
			w.say("drop %d: %s", drop.n, drop.reason)
		}
	}
	var denied []session.Send
	for _, send := range fx.Sends {
		if send.Message != nil && w.denied[nameOf(send.Message)] {
			w.say("deny %s", w.packet(&send))
			denied = append(denied, send)
			continue
		}
		after := ""
		if send.AfterCommit {
			after = ", after commit"
		}
		w.say("send %s%s", w.packet(&send), after)
		if send.AfterCommit && w.group[s.ID] != nil {
			c.held = append(c.held, send)
		} else if err := c.send(send); err != nil {
			return err
		}
	}
	if fx.Page {
		w.say("page wanted")
	}
	w.tellQueue(c)
	fx.Reset()
	for i := range denied {
		if e := s.Deny(&denied[i], w.now, fx); denied[i].MayGoOn() {
			w.say("for another member: %s", nameOf(e.Message))
		}
		if err := w.apply(c, s); err != nil {
			return err
		}
	}
	return nil
}

// storeRows merges what changes beside the queue and the State into the open group.
func (w *world) storeRows(s *session.Session) {
	r := w.fx.Rows
	if r == nil {
		return
	}
	for _, row := range rowsText(r, w.now) {
		w.say("%s, %s", row, [...]string{"lazily", "soon", "must commit"}[r.Urgency])
	}
	if r.Ended && !s.Durable() && w.group[s.ID] != nil { // all that it wrote is in this group
		w.say("never written")
		delete(w.group, s.ID)
		return
	}
	w.writes(s.ID).Merge(r)
}

// store merges what changes of the queue and the State into the open group.
func (w *world) store(c *client, s *session.Session) {
	fx := &w.fx
	for _, e := range fx.Entries {
		c.messages[e.Seq] = nameOf(e.Message)
		awaited := ""
		if fx.Awaited {
			awaited = ", awaited"
		}
		w.say("store %s%s", entryText(&e), awaited)
	}
	if len(fx.Entries) > 0 {
		g := w.writes(s.ID)
		g.Entries = append(g.Entries, fx.Entries...)
	}
	state := fx.State || fx.DroppedNewest+fx.DroppedOldest > 0 // it has the number of them
	for _, seq := range fx.Removed {
		how := ""
		if fx.Acknowledged {
			how = ", for good"
		}
		if _, struck := w.group[s.ID].Strike(seq); struck {
			how += ", never written"
		} else {
			state = true
		}
		w.say("remove %d: %s%s", seq, c.messages[seq], how)
	}
	for _, r := range fx.DiscardedRanges {
		w.say("discard %d to %d, where they stand together", r.First, r.Last)
		g := w.writes(s.ID)
		g.DiscardedRanges = append(g.DiscardedRanges, r)
	}
	for _, seq := range fx.Discarded {
		w.say("discard %d: %s", seq, c.messages[seq])
	}
	if len(fx.Discarded) > 0 {
		g := w.writes(s.ID)
		g.Discarded = append(g.Discarded, fx.Discarded...)
	}
	if fx.State {
		w.say("write state")
	}
	if state && s.Durable() {
		g := w.writes(s.ID)
		g.State, g.Floor = s.AppendState(g.State[:0]), s.Floor()
	}
}

// commit brings the open group to disk, and sends what waited for it.
func (w *world) commit() error {
	for _, id := range slices.Sorted(maps.Keys(w.group)) {
		w.write(id, w.group[id])
	}
	clear(w.group)
	for _, id := range w.clientIDs() {
		c := w.clients[id]
		for _, s := range c.held {
			w.say("leaves: %s", w.packet(&s))
			if err := c.send(s); err != nil {
				return err
			}
		}
		c.held = nil
	}
	return nil
}

// write brings the writes for one Session to disk, in the order of the store.
func (w *world) write(id session.ID, g *session.Writes) {
	if g.Ended {
		delete(w.disk, id)
		return
	}
	d := w.disk[id]
	if d == nil {
		d = &stored{
			subs: make(map[string]*session.Subscription), owed: make(map[string]session.Owed), entries: make(map[uint64]session.Entry),
		}
		w.disk[id] = d
	}
	if g.Record != nil {
		d.record = g.Record
	}
	if g.HasWill {
		d.will = g.Will
	}
	for filter, sub := range g.Subscriptions {
		if d.subs[filter] = sub; sub == nil {
			delete(d.subs, filter)
		}
	}
	for _, filter := range slices.Sorted(maps.Keys(g.Owed)) {
		_, stored := d.owed[filter]
		if d.owed[filter] = g.Owed[filter]; d.owed[filter] == (session.Owed{}) {
			if delete(d.owed, filter); !stored {
				w.say("removed though not stored: owed %s", filter)
			}
		}
	}
	if g.State != nil {
		d.state = slices.Clone(g.State)
	}
	maps.DeleteFunc(d.entries, func(seq uint64, _ session.Entry) bool { return seq < g.Floor })
	for _, seq := range g.Discarded {
		delete(d.entries, seq)
	}
	for _, r := range g.DiscardedRanges {
		maps.DeleteFunc(d.entries, func(seq uint64, _ session.Entry) bool { return r.First <= seq && seq <= r.Last })
	}
	for _, e := range g.Entries {
		if e.Message != nil {
			d.entries[e.Seq] = e
		}
	}
}

// readFrom returns the stored entries from a Seq on, in order: until they are so
// many or so large, and one at least.
func (w *world) readFrom(id session.ID, from uint64, messages, bytes int) (entries []session.Entry) {
	d := w.disk[id]
	if d == nil {
		return nil
	}
	for _, seq := range slices.Sorted(maps.Keys(d.entries)) {
		if seq < from {
			continue
		}
		e := d.entries[seq]
		entries = append(entries, e)
		if messages, bytes = messages-1, bytes-e.Bytes(); messages <= 0 || bytes <= 0 {
			break
		}
	}
	return entries
}

// load returns what a store tells a start of a Session.
func (d *stored) load() *session.Loaded {
	l := &session.Loaded{Record: *d.record, Will: d.will, State: d.state, Owed: d.owed}
	for _, filter := range slices.Sorted(maps.Keys(d.subs)) {
		l.Subscriptions = append(l.Subscriptions, *d.subs[filter])
	}
	for _, seq := range slices.Sorted(maps.Keys(d.entries)) {
		if l.FirstSeq == 0 {
			l.FirstSeq = seq
		}
		e := d.entries[seq]
		l.NextSeq = seq + 1
		l.QueuedBytes += uint64(e.Bytes())
	}
	return l
}

// start brings the Sessions back from the disk. What ended with the process is
// noted and committed before anybody connects. No Session Expiry Interval may be longer
// than so many seconds.
func (w *world) start(expirySecondsMax uint32) error {
	clear(w.group)
	for _, c := range w.clients { // they know what they were sent
		*c = client{id: c.id, ids: c.ids, messages: c.messages}
	}
	for _, id := range w.diskIDs() {
		d := w.disk[id]
		l, c := d.load(), w.clientOf(d.record.ClientID)
		for seq, e := range d.entries {
			c.messages[seq] = nameOf(e.Message)
		}
		w.lastID = max(w.lastID, id)
		if l.HoldsKeptWill() {
			c.kept, c.expiresAt = session.RestoreKeptWill(l, &w.limits), w.now.Add(willGrace)
			w.say("restored the %s of %s", willText(l.Will, w.now), c.id)
			continue
		}
		s, err := session.Restore(l, &w.limits)
		if err != nil {
			return err
		}
		w.say("restored %s: %s", c.id, sessionText(s))
		if c.s != nil { // of two the older one has ended
			c.end(c.s)
		}
		c.s, c.queue = s, queueText(s)
		w.fx.Reset()
		c.expiresAt = s.Resume(&l.Record, expirySecondsMax, w.now, &w.fx)
		if err := w.apply(c, s); err != nil {
			return err
		}
	}
	return cmp.Or(w.expire(), w.commit())
}

// willGrace is mqtt.will-grace.
const willGrace = 5 * time.Second

// expire does what is due: of Sessions without a connection, and of Wills that the
// last process left.
func (w *world) expire() error {
	for _, id := range w.clientIDs() {
		c := w.clients[id]
		over := !c.expiresAt.IsZero() && !w.now.Before(c.expiresAt)
		w.fx.Reset()
		switch {
		case c.kept != nil && over:
			if err := w.dropKept(c, true); err != nil {
				return err
			}
		case c.s == nil || c.s.Attached():
		case over:
			if err := w.endSession(c); err != nil {
				return err
			}
		default:
			will := c.s.TakeDueWill(w.now, &w.fx)
			if err := w.apply(c, c.s); err != nil {
				return err
			}
			w.publish(will)
		}
	}
	return nil
}

// dropKept removes a Will that the last process left: it is published, or void.
func (w *world) dropKept(c *client, published bool) error {
	s := c.kept
	c.kept, c.expiresAt = nil, time.Time{}
	w.fx.Reset()
	closed := s.End(w.now, &w.fx)
	if published {
		w.publish(closed.Will)
	}
	return w.apply(c, s)
}

// publish notes that a Will Message is routed.
func (w *world) publish(will *session.Will) {
	if will != nil {
		w.say("publish will %s qos=%d", nameOf(will.Message), will.Message.QoS)
	}
}

// endSession ends the Session of a Client that has no connection.
func (w *world) endSession(c *client) error {
	w.fx.Reset()
	closed := c.s.End(w.now, &w.fx)
	return w.closed(c, closed)
}

// closed does what is left to be done when a connection or a Session has ended.
func (w *world) closed(c *client, closed session.Closed) error {
	s := c.s
	c.expiresAt = closed.ExpiresAt
	if err := w.apply(c, s); err != nil {
		return err
	}
	w.publish(closed.Will)
	if !closed.Ended {
		return nil
	}
	c.s, c.queue = nil, ""
	w.say("session %d ends", s.ID)
	if s.HasShared() {
		w.say("for others: %s", namesOf(s.TakeShared(nil, true, new(session.Effects))))
	}
	if closed.Spilled {
		w.say("for others, on disk: %d at most", s.Unsent())
		c.end(s)
	} else if n := s.Unsent(); n > 0 {
		w.say("drop %d: session ended", n)
	}
	return nil
}

// end notes that a Session has ended with messages on disk for others.
func (c *client) end(s *session.Session) {
	c.ended = s
	c.endedFrom, _ = s.PageFrom()
}

func (w *world) clientIDs() []string   { return slices.Sorted(maps.Keys(w.clients)) }
func (w *world) diskIDs() []session.ID { return slices.Sorted(maps.Keys(w.disk)) }

// send notes what the Client gets: no Packet Identifier twice at once, and no more
// than it lets be in flight.
func (c *client) send(s session.Send) error {
	if s.Message != nil {
		if c.wire[s.PacketID] {
			return fmt.Errorf("Packet Identifier %d is in use twice", s.PacketID)
		}
		c.ids[nameOf(s.Message)] = s.PacketID
	}
	if c.wire[s.PacketID] = true; len(c.wire) > c.maximum {
		return fmt.Errorf("%d in flight with a Receive Maximum of %d", len(c.wire), c.maximum)
	}
	return nil
}
