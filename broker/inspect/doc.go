// Package inspect has what an operator can see of a broker, as plain values: what the API
// answers, the page shows and the commands print. [Judge] says what of it needs attention.
//
// Times are UTC, durations whole seconds, sizes bytes; a zero time is left out. Texts that
// come from Clients are as they came, so who shows them escapes them.
package inspect

import (
	"errors"
	"time"
)

// ErrNotFound says that there is no such Client, Session, subscription or message.
var ErrNotFound = errors.New("not found")

// ErrNotConnected says that there is such a Client, and that it has no connection.
var ErrNotConnected = errors.New("the client is not connected")

// ErrBadCursor says that Window.Cursor is none that a Page of the same list, in the same
// order, has had as Next.
var ErrBadCursor = errors.New("the cursor is not one of this list in this order")

// A Window is a part of a list: at most Limit rows behind Cursor, which is what Page.Next of the
// part before it said; "": from the beginning.
type Window struct {
	Cursor string
	Limit  int
}

// A Page is a part of a list.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"Cursor of the next part; none: this is the last one."`
	// Total is how many there are in all parts, if that is known without going through them.
	Total int `json:"total,omitempty" doc:"How many there are in all, where that is known."`
}

// Seconds is a duration in seconds as JSON has it.
type Seconds float64

// Since is how long ago a time was; 0 if it is zero.
func Since(t, now time.Time) Seconds {
	if t.IsZero() {
		return 0
	}
	return Seconds(now.Sub(t).Seconds())
}
