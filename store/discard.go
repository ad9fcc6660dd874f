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
	unsummed := false
	for len(seqs) > 0 {
		r, err := db.runAt(id, seqs[0])
		if err != nil {
			return err
		}
		if r.id == 0 { // no run has it or any after it
			return nil
		}
		changed, err := db.discardFrom(r, seqs)
		if err == nil && changed && !unsummed {
			unsummed, err = db.unsum(r.key)
		}
		if err != nil {
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

// discardRanges removes the runs of a Session's queue that are wholly in one of the
// ranges, as far as this transaction may. What it leaves, of a queue that was not looked
// after for long, is done all the same: a cleanup removes it.
func (db *DB) discardRanges(id int64, ranges []session.SeqRange) error {
	unsummed := false
	for _, r := range ranges {
		for removed, n := 0, 0; removed == n; {
			if n = db.removing.more(); n == 0 {
				return nil
			}
			var err error
			removed, err = db.removeWith(db.stmts.delRange, id, int64(r.First), int64(r.Last), int64(n))
			if err == nil && removed > 0 && !unsummed {
				unsummed, err = db.unsum(runKey{session: uint64(id), first: r.First})
			}
			if err != nil {
				return err
			}
		}
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

// unsum notes that the totals of a queue are too high from now on, because a run other
// than the first has lost something, and reports whether it noted that.
// What the first loses needs no note: a queue holds the difference between its last
// total and what is before its first run. Correcting the totals would mean writing all
// later runs.
func (db *DB) unsum(run runKey) (noted bool, err error) {
	if err := bind(db.stmts.hasBefore, []any{int64(run.session), int64(run.first)}); err != nil {
		return false, err
	}
	before, err := stepInt(db.stmts.hasBefore)
	if err != nil || before == 0 {
		return false, err
	}
	return true, exec(db.stmts.putUnsummed, int64(run.session))
}

// discardFrom removes those of seqs, which are in order, that r has, and reports
// whether there were any.
func (db *DB) discardFrom(r storedRun, seqs []uint64) (changed bool, err error) {
	var kept []session.Entry
	var places []int
	had := 0
	err = eachEntry(r.key, r.data, r.bodyBytes, func(e session.Entry, at int) {
		had++
		if _, gone := slices.BinarySearch(seqs, e.Seq); !gone {
			kept, places = append(kept, e), append(places, at)
		}
	})
	if err != nil || len(kept) == had {
		return false, err
	}
	db.rows.Add(1)
	db.removing.count(1)
	if len(kept) == 0 {
		if err := exec(db.stmts.delRun, r.id); err != nil || r.body == 0 {
			return true, err
		}
		return true, db.unrefBody(r.body)
	}
	data, last, bytes := startPacked(db.packer.data), uint64(0), int64(0)
	for i := range kept {
		data = appendEntry(data, &kept[i], last, places[i])
		last = kept[i].Seq
		bytes += int64(kept[i].Bytes())
	}
	db.packer.data = data
	first := kept[0].Seq
	return true, exec(db.stmts.setRun, r.id, int64(first), int64(last), bytes,
		finishPacked(data, kindRun, r.key.session, first, last, bodyKey(r.bodyBytes)))
}
