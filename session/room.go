package session

// room is what the queue holds, for its limits.
type room struct {
	// beyond and beyondBytes are how far the limits were exceeded by
	// DropOldest, and lastBytes the bytes of the last entry that did.
	beyond, beyondBytes, lastBytes int
	// lost counts what TakeLost returns.
	lost uint64

	queueLen   int   // entries not done, wherever they are
	queueBytes int64 // their bytes; of those on disk as far as known
}
