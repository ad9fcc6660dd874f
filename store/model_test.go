package store

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

var seedFlag = flag.Uint64("seed", 0, "replays a randomised test with this seed")

// newRand returns the random source of a test, and prints the seed that replays it.
func newRand(tb testing.TB) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	tb.Logf("replay with -seed=%d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

func testOptions(dir string) Options {
	o := DefaultOptions()
	o.DataDir = dir
	o.Synchronous = "OFF"
	o.BusyTimeout = 5 * time.Second
	return o
}

func openTest(tb testing.TB, o Options) *DB {
	tb.Helper()
	db, err := Open(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

func apply(tb testing.TB, db *DB, b *session.Batch) {
	tb.Helper()
	if err := db.Apply(b); err != nil {
		tb.Fatal(err)
	}
}

// A stored is what the model knows of one Session.
type stored struct {
	record  session.Record
	will    *session.Will
	subs    map[string]session.Subscription
	owed    map[string]session.Owed
	state   []byte
	floor   uint64
	next    uint64
	entries []session.Entry
}

// A model does in memory what a DB does on disk.
type model struct {
	r        *rand.Rand
	sessions map[session.ID]*stored
	retained map[string]session.RetainedWrite
	version  uint64
	nextID   session.ID
}

func newModel(r *rand.Rand, next session.ID) *model {
	return &model{r: r, sessions: map[session.ID]*stored{}, retained: map[string]session.RetainedWrite{}, nextID: next}
}

func (m *model) bytes(most int) []byte {
	b := make([]byte, m.r.IntN(most+1))
	for i := range b {
		b[i] = byte(m.r.Uint32())
	}
	return b
}

// time is zero or a time in whole milliseconds, which is what is stored.
func (m *model) time() time.Time {
	if m.r.IntN(2) == 0 {
		return time.Time{}
	}
	return time.UnixMilli(1 + m.r.Int64N(8e12))
}

func (m *model) message() *session.Message {
	most := 300
	if m.r.IntN(40) == 0 {
		most = 300 << 10 // more than a run holds
	}
	return &session.Message{
		Topic: fmt.Sprintf("topic/%d", m.r.IntN(30)), Payload: m.bytes(most), Forward: m.bytes(m.r.IntN(2) * 40),
		QoS: codec.QoS(m.r.IntN(3)), Retain: m.r.IntN(2) == 0, ExpiresAt: m.time(),
	}
}

// batch returns a random batch and changes the model as it must change the store.
func (m *model) batch() *session.Batch {
	b := session.NewBatch()
	ids := slices.Sorted(maps.Keys(m.sessions))
	for _, id := range ids {
		switch m.r.IntN(12) {
		case 0:
			b.Sessions[id] = &session.Writes{Ended: true, State: []byte("ignored")}
			delete(m.sessions, id)
		case 1, 2, 3, 4:
		default:
			b.Sessions[id] = m.change(id, m.sessions[id])
		}
	}
	for len(m.sessions) < 6 && m.r.IntN(2) == 0 {
		m.create(b)
	}
	m.queue(b)
	for range m.r.IntN(3) {
		m.retain(b)
	}
	return b
}

func (m *model) create(b *session.Batch) {
	id := m.nextID
	m.nextID += session.ID(1 + m.r.IntN(3))
	s := &stored{subs: map[string]session.Subscription{}, owed: map[string]session.Owed{}, next: 1, floor: 1}
	m.sessions[id] = s
	b.Sessions[id] = m.change(id, s)
	s.record = m.record(id)
	r := s.record
	b.Sessions[id].Record = &r
}

func (m *model) record(id session.ID) session.Record {
	return session.Record{
		ID: id, ClientID: fmt.Sprintf("client\xff%d", id%7), UserName: string(m.bytes(5)), Version: codec.Version(3 + m.r.IntN(3)),
		ExpirySeconds: m.r.Uint32(), Connected: m.r.IntN(2) == 0, ExpiresAt: m.time(),
	}
}

func (m *model) change(id session.ID, s *stored) *session.Writes {
	w := &session.Writes{}
	if m.r.IntN(3) == 0 {
		user, client := s.record.UserName, s.record.ClientID
		if client != "" { // neither changes while the Session lasts
			s.record = m.record(id)
			s.record.UserName, s.record.ClientID = user, client
			r := s.record
			w.Record = &r
		}
	}
	if m.r.IntN(4) == 0 {
		w.HasWill, w.Will = true, nil
		if m.r.IntN(3) > 0 {
			w.Will = &session.Will{Message: m.message(), DelaySeconds: m.r.Uint32(), DueAt: m.time()}
			if m.r.IntN(2) == 0 {
				w.Will.HasMessageExpiry, w.Will.MessageExpirySeconds = true, m.r.Uint32()
			}
		}
		s.will = w.Will
	}
	if m.r.IntN(3) == 0 {
		w.Subscriptions = map[string]*session.Subscription{}
		for range 1 + m.r.IntN(3) {
			m.subscribe(w, s)
		}
	}
	if m.r.IntN(3) == 0 {
		w.Owed = map[string]session.Owed{}
		for range 1 + m.r.IntN(3) {
			m.owe(w, s)
		}
	}
	if m.r.IntN(2) == 0 {
		at := s.floor + uint64(m.r.IntN(int(s.next-s.floor)+1))
		w.State = (&session.State{Floor: s.floor, Sent: at, Next: s.next}).Append(nil)
		s.state = w.State
	}
	if m.r.IntN(2) == 0 {
		s.floor += uint64(m.r.IntN(int(s.next-s.floor) + 1))
		w.Floor = s.floor
	}
	if m.r.IntN(3) == 0 {
		m.discard(w, s)
	}
	return w
}

// discard removes stored entries, single ones or many that follow each other,
// and some that are not there.
func (m *model) discard(w *session.Writes, s *stored) {
	from, share := m.r.IntN(len(s.entries)+1), m.r.IntN(3)
	s.entries = slices.DeleteFunc(s.entries, func(e session.Entry) bool {
		from--
		if from >= 0 || m.r.IntN(3) < share {
			return false
		}
		w.Discarded = append(w.Discarded, e.Seq)
		return true
	})
	if m.r.IntN(2) == 0 { // and all behind a Seq, or all up to it
		at := s.floor + m.r.Uint64N(s.next-s.floor+1)
		r := session.SeqRange{First: at, Last: s.next}
		if m.r.IntN(2) == 0 {
			r = session.SeqRange{First: 1, Last: at}
		}
		w.DiscardedRanges = append(w.DiscardedRanges, r)
		s.entries = slices.DeleteFunc(s.entries, func(e session.Entry) bool {
			if e.Seq < r.First || e.Seq > r.Last {
				return false
			}
			w.Discarded = append(w.Discarded, e.Seq) // of those in one run with others
			return true
		})
	}
	w.Discarded = append(w.Discarded, s.next, 1<<40)
	m.r.Shuffle(len(w.Discarded), func(i, j int) {
		w.Discarded[i], w.Discarded[j] = w.Discarded[j], w.Discarded[i]
	})
}

func (m *model) subscribe(w *session.Writes, s *stored) {
	filter := fmt.Sprintf("$share/g/filter/%d", m.r.IntN(8))
	if m.r.IntN(3) == 0 {
		w.Subscriptions[filter] = nil
		delete(s.subs, filter)
		return
	}
	sub := session.Subscription{
		Filter: filter, QoS: codec.QoS(m.r.IntN(3)), NoLocal: m.r.IntN(2) == 0, RetainAsPublished: m.r.IntN(2) == 0,
		RetainHandling: byte(m.r.IntN(3)), ID: m.r.Uint32N(1 << 28),
	}
	w.Subscriptions[filter] = &sub
	s.subs[filter] = sub
}

func (m *model) owe(w *session.Writes, s *stored) {
	filter := fmt.Sprintf("filter/%d", m.r.IntN(4))
	w.Owed[filter] = session.Owed{}
	delete(s.owed, filter)
	if m.r.IntN(3) > 0 {
		after := m.r.Uint64N(1 << 60)
		s.owed[filter] = session.Owed{After: after, UpTo: after + m.r.Uint64N(1000)}
		w.Owed[filter] = s.owed[filter]
	}
}

// queue routes messages to random Sessions, some to several.
func (m *model) queue(b *session.Batch) {
	ids := slices.Sorted(maps.Keys(m.sessions))
	for range m.r.IntN(20) {
		msg := m.message()
		for _, id := range ids {
			if m.r.IntN(3) > 0 {
				continue
			}
			s, w := m.sessions[id], b.Sessions[id]
			if w == nil {
				w = &session.Writes{}
				b.Sessions[id] = w
			}
			e := session.Entry{Seq: s.next, Message: msg, QoS: codec.QoS(1 + m.r.IntN(2)), Retain: m.r.IntN(2) == 0, QueuedAt: m.time()}
			s.next++
			for range m.r.IntN(3) {
				e.SubscriptionIDs = append(e.SubscriptionIDs, m.r.Uint32())
			}
			if m.r.IntN(3) == 0 {
				e.Share = "$share/g/t"
			}
			if m.r.IntN(5) == 0 { // acknowledged before the commit
				e.Message = nil
			} else {
				s.entries = append(s.entries, e)
			}
			w.Entries = append(w.Entries, e)
		}
	}
}

func (m *model) retain(b *session.Batch) {
	topic := fmt.Sprintf("retained/%d", m.r.IntN(10))
	m.version++
	w := session.RetainedWrite{Version: m.version}
	if m.r.IntN(4) > 0 {
		w.Message = m.message()
		w.Message.Topic = topic
		w.UserName = []string{"", "ann", string(m.bytes(300))}[m.r.IntN(3)]
	}
	if m.r.IntN(6) == 0 { // a late one, which loses to what is stored
		if old, ok := m.retained[topic]; ok && old.Version > 1 {
			if _, twice := b.Retained[topic]; !twice {
				w.Version = old.Version - 1
				b.Retained[topic] = w
			}
			return
		}
	}
	b.Retained[topic] = w
	delete(m.retained, topic)
	if w.Message != nil {
		m.retained[topic] = w
	}
}

func sameMessage(a, b *session.Message) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Topic == b.Topic && bytes.Equal(a.Payload, b.Payload) && bytes.Equal(a.Forward, b.Forward) &&
		a.QoS == b.QoS && a.Retain == b.Retain && a.ExpiresAt.Equal(b.ExpiresAt)
}

func sameEntry(a, b *session.Entry) bool {
	return a.Seq == b.Seq && a.QoS == b.QoS && a.Retain == b.Retain && a.Share == b.Share && a.QueuedAt.Equal(b.QueuedAt) &&
		slices.Equal(a.SubscriptionIDs, b.SubscriptionIDs) && sameMessage(a.Message, b.Message)
}

func sameWill(a, b *session.Will) bool {
	if a == nil || b == nil {
		return a == b
	}
	return sameMessage(a.Message, b.Message) && a.DelaySeconds == b.DelaySeconds && a.DueAt.Equal(b.DueAt) &&
		a.HasMessageExpiry == b.HasMessageExpiry && a.MessageExpirySeconds == b.MessageExpirySeconds
}

func sameRecord(a, b session.Record) bool {
	same := a.ExpiresAt.Equal(b.ExpiresAt)
	a.ExpiresAt, b.ExpiresAt = time.Time{}, time.Time{}
	return same && a == b
}

// compare returns how db differs from the model.
func (m *model) compare(db *DB) error {
	seen := map[session.ID]bool{}
	retained := map[string]bool{}
	err := db.Load(func(l *session.Loaded) error {
		seen[l.Record.ID] = true
		return m.compareSession(l)
	}, func(topic string, r *session.RetainedWrite) error {
		retained[topic] = true
		if want, ok := m.retained[topic]; !ok || want.Version != r.Version || want.UserName != r.UserName || !sameMessage(want.Message, r.Message) {
			return fmt.Errorf("retained %q: version %d of %q, want %d of %q (stored in the model: %v)", topic, r.Version, r.UserName, want.Version, want.UserName, ok)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(seen) != len(m.sessions) || len(retained) != len(m.retained) {
		return fmt.Errorf("loaded %d sessions and %d retained messages, want %d and %d",
			len(seen), len(retained), len(m.sessions), len(m.retained))
	}
	for _, id := range slices.Sorted(maps.Keys(m.sessions)) {
		if err := m.compareQueue(db, id, m.sessions[id]); err != nil {
			return fmt.Errorf("session %d: %w", id, err)
		}
	}
	return nil
}

func (m *model) compareSession(l *session.Loaded) error {
	s := m.sessions[l.Record.ID]
	if s == nil {
		return fmt.Errorf("session %d is still there", l.Record.ID)
	}
	if !sameRecord(l.Record, s.record) || !sameWill(l.Will, s.will) || !bytes.Equal(l.State, s.state) {
		return fmt.Errorf("session %d: loaded %+v, want %+v", l.Record.ID, l, s)
	}
	if len(l.Subscriptions) != len(s.subs) {
		return fmt.Errorf("session %d: %d subscriptions, want %d", l.Record.ID, len(l.Subscriptions), len(s.subs))
	}
	for _, sub := range l.Subscriptions {
		if s.subs[sub.Filter] != sub {
			return fmt.Errorf("session %d: subscription %+v, want %+v", l.Record.ID, sub, s.subs[sub.Filter])
		}
	}
	if !maps.Equal(l.Owed, s.owed) {
		return fmt.Errorf("session %d: owed %v, want %v", l.Record.ID, l.Owed, s.owed)
	}
	var last, live uint64
	for i := range s.entries {
		if last = s.entries[i].Seq; last >= s.floor {
			live += uint64(s.entries[i].Bytes())
		}
	}
	if last < s.floor {
		last = 0
	}
	if last != 0 && (l.NextSeq != last+1 || l.QueuedBytes < live) {
		return fmt.Errorf("session %d: next %d, want %d; %d bytes queued, want %d or more", l.Record.ID, l.NextSeq, last+1, l.QueuedBytes, live)
	}
	return nil
}

// compareQueue pages through the queue, with limits that cut runs anywhere.
func (m *model) compareQueue(db *DB, id session.ID, s *stored) error {
	from := s.floor
	for i := range s.entries {
		if s.entries[i].Seq < s.floor {
			continue
		}
		var page []session.Entry
		var err error
		if page, err = db.Page(id, from, 1+m.r.IntN(10), 1+m.r.IntN(5000)); err != nil {
			return err
		}
		if len(page) == 0 || !sameEntry(&page[0], &s.entries[i]) {
			return fmt.Errorf("from %d on: page %+v, want it to begin with %+v", from, page, s.entries[i])
		}
		for j := range page {
			if i+j >= len(s.entries) || !sameEntry(&page[j], &s.entries[i+j]) {
				return fmt.Errorf("from %d on: entry %d of the page differs", from, j)
			}
		}
		from = s.entries[i].Seq + 1
	}
	if page, err := db.Page(id, from, 10, 10); err != nil || len(page) > 0 {
		return fmt.Errorf("from %d on: %d entries too many, %v", from, len(page), err)
	}
	return nil
}

// rowsOf counts the rows of tables.
func rowsOf(tb testing.TB, db *DB, tables ...string) int64 {
	tb.Helper()
	var sum int64
	for _, table := range tables {
		n, err := queryInt(db.w, "SELECT count(*) FROM "+table)
		if err != nil {
			tb.Fatal(err)
		}
		sum += n
	}
	return sum
}

func TestRandomBatchesAgainstModel(t *testing.T) {
	r := newRand(t)
	for _, keys := range []bool{true, false} {
		o := testOptions(t.TempDir())
		o.ForeignKeys = keys
		o.RemoveRows = 1 + r.IntN(3)
		db := openTest(t, o)
		m := newModel(r, db.NextID())
		for i := range 150 {
			apply(t, db, m.batch())
			if r.IntN(3) == 0 {
				if _, err := db.Remove(); err != nil {
					t.Fatal(err)
				}
			}
			if r.IntN(10) == 0 {
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
				db = openTest(t, o)
				if db.NextID() < m.nextID && len(m.sessions) > 0 && db.NextID() <= slices.Max(slices.Collect(maps.Keys(m.sessions))) {
					t.Fatalf("batch %d: NextID %d is in use", i, db.NextID())
				}
			}
			if i%5 == 4 {
				if err := m.compare(db); err != nil {
					t.Fatalf("batch %d: %v", i, err)
				}
			}
		}
		b := session.NewBatch()
		for id := range m.sessions {
			b.Sessions[id] = &session.Writes{Ended: true}
		}
		apply(t, db, b)
		removeAll(t, db)
		if n := rowsOf(t, db, "session", "unsummed", "subscription", "owed", "state", "will", "run", "body", "body_ref"); n != 0 {
			t.Errorf("%d rows are left after every session ended", n)
		}
	}
}

// Acknowledging everything leaves no row of any queue, whatever was shared.
func TestNoGarbageAfterAcknowledgement(t *testing.T) {
	r := newRand(t)
	db := openTest(t, testOptions(t.TempDir()))
	m := newModel(r, db.NextID())
	for range 60 {
		apply(t, db, m.batch())
	}
	b := session.NewBatch()
	for id, s := range m.sessions {
		b.Sessions[id] = &session.Writes{Floor: s.next}
	}
	apply(t, db, b)
	removeAll(t, db)
	if n := rowsOf(t, db, "run", "body", "body_ref"); n != 0 {
		t.Errorf("%d rows are left after everything was acknowledged", n)
	}
}
