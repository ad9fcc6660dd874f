package broker

import (
	"errors"

	"github.com/x0a1b/promptmq/codec"
)

// A refusal ends a Network Connection with a Reason Code for the Client:
// before CONNACK in a CONNACK, after it in a DISCONNECT. Section 4.13.
type refusal struct {
	reason codec.ReasonCode
	detail string
}

func (e *refusal) Error() string { return e.reason.String() + ": " + e.detail }

func refuse(reason codec.ReasonCode, detail string) error { return &refusal{reason, detail} }

var (
	errShuttingDown = errors.New("the broker is shutting down")
	errNotReady     = errors.New("the store is not loaded yet")
	errStoreFailed  = errors.New("the store takes nothing any more")
	// errTakenOver ends the handlers of a connection whose Session another
	// connection has taken; the DISCONNECT was sent by whoever took it.
	errTakenOver = errors.New("session taken over")
	// errDisconnect says that the Client sent DISCONNECT.
	errDisconnect = errors.New("client disconnected")
	// errAnotherGoroutine is not an error: another goroutine goes on.
	errAnotherGoroutine = errors.New("another goroutine goes on")
)

// reasonOf returns the Reason Code and the text that describe err to the
// Client; ok is false if the connection just ended.
func reasonOf(err error) (reason codec.ReasonCode, detail string, ok bool) {
	var malformed *codec.Error
	if errors.As(err, &malformed) {
		detail = malformed.Detail
		if malformed.Rule != "" {
			detail += " [" + malformed.Rule + "]"
		}
		return malformed.Reason, detail, true
	}
	var r *refusal
	if errors.As(err, &r) {
		return r.reason, r.detail, true
	}
	return 0, "", false
}
