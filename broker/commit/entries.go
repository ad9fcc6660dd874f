package commit

import (
	"sync"

	"github.com/x0a1b/promptmq/session"
)

// An entryPool keeps the memory of committed entries for later groups.
type entryPool struct{ pool sync.Pool } // of *[]session.Entry

const (
	entriesMin = 16
	// keptEntriesMax is the longest slice that is used again.
	keptEntriesMax = 4096
)

var groupEntries entryPool

func (p *entryPool) get() []session.Entry {
	if e, ok := p.pool.Get().(*[]session.Entry); ok {
		return *e
	}
	return make([]session.Entry, 0, entriesMin)
}

// put takes back the memory of entries, which nobody uses any more.
func (p *entryPool) put(entries []session.Entry) {
	if cap(entries) == 0 || cap(entries) > keptEntriesMax {
		return
	}
	clear(entries)
	entries = entries[:0]
	p.pool.Put(&entries)
}

// recycle returns the memory of entries to the pool. Their group must be shut, so that no
// acknowledgement looks for them.
func recycle(w *session.Writes) {
	groupEntries.put(w.Entries)
	w.Entries = nil
}
