package access

import "context"

// An Exchange is one enhanced authentication, from its first Authentication Data to its end.
// Section 4.12. It is used by one goroutine at a time, and forgotten once it is done or has
// failed.
type Exchange interface {
	// Next takes what the Client said and returns what to answer. When who is not nil the
	// Client is authenticated, and reply is the last Authentication Data for it. It may
	// block until ctx ends. Its error is a *Refusal.
	Next(ctx context.Context, data []byte) (reply []byte, who *Identity, err error)
}
