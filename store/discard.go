package store

import (
	"slices"

	"github.com/x0a1b/promptmq/session"
)

// discard removes single entries from a Session's queue: runs of which nothing
// is left, and the others rewritten in their place. A message in a body row
// stays there until the last run that refers to the row goes.
func (db *DB) discard(id int64, seqs []uint64) error {
	seqs = slices.Clone(seqs)
	slices.Sort(seqs)
	for len(seqs) > 0 {
		r, err := db.runAt(id, seqs[0])
		if err != nil {
			return err
		}
		if r.id == 0 { // no run has it or any after it
			return nil
		}
		if err := db.discardFrom(r, seqs); err != nil {
			return err
		}
		n, found := slices.BinarySearch(seqs, r.key.last)
		if found {
			n++
		}
		seqs = seqs[n:]
	}
	return nil
}

// A storedRun is a row of run with its body row, if it has one.
type storedRun struct {
	id, body        int64
	key             runKey
	data, bodyBytes []byte
}

// runAt returns the run that has this Seq or, if none has, the next one; its id
// is 0 if there is none.
func (db *DB) runAt(session int64, seq uint64) (r storedRun, err error) {
	s := db.stmts.runAt
	if err := bind(s, []any{session, int64(seq)}); err != nil {
		return r, err
	}
	if s.Step() {
		r = storedRun{
			id: s.ColumnInt64(0), body: s.ColumnInt64(1), data: clone(s.ColumnRawBlob(4)),
			key: runKey{uint64(session), uint64(s.ColumnInt64(2)), uint64(s.ColumnInt64(3))},
		}
	}
	if err := s.Reset(); err != nil || r.body == 0 {
		return r, err
	}
	s = db.stmts.bodyAt
	if err := bind(s, []any{r.body}); err != nil {
		return r, err
	}
	if s.Step() {
		r.bodyBytes = clone(s.ColumnRawBlob(0))
	}
	return r, s.Reset()
}

// shiftTotals takes bytes that a run loses from its total and those behind it.
// What the first run of a queue loses needs none of that: the queue holds the
// difference between its last total and what is before its first run.
func (db *DB) shiftTotals(run runKey, bytes int64) error {
	return exec(db.stmts.shiftTotals, int64(run.session), int64(run.first), bytes)
}

// discardFrom removes those of seqs, which are in order, that r has.
func (db *DB) discardFrom(r storedRun, seqs []uint64) error {
	var kept []session.Entry
	var places []int
	had, removed := 0, int64(0)
	err := eachEntry(r.key, r.data, r.bodyBytes, func(e session.Entry, at int) {
		had++
		removed += int64(e.Bytes())
		if _, gone := slices.BinarySearch(seqs, e.Seq); !gone {
			kept, places = append(kept, e), append(places, at)
		}
	})
	switch {
	case err != nil:
		return err
	case len(kept) == had:
		return nil
	case len(kept) == 0:
		db.rows.Add(1)
		if err := db.shiftTotals(r.key, removed); err != nil {
			return err
		}
		if err := exec(db.stmts.delRun, r.id); err != nil || r.body == 0 {
			return err
		}
		return db.unrefBody(r.body)
	}
	data, last, bytes := startPacked(db.packer.data), uint64(0), int64(0)
	for i := range kept {
		data = appendEntry(data, &kept[i], last, places[i])
		last = kept[i].Seq
		bytes += int64(kept[i].Bytes())
	}
	db.packer.data = data
	db.rows.Add(1)
	if err := db.shiftTotals(r.key, removed-bytes); err != nil {
		return err
	}
	first := kept[0].Seq
	return exec(db.stmts.setRun, r.id, int64(first), int64(last), bytes,
		finishPacked(data, kindRun, r.key.session, first, last, bodyKey(r.bodyBytes)))
}
