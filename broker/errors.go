package broker

import (
	"errors"
	"io"

	"github.com/x0a1b/promptmq/codec"
)

// A refusal ends a Network Connection with a Reason Code for the Client:
// before CONNACK in a CONNACK, after it in a DISCONNECT. Section 4.13.
type refusal struct {
	reason codec.ReasonCode
	detail string // for the Client and the log
	attrs  []any  // for the log: sizes, limits, keys, names; as for slog
	client string // for the log, the one whose CONNECT is refused
	code   string // for the log, where the reason alone would lead nowhere; "": that of the reason
}

func (e *refusal) Error() string { return e.reason.String() + ": " + e.detail }

// refuse returns a refusal. attrs are what the log says besides, as for slog; names that
// the Client has chosen go through notice.Shown.
func refuse(reason codec.ReasonCode, detail string, attrs ...any) error {
	return &refusal{reason: reason, detail: detail, attrs: attrs}
}

// nameRefused notes in err, if it is a refusal, whose CONNECT it refuses.
func nameRefused(err error, clientID codec.View) {
	if err == nil {
		return
	}
	if r, ok := errors.AsType[*refusal](err); ok {
		r.client = string(clientID)
	}
}

var (
	errNotReady = errors.New("the store is not loaded yet")
	// errTakenOver ends a connection whose Session another one has taken. The Client is
	// told by lastWord.
	errTakenOver = errors.New("session taken over")
	// errDisconnect says that the Client sent DISCONNECT.
	errDisconnect = errors.New("client disconnected")
	// errAnotherGoroutine is not an error: another goroutine goes on.
	errAnotherGoroutine = errors.New("another goroutine goes on")
)

// reasonOf returns the Reason Code and the text that describe err to the
// Client; ok is false if the connection just ended.
func reasonOf(err error) (reason codec.ReasonCode, detail string, ok bool) {
	if err == errDisconnect || err == io.EOF { // as nearly always
		return 0, "", false
	}
	if malformed, ok := errors.AsType[*codec.Error](err); ok {
		detail = malformed.Detail
		if malformed.Rule != "" {
			detail += " [" + malformed.Rule + "]"
		}
		return malformed.Reason, detail, true
	}
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.reason, r.detail, true
	}
	return 0, "", false
}
