package link

import (
	"fmt"
	"strconv"
	"sync"

	"github.com/x0a1b/promptmq/codec"
)

// A promise is a packet that was queued, and what must be so before it is written.
type promise struct {
	id      int // of the packet: one in 10,000 for each goroutine that queues
	held    bool
	commit  uint64
	behind  uint64 // the highest commit that it or those before it await
	receipt *receipt
	topic   string // of a message
	written bool
}

// free reports whether it may be written after a commit, or by its receipt.
func (p *promise) free(commit, committed uint64) bool {
	return commit <= committed || p.receipt != nil && p.receipt.Complete()
}

// An audit reads what an Outbox writes, and notes what breaks a promise. It knows
// nothing of how an Outbox works.
type audit struct {
	disk *disk

	mu       sync.Mutex // guards the following
	reader   codec.Reader
	aliases  map[uint16]string
	promises map[int]*promise
	queued   []*promise // in the order in which they were
	lastHeld *promise
	last     map[string]int // the last packet that was written, by goroutine and whether it is held
	problems []string
}

func newAudit(w *wire, d *disk) *audit {
	a := &audit{disk: d, aliases: make(map[uint16]string), promises: make(map[int]*promise), last: make(map[string]int)}
	a.reader.Reset(0)
	a.reader.SetVersion(codec.Version5)
	w.onWrite = a.feed
	return a
}

func (a *audit) problem(format string, args ...any) {
	a.problems = append(a.problems, fmt.Sprintf(format, args...))
}

// queue notes a promise before its packet is queued.
func (a *audit) queue(p promise) *promise {
	a.mu.Lock()
	defer a.mu.Unlock()
	p.behind = p.commit
	if before := a.lastHeld; p.held && before != nil && !before.written {
		p.behind = max(p.behind, before.behind)
	}
	if p.held {
		a.lastHeld = &p
	}
	a.promises[p.id] = &p
	a.queued = append(a.queued, &p)
	return &p
}

// refused takes back the last promise: the Outbox did not take the packet.
func (a *audit) refused(p *promise) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.promises, p.id)
	a.queued = a.queued[:len(a.queued)-1]
}

// feed is told of all that is written.
func (a *audit) feed(b []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(b) > 0 {
		n := copy(a.reader.Room(), b)
		b = b[n:]
		a.reader.Wrote(n)
		for {
			f, err := a.reader.Next()
			if err == codec.ErrIncomplete {
				break
			}
			if err != nil {
				a.problem("what was written is no packet: %v", err)
				return
			}
			a.packetLocked(f)
		}
	}
}

func (a *audit) packetLocked(f codec.Frame) {
	id, topic := 0, ""
	switch f.Type() {
	case codec.TypePuback:
		var ack codec.Ack
		if err := ack.Decode(f, codec.Version5); err != nil {
			a.problem("%v", err)
		}
		id = int(ack.PacketID)
	case codec.TypePublish:
		var m codec.Publish
		if err := m.Decode(f, codec.Version5); err != nil {
			a.problem("%v", err)
		}
		id, _ = strconv.Atoi(string(m.Payload))
		if topic = string(m.Topic); topic != "" && m.TopicAlias > 0 {
			a.aliases[m.TopicAlias] = topic
		} else if topic == "" {
			topic = a.aliases[m.TopicAlias]
		}
	}
	p := a.promises[id]
	switch {
	case p == nil:
		a.problem("packet %d was never queued", id)
		return
	case p.written:
		a.problem("packet %d was written twice", id)
	case p.topic != topic:
		a.problem("packet %d has the Topic Name %q, not %q", id, topic, p.topic)
	case p.held && !p.free(p.commit, a.disk.committed.Load()):
		a.problem("packet %d was written before commit %d: only %d is on disk", id, p.commit, a.disk.committed.Load())
	}
	p.written = true
	order := fmt.Sprint(id/10_000, p.held)
	if id < a.last[order] {
		a.problem("packet %d was written after %d", id, a.last[order])
	}
	a.last[order] = id
}

// settled checks that nothing is kept back without need. It is for one goroutine that
// queues, when all was flushed and the peer takes everything.
func (a *audit) settled() {
	a.mu.Lock()
	defer a.mu.Unlock()
	waits := false // one that is held waits, and so those behind it
	for _, p := range a.queued {
		if p.held && !p.written && !p.free(p.behind, a.disk.committed.Load()) {
			waits = true
		}
		if !p.written && (!p.held || !waits) {
			a.problem("packet %d is not written, and nothing keeps it", p.id)
		}
	}
}

// err is what was wrong, or nil.
func (a *audit) err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.problems) == 0 {
		return nil
	}
	return fmt.Errorf("%d problems, first: %s", len(a.problems), a.problems[0])
}
