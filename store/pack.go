package store

import (
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

const (
	packFormat = 1
	packHeader = 5 // the format and the checksum of what follows and of the row's keys
)

// Kinds of rows: the first of the keys in the checksum. The keys are the row's
// other columns, so that a row which took the place of another one is damaged.
const (
	kindRun uint64 = iota + 1
	kindBody
	kindState
	kindWill
	kindRetained
	kindSession
	kindSubscription
	kindMeta
	kindOwed
	kindUser
	kindRule
)

// A runKey is what a run is checked against, apart from its body row.
type runKey struct{ session, first, last uint64 }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// startPacked leaves room for the header; finishPacked fills it in.
func startPacked(dst []byte) []byte { return append(dst[:0], packFormat, 0, 0, 0, 0) }

func finishPacked(b []byte, keys ...uint64) []byte {
	binary.BigEndian.PutUint32(b[1:], packedSum(b, keys))
	return b
}

func packedSum(b []byte, keys []uint64) uint32 {
	var key [8]byte
	sum := crc32.Checksum(b[packHeader:], castagnoli)
	for _, k := range keys {
		binary.BigEndian.PutUint64(key[:], k)
		sum = crc32.Update(sum, castagnoli, key[:])
	}
	return sum
}

// columnSum is the checksum of a row that has columns and no packed value: its
// kind and the columns as keys.
func columnSum(keys ...uint64) int64 {
	var none [packHeader]byte
	return int64(packedSum(none[:], keys))
}

func sessionSum(r *session.Record) int64 {
	return columnSum(kindSession, uint64(r.ID), textKey(r.ClientID), textKey(r.UserName), uint64(r.Version),
		uint64(r.ExpirySeconds), uint64(boolInt(r.Connected)), uint64(unixMilli(r.ExpiresAt)))
}

func subscriptionSum(id int64, filter string, options, subID int64) int64 {
	return columnSum(kindSubscription, uint64(id), textKey(filter), uint64(options), uint64(subID))
}

func metaSum(key string, value int64) int64 {
	return columnSum(kindMeta, textKey(key), uint64(value))
}

// textKey stands for a text among the keys.
func textKey(s string) uint64 {
	return uint64(crc32.Checksum([]byte(s), castagnoli))<<32 | uint64(uint32(len(s)))
}

// bodyKey stands for a body row in the checksum of a run that refers to it.
func bodyKey(body []byte) uint64 {
	if len(body) < packHeader {
		return 0
	}
	return uint64(binary.BigEndian.Uint32(body[1:]))<<32 | uint64(uint32(len(body)))
}

// openPacked checks a packed value and returns what follows its header.
func openPacked(b []byte, keys ...uint64) ([]byte, error) {
	if len(b) < packHeader || b[0] != packFormat {
		return nil, ErrDamaged
	}
	if binary.BigEndian.Uint32(b[1:]) != packedSum(b, keys) && !broken("checksums") {
		return nil, ErrDamaged
	}
	return b[packHeader:], nil
}

// Flags of a message and of an entry: the QoS in the lowest bits.
const (
	flagQoS    = 0x03
	flagRetain = 0x04
	flagShared = 0x08 // of an entry: its message is in the body row
	flagQueued = 0x10 // of an entry: it has the time when it was queued
)

func appendBytes[T string | []byte](dst []byte, s T) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func messageFlags(qos codec.QoS, retain bool) byte {
	if retain {
		return byte(qos) | flagRetain
	}
	return byte(qos)
}

func appendMessage(dst []byte, m *session.Message) []byte {
	dst = append(dst, messageFlags(m.QoS, m.Retain))
	dst = binary.AppendUvarint(dst, uint64(unixMilli(m.ExpiresAt)))
	dst = appendBytes(dst, m.Topic)
	dst = appendBytes(dst, m.Forward)
	return appendBytes(dst, m.Payload)
}

// appendEntry packs an entry of a run whose previous entry has Seq before. If
// at is not negative the message stands there in the body row.
func appendEntry(dst []byte, e *session.Entry, before uint64, at int) []byte {
	if at >= 0 {
		return binary.AppendUvarint(appendEntryHead(dst, e, before, flagShared), uint64(at))
	}
	return appendMessage(appendEntryHead(dst, e, before, 0), e.Message)
}

// appendEntryHead packs all of an entry but its message.
func appendEntryHead(dst []byte, e *session.Entry, before uint64, flags byte) []byte {
	flags |= messageFlags(e.QoS, e.Retain)
	if !e.QueuedAt.IsZero() {
		flags |= flagQueued
	}
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, e.Seq-before)
	if !e.QueuedAt.IsZero() {
		dst = binary.AppendUvarint(dst, uint64(unixMilli(e.QueuedAt)))
	}
	dst = binary.AppendUvarint(dst, uint64(len(e.SubscriptionIDs)))
	for _, id := range e.SubscriptionIDs {
		dst = binary.AppendUvarint(dst, uint64(id))
	}
	return appendBytes(dst, e.Share)
}

// An unpacker reads what the append functions wrote. The first failure stays.
type unpacker struct {
	b      []byte
	failed bool
}

func (u *unpacker) fail() {
	u.failed, u.b = true, nil
}

func (u *unpacker) byte() byte {
	if len(u.b) == 0 {
		u.fail()
		return 0
	}
	v := u.b[0]
	u.b = u.b[1:]
	return v
}

func (u *unpacker) uvarint() uint64 {
	v, n := binary.Uvarint(u.b)
	if n <= 0 {
		u.fail()
		return 0
	}
	u.b = u.b[n:]
	return v
}

func (u *unpacker) bytes() []byte {
	n := u.uvarint()
	if n > uint64(len(u.b)) {
		u.fail()
		return nil
	}
	v := u.b[:n]
	u.b = u.b[n:]
	return v
}

// message unpacks a message into memory of its own.
func (u *unpacker) message() *session.Message {
	flags := u.byte()
	expires := int64(u.uvarint())
	topic, forward, payload := u.bytes(), u.bytes(), u.bytes()
	if u.failed || flags&flagQoS == 3 {
		u.fail()
		return nil
	}
	return &session.Message{
		Topic: string(topic), Forward: clone(forward), Payload: clone(payload),
		QoS: codec.QoS(flags & flagQoS), Retain: flags&flagRetain != 0, ExpiresAt: timeOf(expires),
	}
}

// entry unpacks one entry; body is the unpacked body row or nil. at is the place
// of its message in there, or -1.
func (u *unpacker) entry(before uint64, body []byte) (e session.Entry, at int) {
	e, flags := u.entryHead(before)
	if u.failed {
		return e, -1
	}
	if flags&flagShared == 0 {
		e.Message = u.message()
		return e, -1
	}
	place := u.uvarint()
	if place >= uint64(len(body)) {
		u.fail()
		return e, -1
	}
	m := unpacker{b: body[place:]}
	e.Message = m.message()
	u.failed = u.failed || m.failed
	return e, int(place)
}

// entryHead unpacks all of an entry but its message.
func (u *unpacker) entryHead(before uint64) (e session.Entry, flags byte) {
	flags = u.byte()
	e = session.Entry{Seq: before + u.uvarint(), QoS: codec.QoS(flags & flagQoS), Retain: flags&flagRetain != 0}
	if flags&flagQueued != 0 {
		e.QueuedAt = timeOf(int64(u.uvarint()))
	}
	n := u.uvarint()
	if n > uint64(len(u.b)) {
		u.fail()
		return e, flags
	}
	for range n {
		e.SubscriptionIDs = append(e.SubscriptionIDs, uint32(u.uvarint()))
	}
	e.Share = string(u.bytes())
	return e, flags
}

// unpackRun appends the entries of a run with Seq >= from. body is the stored
// body row that it refers to, or nil.
func unpackRun(dst []session.Entry, key runKey, run, body []byte, from uint64) ([]session.Entry, error) {
	err := eachEntry(key, run, body, func(e session.Entry, _ int) {
		if e.Seq >= from {
			dst = append(dst, e)
		}
	})
	return dst, err
}

// eachEntry calls fn for the entries of a run, with their places in the body row.
func eachEntry(key runKey, run, body []byte, fn func(e session.Entry, at int)) error {
	b, err := openPacked(run, kindRun, key.session, key.first, key.last, bodyKey(body))
	if err != nil {
		return err
	}
	if body != nil {
		if body, err = openPacked(body, kindBody); err != nil {
			return err
		}
	}
	u := unpacker{b: b}
	before := uint64(0)
	for len(u.b) > 0 {
		e, at := u.entry(before, body)
		if u.failed || e.Seq <= before {
			return ErrDamaged
		}
		before = e.Seq
		fn(e, at)
	}
	return nil
}

// appendRetained packs a retained message; who has no user name has nothing behind it, as
// all had before schema version 8.
func appendRetained(dst []byte, topic string, w *session.RetainedWrite) []byte {
	dst = appendMessage(startPacked(dst), w.Message)
	if w.UserName != "" {
		dst = appendBytes(dst, w.UserName)
	}
	return finishPacked(dst, kindRetained, textKey(topic), w.Version)
}

func unpackRetained(b []byte, topic string, version uint64) (*session.RetainedWrite, error) {
	b, err := openPacked(b, kindRetained, textKey(topic), version)
	if err != nil {
		return nil, err
	}
	u := unpacker{b: b}
	w := session.RetainedWrite{Version: version, Message: u.message()}
	if len(u.b) > 0 {
		w.UserName = string(u.bytes())
	}
	if u.failed || len(u.b) > 0 {
		return nil, ErrDamaged
	}
	return &w, nil
}

// appendWill packs a Will; its due time has a column of its own.
func appendWill(dst []byte, w *session.Will, id uint64) []byte {
	dst = startPacked(dst)
	dst = binary.AppendUvarint(dst, uint64(w.DelaySeconds))
	dst = binary.AppendUvarint(dst, willExpiry(w))
	return finishPacked(appendMessage(dst, w.Message), kindWill, id, uint64(unixMilli(w.DueAt)))
}

func unpackWill(b []byte, id uint64, dueAt int64) (*session.Will, error) {
	b, err := openPacked(b, kindWill, id, uint64(dueAt))
	if err != nil {
		return nil, err
	}
	u := unpacker{b: b}
	w := session.Will{DelaySeconds: uint32(u.uvarint()), DueAt: timeOf(dueAt)}
	setWillExpiry(&w, u.uvarint())
	w.Message = u.message()
	if u.failed || len(u.b) > 0 {
		return nil, ErrDamaged
	}
	return &w, nil
}

// willExpiry is the Message Expiry Interval of a Will in one number: 0: none; else one more.
func willExpiry(w *session.Will) uint64 {
	if !w.HasMessageExpiry {
		return 0
	}
	return uint64(w.MessageExpirySeconds) + 1
}

func setWillExpiry(w *session.Will, packed uint64) {
	if packed > 0 {
		w.HasMessageExpiry, w.MessageExpirySeconds = true, uint32(packed-1)
	}
}

func clone(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return append([]byte(nil), b...)
}

// unixMilli and timeOf turn times into what is stored; 0 is the zero time.
func unixMilli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func timeOf(milli int64) time.Time {
	if milli == 0 {
		return time.Time{}
	}
	return time.UnixMilli(milli)
}

// Options of a subscription in one number.
func packOptions(s *session.Subscription) int64 {
	o := int64(s.QoS) | int64(s.RetainHandling)<<4
	if s.NoLocal {
		o |= 0x04
	}
	if s.RetainAsPublished {
		o |= 0x08
	}
	return o
}

func unpackOptions(s *session.Subscription, o int64) {
	s.QoS, s.NoLocal, s.RetainAsPublished = codec.QoS(o&3), o&0x04 != 0, o&0x08 != 0
	s.RetainHandling = byte(o >> 4 & 3)
}
