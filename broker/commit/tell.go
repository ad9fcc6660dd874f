package commit

import (
	"log/slog"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/x0a1b/promptmq/metrics"
)

const (
	// tellAloneMax is how many Waiters the Committer tells of a commit itself: fewer
	// are told sooner than another goroutine wakes.
	tellAloneMax = 16
	// tellChunk is how many one teller takes at a time, and tellQueue how many chunks
	// may wait for the tellers; then the Committer helps.
	tellChunk = 32
	tellQueue = 64
	// tellersMax bounds the goroutines that tell.
	tellersMax = 4
)

// tellers let Waiters know of commits, so that the Committer goes on with the next group:
// telling one is a write to its socket, and there may be thousands.
type tellers struct {
	log    *slog.Logger
	m      *metrics.Broker
	chunks chan []Waiter
	ended  sync.WaitGroup
}

// start begins the goroutines.
func (t *tellers) start() {
	t.chunks = make(chan []Waiter, tellQueue)
	for range min(tellersMax, runtime.GOMAXPROCS(0)) {
		t.ended.Go(func() {
			for chunk := range t.chunks {
				t.tell(chunk)
			}
		})
	}
}

// stop ends the goroutines when all have been told.
func (t *tellers) stop() {
	close(t.chunks)
	t.ended.Wait()
}

// tellOf lets waiters know of a commit, few of them before it returns. Only the goroutine
// that starts and stops the tellers calls it.
func (t *tellers) tellOf(waiters []Waiter) {
	if len(waiters) <= tellAloneMax {
		t.tell(waiters)
		return
	}
	for chunk := range slices.Chunk(waiters, tellChunk) {
		select {
		case t.chunks <- chunk:
		default:
			t.tell(chunk)
		}
	}
}

// tell lets each of waiters know, whatever happens with one of them.
func (t *tellers) tell(waiters []Waiter) {
	for len(waiters) > 0 {
		waiters = waiters[t.tellSome(waiters):]
	}
}

// tellSome returns how many were told, the one that panicked among them.
func (t *tellers) tellSome(waiters []Waiter) (told int) {
	defer func() {
		if p := recover(); p != nil {
			t.m.Panics.Inc()
			t.log.Error("panic", "doing", "telling of a commit", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	for _, w := range waiters {
		told++
		w.Committed()
	}
	return told
}
