package store

import (
	"github.com/x0a1b/promptmq/session"
)

// A packer is the scratch memory of putEntries.
type packer struct {
	data   []byte // a value being packed
	body   []byte
	bodies []int64
	shared map[*session.Message]place
	holder map[*session.Message]session.ID // the only Session that holds it, or several
}

// scratchMax bounds the scratch memory that is kept between batches.
const scratchMax = 4 * runBytesMax

// forget lets go of the batch, and of memory that a large message took.
func (p *packer) forget() {
	clear(p.shared)
	clear(p.holder)
	if cap(p.data) > scratchMax {
		p.data = nil
	}
	if cap(p.body) > scratchMax {
		p.body = nil
	}
}

// several stands for more than one holder; no Session has this ID.
const several session.ID = 0

// place is where a shared message stands: the body row, and the offset in it.
type place struct {
	body int64
	key  uint64 // bodyKey of the body row
	at   int
}

// putEntries writes the new entries of every Session in b as runs.
func (db *DB) putEntries(b *session.Batch, ids []session.ID) error {
	defer db.packer.forget()
	if err := db.putBodies(b, ids); err != nil {
		return err
	}
	refs := make(map[int64]int64)
	for _, id := range ids {
		if w := b.Sessions[id]; !w.Ended && len(w.Entries) > 0 {
			if err := db.putRuns(int64(id), w.Entries, refs); err != nil {
				return err
			}
		}
	}
	for body, n := range refs {
		if err := exec(db.stmts.putRefs, body, n); err != nil {
			return err
		}
	}
	return nil
}

// putBodies writes the messages that several entries share into body rows.
func (db *DB) putBodies(b *session.Batch, ids []session.ID) error {
	p := &db.packer
	if p.shared == nil {
		p.shared, p.holder = make(map[*session.Message]place), make(map[*session.Message]session.ID)
	}
	if len(ids) < 2 {
		return nil
	}
	p.body = startPacked(p.body)
	var pending []*session.Message
	flush := func() error {
		if len(pending) == 0 {
			return nil
		}
		if err := exec(db.stmts.putBody, finishPacked(p.body, kindBody)); err != nil {
			return err
		}
		id := db.w.LastInsertRowID()
		for _, m := range pending {
			p.shared[m] = place{id, bodyKey(p.body), p.shared[m].at}
		}
		pending, p.body = pending[:0], startPacked(p.body)
		return nil
	}
	for _, id := range ids {
		w := b.Sessions[id]
		if w.Ended {
			continue
		}
		for i := range w.Entries {
			m := w.Entries[i].Message
			if m == nil {
				continue
			}
			first, held := p.holder[m]
			if !held {
				p.holder[m] = id
				continue
			}
			if first == several {
				continue
			}
			p.holder[m] = several
			p.shared[m] = place{at: len(p.body) - packHeader}
			pending = append(pending, m)
			if p.body = appendMessage(p.body, m); len(p.body) >= runBytesMax {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
	return flush()
}

// putRuns writes one Session's entries, in as few rows as their size and the
// body rows they refer to allow.
func (db *DB) putRuns(id int64, entries []session.Entry, refs map[int64]int64) error {
	p := &db.packer
	var first, last uint64
	var body, bytes int64
	var key uint64
	total, err := db.queueTotal(id)
	if err != nil {
		return err
	}
	data := startPacked(p.data)
	flush := func() error {
		if last == 0 {
			return nil
		}
		var ref any
		if body != 0 {
			ref = body
			refs[body]++
		}
		db.rows.Add(1)
		total += bytes
		err := exec(db.stmts.putRun, id, int64(first), int64(last), bytes, total, ref,
			finishPacked(data, kindRun, uint64(id), first, last, key))
		first, last, body, key, bytes, data = 0, 0, 0, 0, 0, startPacked(data)
		return err
	}
	for i := range entries {
		e := &entries[i]
		if e.Message == nil {
			continue
		}
		at := place{at: -1}
		if shared, ok := p.shared[e.Message]; ok {
			at = shared
		}
		if len(data) >= runBytesMax || (at.body != 0 && body != 0 && at.body != body) {
			if err := flush(); err != nil {
				return err
			}
		}
		if at.body != 0 {
			body, key = at.body, at.key
		}
		data = appendEntry(data, e, last, at.at)
		if first == 0 {
			first = e.Seq
		}
		last = e.Seq
		bytes += int64(e.Bytes())
	}
	err = flush()
	p.data = data
	return err
}

// queueTotal is the total of the Session's last run, 0 if it has none.
func (db *DB) queueTotal(id int64) (total int64, err error) {
	s := db.stmts.lastTotal
	if err := s.BindInt64(1, id); err != nil {
		return 0, err
	}
	if s.Step() {
		total = s.ColumnInt64(0)
	}
	return total, s.Reset()
}
