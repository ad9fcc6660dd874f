package broker

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/x0a1b/promptmq/broker/inspect"
)

const (
	// windowDefault is how many rows a part of a list has if nobody says, windowMax how
	// many it may have.
	windowDefault = 100
	windowMax     = 1000
	// lookEvery is how many rows are looked at between two looks whether anybody still
	// waits for them.
	lookEvery = 256
)

// windowLimit is how many rows a part of a list may have.
func windowLimit(w inspect.Window) int {
	if w.Limit <= 0 {
		return windowDefault
	}
	return min(w.Limit, windowMax)
}

// A rank is where a row stands in a list: by number, then text, then id, which no other row
// of the list has.
type rank struct {
	number   int64
	text, id string
}

func (r rank) compare(other rank) int {
	return cmp.Or(cmp.Compare(r.number, other.number), strings.Compare(r.text, other.text), strings.Compare(r.id, other.id))
}

// cursor is r as the text that inspect.Window.Cursor has. order names the list and its order.
func (r rank) cursor(order string) string {
	var b []byte
	for _, s := range []string{order, r.text, r.id} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	return base64.RawURLEncoding.EncodeToString(binary.AppendVarint(b, r.number))
}

// parseCursor is the reverse of rank.cursor. It fails with inspect.ErrBadCursor.
func parseCursor(cursor, order string) (r rank, err error) {
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return rank{}, inspect.ErrBadCursor
	}
	var its string
	for _, s := range []*string{&its, &r.text, &r.id} {
		length, n := binary.Uvarint(b)
		if n <= 0 || length > uint64(len(b)-n) {
			return rank{}, inspect.ErrBadCursor
		}
		b = b[n:]
		*s, b = string(b[:length]), b[length:]
	}
	number, n := binary.Varint(b)
	if n <= 0 || n != len(b) || its != order {
		return rank{}, inspect.ErrBadCursor
	}
	r.number = number
	return r, nil
}

// A selection finds the rows of one part of a list among all that it is offered, in any
// order, and keeps no more than about twice as many.
type selection[T any] struct {
	// Static after newSelection.
	order      string
	descending bool
	limit      int
	after      rank
	continued  bool // only rows behind after are of this part

	total int // rows that were offered
	rows  []selected[T]
	cut   bool // rows was cut: what is behind its place limit is not of this part
}

type selected[T any] struct {
	rank
	item T
}

// newSelection begins a selection. Its error is inspect.ErrBadCursor.
func newSelection[T any](w inspect.Window, order string, descending bool) (*selection[T], error) {
	s := &selection[T]{order: order, descending: descending, limit: windowLimit(w)}
	if w.Cursor == "" {
		return s, nil
	}
	var err error
	s.after, err = parseCursor(w.Cursor, order)
	s.continued = err == nil
	return s, err
}

func (s *selection[T]) compare(a, b rank) int {
	if s.descending {
		a, b = b, a
	}
	return a.compare(b)
}

// offer considers a row.
func (s *selection[T]) offer(r rank, item T) {
	s.total++
	if s.continued && s.compare(r, s.after) <= 0 {
		return
	}
	if s.cut && s.compare(r, s.rows[s.limit].rank) > 0 {
		return
	}
	if s.rows = append(s.rows, selected[T]{r, item}); len(s.rows) > 2*s.limit+1 {
		s.sort()
		if len(s.rows) > s.limit {
			clear(s.rows[s.limit+1:])
			s.rows, s.cut = s.rows[:s.limit+1], true // one more tells that there is a next part
		}
	}
}

// sort sorts rows, and drops what was offered twice.
func (s *selection[T]) sort() {
	slices.SortFunc(s.rows, func(a, b selected[T]) int { return s.compare(a.rank, b.rank) })
	s.rows = slices.CompactFunc(s.rows, func(a, b selected[T]) bool { return a.rank == b.rank })
}

// take returns the rows of this part in order, and the cursor of the next one; "": there is
// none.
func (s *selection[T]) take() (rows []selected[T], next string) {
	s.sort()
	if len(s.rows) <= s.limit {
		return s.rows, ""
	}
	rows = s.rows[:s.limit]
	return rows, rows[s.limit-1].cursor(s.order)
}
