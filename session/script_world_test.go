package session_test

import (
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
	id             string
	s              *session.Session // nil: none
	held           []session.Send   // await the commit
	ids            map[string]uint16
	wire           map[uint16]bool // Packet Identifiers in flight on this connection
	maximum        int             // the Client's Receive Maximum
	packetBytesMax int             // its Maximum Packet Size; 0: none
	present        bool            // CONNACK says Session Present
	read           *page
	queue          string // the queue, as it was last told
	messages       map[uint64]string
}

// stored is what is on disk of one Session.
type stored struct {
	record  *session.Record
	will    *session.Will
	subs    map[string]*session.Subscription
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
func (w *world) choose(id string) {
	if w.clients[id] == nil {
		w.clients[id] = &client{id: id, ids: make(map[string]uint16), messages: make(map[uint64]string)}
	}
	w.client = w.clients[id]
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

// apply notes the Effects of an event as text, merges their writes into the open
// group, and sends what need not wait for it.
func (w *world) apply(c *client) error {
	w.store(c)
	fx := &w.fx
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
	for _, s := range fx.Sends {
		after := ""
		if s.AfterCommit {
			after = ", after commit"
		}
		w.say("send %s%s", w.packet(&s), after)
		if s.AfterCommit && w.group[c.s.ID] != nil {
			c.held = append(c.held, s)
		} else if err := c.send(s); err != nil {
			return err
		}
	}
	if fx.Page {
		w.say("page wanted")
	}
	w.tellQueue(c)
	fx.Reset()
	return nil
}

// store merges the writes of the Effects into the open group.
func (w *world) store(c *client) {
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
		g := w.writes(c.s.ID)
		g.Entries = append(g.Entries, fx.Entries...)
	}
	state := fx.State || fx.DroppedNewest+fx.DroppedOldest > 0 // it has the number of them
	for _, seq := range fx.Removed {
		how := ""
		if fx.Acknowledged {
			how = ", for good"
		}
		if _, struck := w.group[c.s.ID].Strike(seq); struck {
			how += ", never written"
		} else {
			state = true
		}
		w.say("remove %d: %s%s", seq, c.messages[seq], how)
	}
	for _, seq := range fx.Discarded {
		w.say("discard %d: %s", seq, c.messages[seq])
	}
	if len(fx.Discarded) > 0 {
		g := w.writes(c.s.ID)
		g.Discarded = append(g.Discarded, fx.Discarded...)
	}
	if fx.State {
		w.say("write state")
	}
	if state && c.s.Durable() {
		w.putState(c.s)
	}
}

// putState puts the State into the open group, and from where on the queue is not done.
func (w *world) putState(s *session.Session) {
	g := w.writes(s.ID)
	g.State, g.Floor = s.AppendState(g.State[:0]), s.Floor()
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
		d = &stored{subs: make(map[string]*session.Subscription), entries: make(map[uint64]session.Entry)}
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
	if g.State != nil {
		d.state = slices.Clone(g.State)
	}
	maps.DeleteFunc(d.entries, func(seq uint64, _ session.Entry) bool { return seq < g.Floor })
	for _, seq := range g.Discarded {
		delete(d.entries, seq)
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
	l := &session.Loaded{Record: *d.record, Will: d.will, State: d.state}
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

// start brings the Sessions back from the disk. What a connection that the end of
// the process ended leaves to be noted is committed before anybody connects.
func (w *world) start() error {
	w.group = make(map[session.ID]*session.Writes)
	for _, c := range w.clients {
		c.s, c.held, c.read, c.wire = nil, nil, nil, nil
	}
	for _, id := range w.diskIDs() {
		d := w.disk[id]
		s, err := session.Restore(d.load(), &w.limits)
		if err != nil {
			return err
		}
		w.lastID = max(w.lastID, id)
		before := w.client
		w.choose(d.record.ClientID)
		w.client.s = s
		w.say("restored %s: %s", s.ClientID, sessionText(s))
		w.client.queue = queueText(s)
		w.client = before
		if d.record.Connected {
			w.writes(id).Record = s.Record(false, w.now)
			w.putState(s)
		}
	}
	return w.commit()
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

// nameOf is the message's name in the script, with which its payload begins.
func nameOf(m *session.Message) string {
	name, _, _ := strings.Cut(string(m.Payload), " ")
	return name
}

func entryText(e *session.Entry) string {
	text := fmt.Sprintf("%d: %s qos=%d", e.Seq, nameOf(e.Message), e.QoS)
	if e.Share != "" {
		text += " share=" + strings.TrimPrefix(e.Share, "$share/")
	}
	return text
}

// packet is what is sent, as text.
func (w *world) packet(s *session.Send) string {
	if s.Message == nil {
		return fmt.Sprintf("PUBREL id=%d", s.PacketID)
	}
	text := fmt.Sprintf("PUBLISH %s qos=%d id=%d", nameOf(s.Message), s.QoS, s.PacketID)
	if s.Dup {
		text += " dup"
	}
	if s.Retain {
		text += " retain"
	}
	if s.SubscriptionIDs != nil {
		text += fmt.Sprintf(" subscription-ids=%d", s.SubscriptionIDs)
	}
	if seconds, ok := s.Message.RemainingExpirySeconds(w.now); ok {
		text += fmt.Sprintf(" expiry=%ds", seconds)
	}
	return text
}

// queueText is how long the Session's queue is, and what makes it full.
func queueText(s *session.Session) string {
	switch n := s.QueueLen(); s.FullBy() {
	case session.ByMessages:
		return fmt.Sprintf("queue %d, full by messages", n)
	case session.ByBytes:
		return fmt.Sprintf("queue %d, full by bytes", n)
	default:
		return fmt.Sprintf("queue %d", n)
	}
}

// tellQueue tells of the queue if it has changed.
func (w *world) tellQueue(c *client) {
	if c.s == nil {
		return
	}
	if q := queueText(c.s); q != c.queue {
		w.say("%s", q)
		c.queue = q
	}
}

// sessionText is what a Session says of itself: no more than the broker can ask.
func sessionText(s *session.Session) string {
	text := queueText(s)
	if n := s.ReceivingCount(); n > 0 {
		var ids []string
		for id := range 1 << 16 {
			if s.Receiving(uint16(id)) {
				ids = append(ids, fmt.Sprint(id))
			}
		}
		text += ", awaits PUBREL for " + strings.Join(ids, " ")
	}
	return text
}

// resume is what a Client would be sent that connects with all of the queue read,
// and how many messages it would be told are lost.
func (w *world) resume(s *session.Session, id session.ID) (text []string) {
	lost := s.TakeLost()
	var fx session.Effects
	s.Attach(65535, 0, w.now, &fx)
	for fx.Page {
		fx.Page = false
		from, upTo := s.PageFrom()
		messages, bytes := s.PageSize()
		s.Paged(w.readFrom(id, from, messages, bytes), upTo, w.now, &fx)
	}
	for _, send := range fx.Sends {
		text = append(text, w.packet(&send))
	}
	if fx.Expired > 0 {
		text = append(text, fmt.Sprintf("%d expired", fx.Expired))
	}
	if lost > 0 {
		text = append(text, fmt.Sprintf("%d dropped", lost))
	}
	return text
}

// diskText is what is on disk of a Session, and what a start would make of it.
func (w *world) diskText(d *stored) (text []string, err error) {
	r := d.record
	state := "connected"
	if !r.Connected {
		state = "disconnected"
	}
	if !r.ExpiresAt.IsZero() {
		state += fmt.Sprintf(", expires in %v", r.ExpiresAt.Sub(w.now))
	}
	text = append(text, fmt.Sprintf("session %d of %s: %s", r.ID, r.ClientID, state))
	if d.will != nil {
		text = append(text, willText(d.will, w.now))
	}
	for _, filter := range slices.Sorted(maps.Keys(d.subs)) {
		text = append(text, subscriptionText(d.subs[filter]))
	}
	for _, seq := range slices.Sorted(maps.Keys(d.entries)) {
		e := d.entries[seq]
		text = append(text, entryText(&e))
	}
	s, err := session.Restore(d.load(), &w.limits)
	if err != nil {
		return nil, err
	}
	text = append(text, "a start finds "+sessionText(s))
	for _, resumed := range w.resume(s, r.ID) {
		text = append(text, "then "+resumed)
	}
	return text, nil
}

func willText(will *session.Will, now time.Time) string {
	text := "will " + nameOf(will.Message)
	if will.DelaySeconds > 0 {
		text += fmt.Sprintf(", delayed by %ds", will.DelaySeconds)
	}
	if !will.DueAt.IsZero() {
		text += fmt.Sprintf(", due in %v", will.DueAt.Sub(now))
	}
	return text
}

func subscriptionText(sub *session.Subscription) string {
	text := fmt.Sprintf("subscription %s qos=%d", sub.Filter, sub.QoS)
	if sub.ID != 0 {
		text += fmt.Sprintf(" id=%d", sub.ID)
	}
	return text
}

// versionOf is the protocol version of a word.
func versionOf(a *args) codec.Version {
	switch v := a.text("version", "5"); v {
	case "5":
		return codec.Version5
	case "3.1.1":
		return codec.Version311
	default:
		a.fail("unknown version %q", v)
		return 0
	}
}

// ofBytes is the payload of a message that accounts for so many bytes as an entry.
func ofBytes(name string, bytes int) ([]byte, error) {
	e := session.Entry{Message: &session.Message{Topic: "t", Payload: []byte(name)}}
	pad := bytes - e.Bytes()
	if bytes > 0 && pad < 0 {
		return nil, fmt.Errorf("an entry has %d bytes at least", e.Bytes())
	}
	return []byte(name + strings.Repeat(" ", max(pad, 0))), nil
}

// secondsOf is a duration in whole seconds, or NeverExpires.
func secondsOf(a *args, name string, otherwise uint32) uint32 {
	if a.values[name] == "never" {
		delete(a.values, name)
		return session.NeverExpires
	}
	d, ok := a.duration(name)
	if !ok {
		return otherwise
	}
	return uint32(d / time.Second)
}
