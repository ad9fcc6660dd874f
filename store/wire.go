package store

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// wireFormat is the first byte of a Batch as bytes.
const wireFormat = 1

// What a Session's Writes have, in one number each.
const (
	wireEnded = 1 << iota
	wireRecord
	wireHasWill
	wireWill
	wireState
	wireFloor
)

// AppendBatch appends b as bytes, from which DecodeBatch makes a Batch that changes a store as b does. Equal
// Batches give equal bytes. A message that several entries share is there once; entries without
// one are not there. It keeps nothing of b.
func AppendBatch(dst []byte, b *session.Batch) []byte {
	e := wireEncoder{b: append(dst, wireFormat), numbers: make(map[*session.Message]uint64)}
	e.uvarint(uint64(unixMilli(b.Time)))
	e.uvarint(uint64(unixMilli(b.System)))
	e.uvarint(uint64(len(b.Sessions)))
	for _, id := range slices.Sorted(maps.Keys(b.Sessions)) {
		e.uvarint(uint64(id))
		e.writes(b.Sessions[id])
	}
	e.uvarint(uint64(len(b.Retained)))
	for _, topic := range slices.Sorted(maps.Keys(b.Retained)) {
		w := b.Retained[topic]
		e.b = appendBytes(e.b, topic)
		e.uvarint(w.Version)
		e.b = appendBytes(e.b, w.UserName)
		e.message(w.Message)
	}
	return e.b
}

// A wireEncoder appends the parts of a Batch. Messages are numbered from 1 in the order in which
// they first come, which is where they stand in full.
type wireEncoder struct {
	b       []byte
	numbers map[*session.Message]uint64
}

func (e *wireEncoder) uvarint(v uint64) { e.b = binary.AppendUvarint(e.b, v) }

// message appends the number of a message, and the message if the number is new; 0: nil.
func (e *wireEncoder) message(m *session.Message) {
	if m == nil {
		e.uvarint(0)
		return
	}
	n, known := e.numbers[m]
	if !known {
		n = uint64(len(e.numbers) + 1)
		e.numbers[m] = n
	}
	e.uvarint(n)
	if !known {
		e.b = appendMessage(e.b, m)
	}
}

func (e *wireEncoder) writes(w *session.Writes) {
	if w.Ended { // of which all else is ignored
		e.uvarint(wireEnded)
		return
	}
	flags := wireFlags(w)
	e.uvarint(flags)
	if w.Record != nil {
		e.record(w.Record)
	}
	if flags&wireWill != 0 {
		e.will(w.Will)
	}
	e.subscriptions(w)
	e.owed(w)
	if w.State != nil {
		e.b = appendBytes(e.b, w.State)
	}
	if w.Floor > 0 {
		e.uvarint(w.Floor)
		e.uvarint(w.FloorBefore)
	}
	e.uvarint(uint64(len(w.Discarded)))
	for _, seq := range w.Discarded {
		e.uvarint(seq)
	}
	e.uvarint(uint64(len(w.DiscardedRanges)))
	for _, r := range w.DiscardedRanges {
		e.uvarint(r.First)
		e.uvarint(r.Last)
	}
	e.entries(w.Entries)
}

func wireFlags(w *session.Writes) (flags uint64) {
	for _, f := range [...]struct {
		flag uint64
		has  bool
	}{{wireRecord, w.Record != nil}, {wireHasWill, w.HasWill}, {wireWill, w.HasWill && w.Will != nil}, {wireState, w.State != nil}, {wireFloor, w.Floor > 0}} {
		if f.has {
			flags |= f.flag
		}
	}
	return flags
}

func (e *wireEncoder) record(r *session.Record) {
	e.b = appendBytes(e.b, r.ClientID)
	e.b = appendBytes(e.b, r.UserName)
	e.b = append(e.b, byte(r.Version), byte(boolInt(r.Connected)))
	e.uvarint(uint64(r.ExpirySeconds))
	e.uvarint(uint64(unixMilli(r.ExpiresAt)))
}

func (e *wireEncoder) will(w *session.Will) {
	e.uvarint(uint64(w.DelaySeconds))
	e.uvarint(willExpiry(w))
	e.uvarint(uint64(unixMilli(w.DueAt)))
	e.message(w.Message)
}

func (e *wireEncoder) subscriptions(w *session.Writes) {
	e.uvarint(uint64(len(w.Subscriptions)))
	for _, filter := range slices.Sorted(maps.Keys(w.Subscriptions)) {
		e.b = appendBytes(e.b, filter)
		sub := w.Subscriptions[filter]
		if sub == nil {
			e.uvarint(0)
			continue
		}
		e.uvarint(uint64(packOptions(sub)) + 1)
		e.uvarint(uint64(sub.ID))
	}
}

func (e *wireEncoder) owed(w *session.Writes) {
	e.uvarint(uint64(len(w.Owed)))
	for _, filter := range slices.Sorted(maps.Keys(w.Owed)) {
		e.b = appendBytes(e.b, filter)
		e.uvarint(w.Owed[filter].After)
		e.uvarint(w.Owed[filter].UpTo)
	}
}

func (e *wireEncoder) entries(entries []session.Entry) {
	n := uint64(0)
	for i := range entries {
		if entries[i].Message != nil {
			n++
		}
	}
	e.uvarint(n)
	before := uint64(0)
	for i := range entries {
		if entry := &entries[i]; entry.Message != nil {
			e.b = appendEntryHead(e.b, entry, before, 0)
			e.message(entry.Message)
			before = entry.Seq
		}
	}
}

// DecodeBatch makes a Batch of what AppendBatch wrote. The Batch has memory of its own. Any other bytes
// are ErrDamaged.
func DecodeBatch(b []byte) (*session.Batch, error) {
	d := wireDecoder{unpacker: unpacker{b: b}}
	if d.byte() != wireFormat {
		return nil, fmt.Errorf("%w: a batch of an unknown format", ErrDamaged)
	}
	batch := session.NewBatch()
	batch.Time, batch.System = timeOf(d.milli()), timeOf(d.milli())
	for before, n := session.ID(0), d.count(2); n > 0 && !d.failed; n-- {
		id := session.ID(d.uvarint())
		if id <= before {
			d.fail()
			break
		}
		batch.Sessions[id] = d.writes(id)
		before = id
	}
	for before, n := "", d.count(4); n > 0 && !d.failed; n-- {
		topic := d.text()
		if topic <= before {
			d.fail()
			break
		}
		w := session.RetainedWrite{Version: d.uvarint(), UserName: d.text()}
		w.Message = d.message()
		batch.Retained[topic] = w
		before = topic
	}
	if d.failed || len(d.b) > 0 {
		return nil, fmt.Errorf("%w: a batch that is cut short or has more than it says", ErrDamaged)
	}
	return batch, nil
}

// A wireDecoder reads what a wireEncoder appended.
type wireDecoder struct {
	unpacker
	messages []*session.Message
}

// count reads how many things follow, which take at least size bytes each.
func (d *wireDecoder) count(size int) int {
	n := d.uvarint()
	if n > uint64(len(d.b)/size) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *wireDecoder) upTo(most uint64) uint64 {
	v := d.uvarint()
	if v > most {
		d.fail()
		return 0
	}
	return v
}

func (d *wireDecoder) milli() int64    { return int64(d.upTo(math.MaxInt64)) }
func (d *wireDecoder) seconds() uint32 { return uint32(d.upTo(math.MaxUint32)) }
func (d *wireDecoder) text() string    { return string(d.bytes()) }

// message reads what wireEncoder.message appended.
func (d *wireDecoder) message() *session.Message {
	n := d.upTo(uint64(len(d.messages)) + 1)
	if n == 0 {
		return nil
	}
	if n > uint64(len(d.messages)) {
		m := d.unpacker.message()
		if m == nil {
			return nil
		}
		d.messages = append(d.messages, m)
	}
	return d.messages[n-1]
}

func (d *wireDecoder) writes(id session.ID) *session.Writes {
	flags := d.upTo(2*wireFloor - 1)
	w := &session.Writes{Ended: flags&wireEnded != 0}
	if w.Ended {
		if flags != wireEnded {
			d.fail()
		}
		return w
	}
	if flags&wireRecord != 0 {
		w.Record = d.record(id)
	}
	w.HasWill = flags&wireHasWill != 0
	if flags&wireWill != 0 {
		w.Will = d.will()
		if !w.HasWill || w.Will.Message == nil {
			d.fail()
		}
	}
	d.subscriptions(w)
	d.owed(w)
	if flags&wireState != 0 {
		w.State = append([]byte{}, d.bytes()...)
	}
	if flags&wireFloor != 0 {
		w.Floor, w.FloorBefore = d.uvarint(), d.uvarint()
	}
	for n := d.count(1); n > 0; n-- {
		w.Discarded = append(w.Discarded, d.uvarint())
	}
	for n := d.count(2); n > 0; n-- {
		w.DiscardedRanges = append(w.DiscardedRanges, session.SeqRange{First: d.uvarint(), Last: d.uvarint()})
	}
	d.entries(w)
	return w
}

func (d *wireDecoder) record(id session.ID) *session.Record {
	r := &session.Record{ID: id, ClientID: d.text(), UserName: d.text(), Version: codec.Version(d.byte())}
	connected := d.byte()
	if connected > 1 {
		d.fail()
	}
	r.Connected, r.ExpirySeconds, r.ExpiresAt = connected == 1, d.seconds(), timeOf(d.milli())
	return r
}

func (d *wireDecoder) will() *session.Will {
	w := &session.Will{DelaySeconds: d.seconds()}
	setWillExpiry(w, d.upTo(math.MaxUint32+1))
	w.DueAt, w.Message = timeOf(d.milli()), d.message()
	return w
}

func (d *wireDecoder) subscriptions(w *session.Writes) {
	for before, n := "", d.count(2); n > 0 && !d.failed; n-- {
		filter, options := d.text(), d.upTo(1<<6)
		if filter <= before {
			d.fail()
			return
		}
		before = filter
		if w.Subscriptions == nil {
			w.Subscriptions = make(map[string]*session.Subscription)
		}
		w.Subscriptions[filter] = nil
		if options > 0 {
			sub := &session.Subscription{Filter: filter, ID: d.seconds()}
			unpackOptions(sub, int64(options-1))
			w.Subscriptions[filter] = sub
		}
	}
}

func (d *wireDecoder) owed(w *session.Writes) {
	for before, n := "", d.count(3); n > 0 && !d.failed; n-- {
		filter := d.text()
		if filter <= before {
			d.fail()
			return
		}
		before = filter
		if w.Owed == nil {
			w.Owed = make(map[string]session.Owed)
		}
		w.Owed[filter] = session.Owed{After: d.uvarint(), UpTo: d.uvarint()}
	}
}

func (d *wireDecoder) entries(w *session.Writes) {
	for before, n := uint64(0), d.count(4); n > 0 && !d.failed; n-- {
		e, flags := d.entryHead(before)
		if e.Message = d.message(); e.Message == nil || e.Seq <= before || flags&flagShared != 0 {
			d.fail()
			return
		}
		before = e.Seq
		w.Entries = append(w.Entries, e)
	}
}
