package session_test

import (
	"testing"

	"github.com/x0a1b/promptmq/session"
)

// TestStrike: each entry is struck out once, and no other for it, however many were
// before and left their memory; those that nobody struck out are written.
func TestStrike(t *testing.T) {
	const last = 6000
	var w session.Writes
	next := uint64(1)
	add := func(n int) {
		for range n {
			w.Entries = append(w.Entries, session.Entry{Seq: next, Message: new(session.Message), Receipt: next})
			next++
		}
	}
	add(4000)
	for seq := uint64(2); seq < last; seq++ {
		if seq%10 == 0 { // stays
			continue
		}
		if receipt, found := w.Strike(seq); !found || receipt != seq {
			t.Fatalf("entry %d: %v, found: %t", seq, receipt, found)
		}
		if _, again := w.Strike(seq); again {
			t.Fatalf("entry %d is struck out twice", seq)
		}
		if seq == 3501 { // many that are behind what left
			add(10000)
		}
	}
	left, struck := 0, 0
	for _, e := range w.Entries {
		switch {
		case e.Message == nil:
			struck++
		case e.Seq > 1 && e.Seq < last && e.Seq%10 != 0:
			t.Errorf("entry %d is to be written", e.Seq)
		default:
			left++
		}
	}
	if want := 1 + (last-1)/10 + int(next-last); left != want {
		t.Errorf("%d entries are left, expected %d", left, want)
	}
	if w.Elided+struck != last-2-(last-1)/10 || w.Elided == 0 {
		t.Errorf("%d entries are gone and %d struck out", w.Elided, struck)
	}
	if w.EntriesLen() != left+struck {
		t.Errorf("%d entries", w.EntriesLen())
	}
}
