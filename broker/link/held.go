package link

import (
	"sync"

	"github.com/x0a1b/promptmq/codec"
)

// keptSegmentsMax is the longest list of held packets whose memory is used again.
const keptSegmentsMax = 1024

// held are packets that await commits, in order.
type held struct {
	bytes    []byte // of segs
	segs     []segment
	answered int // bytes of the messages that segs answer
	qos1     int // messages with QoS 1 in segs: no other may overtake them
}

var heldPackets = sync.Pool{New: func() any { return new(held) }}

// A segment is one held packet: the bytes up to end in held.bytes.
type segment struct {
	commit  uint64  // number of the group that it awaits, no less than that of the one before
	receipt Receipt // nil: none
	end     int
	size    uint32    // in bytes: of the message that it answers, or of its own payload
	alias   uint16    // Topic Alias that it sets; 0: none
	message codec.QoS // of the PUBLISH that it is; 0: it is none
	credit  bool      // see Hold
}

// releasable reports whether only the packets before it may still hold it.
func (s *segment) releasable(committed uint64) bool {
	return s.commit <= committed || s.receipt != nil && s.receipt.Complete()
}

// mustHoldLocked reports whether a packet that awaits this commit must be held: it must
// not overtake those that are.
func (o *Outbox) mustHoldLocked(commit uint64) bool {
	return o.held != nil && len(o.held.segs) > 0 || commit > 0 && commit > o.config.Commits.Committed()
}

// holdLocked returns where a packet that must be held is encoded to.
func (o *Outbox) holdLocked() *held {
	if o.held == nil {
		o.held = heldPackets.Get().(*held)
	}
	return o.held
}

// heldLocked holds the packet that was encoded at the end of h.bytes.
func (o *Outbox) heldLocked(p *Pending, h *held, seg segment) {
	last := uint64(0) // what the packet before awaits
	if n := len(h.segs); n > 0 {
		last = h.segs[n-1].commit
	}
	seg.commit, seg.end = max(seg.commit, last), len(h.bytes)
	h.segs = append(h.segs, seg)
	switch seg.message {
	case 0:
		h.answered += int(seg.size)
	case 1:
		h.qos1++
	}
	if seg.commit != last && !o.config.Commits.Await(seg.commit, o) {
		o.releaseLocked()
		o.listLocked(p)
	}
}

// releaseLocked moves to out what need be held no longer. Every held packet passes here: it
// goes only when its commit is on disk, or its Receipt has made that needless.
func (o *Outbox) releaseLocked() {
	h, committed := o.held, o.config.Commits.Committed()
	var sent [3]traffic // by QoS
	n := 0
	for ; n < len(h.segs) && h.segs[n].releasable(committed); n++ {
		seg := &h.segs[n]
		if seg.credit {
			o.credits++
		}
		if seg.alias != 0 {
			o.account.aliases.released(seg.alias)
		}
		if qos := seg.message; qos > 0 {
			sent[qos].messages++
			sent[qos].bytes += int(seg.size)
		} else {
			h.answered -= int(seg.size)
		}
	}
	if n == 0 {
		return
	}
	h.qos1 -= sent[1].messages
	o.sentLocked(sent[1].messages + sent[2].messages)
	for qos := codec.QoS(1); qos <= 2; qos++ {
		if sent[qos].messages > 0 {
			sent[qos].countSent(o.config.Metrics, qos)
		}
	}
	if o.out == nil {
		o.growLocked()
	}
	o.out = append(o.out, h.bytes[:h.segs[n-1].end]...)
	if n == len(h.segs) {
		o.dropHeldLocked()
	} else {
		h.remove(n)
	}
}

// remove takes out the first n packets.
func (h *held) remove(n int) {
	end := h.segs[n-1].end
	h.bytes = h.bytes[:copy(h.bytes, h.bytes[end:])]
	rest := copy(h.segs, h.segs[n:])
	clear(h.segs[rest:])
	h.segs = h.segs[:rest]
	for i := range h.segs {
		h.segs[i].end -= end
	}
}

// dropHeldLocked forgets what is held.
func (o *Outbox) dropHeldLocked() {
	h := o.held
	if o.held = nil; h == nil || cap(h.bytes) > KeptBufferMax || cap(h.segs) > keptSegmentsMax {
		return
	}
	clear(h.segs)
	h.bytes, h.segs, h.answered, h.qos1 = h.bytes[:0], h.segs[:0], 0, 0
	heldPackets.Put(h)
}

// Committed flushes what a commit releases. Commits calls it, with no lock held.
func (o *Outbox) Committed() { o.flush() }

// Held is the number of packets that are held.
func (o *Outbox) Held() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.held == nil {
		return 0
	}
	return len(o.held.segs)
}

// TakeCredits returns how many packets with Credit were released since the last call.
func (o *Outbox) TakeCredits() int32 {
	o.mu.Lock()
	n := o.credits
	o.credits = 0
	o.mu.Unlock()
	return n
}
