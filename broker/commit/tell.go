package commit

import (
	"log/slog"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/metrics"
)

const (
	// tellAloneMax is how many Waiters the Committer tells of a commit itself: fewer
	// are told sooner than another goroutine wakes.
	tellAloneMax = 64
	// tellChunk is how many one teller takes at a time.
	tellChunk = 32
	// tellersMax bounds the goroutines that tell.
	tellersMax = 4
)

// tellers tell Waiters of commits, together with the Committer: to tell one is to write to
// its socket, and there may be thousands. What no teller is free for, the Committer tells
// itself; if it went ahead of them, its groups would be smaller, and cost more in all.
type tellers struct {
	log    *slog.Logger
	m      *metrics.Broker
	chunks chan []Waiter // unbuffered
	ended  sync.WaitGroup
}

// start begins the goroutines.
func (t *tellers) start() {
	t.chunks = make(chan []Waiter)
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

// tellOf tells waiters of a commit; of many, the last may be told after it has returned.
// It is called by the goroutine that starts and stops the tellers.
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

// tell tells each of waiters, even if one panics.
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
			t.log.Error("panic", trouble.Panic, "doing", "telling of a commit", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	for _, w := range waiters {
		told++
		w.Committed()
	}
	return told
}
