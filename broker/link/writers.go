package link

import (
	"sync"
	"time"
)

const (
	// At most writersIdleMax goroutines wait for something to write, each for writerWait.
	writersIdleMax = 64
	writerWait     = 10 * time.Second
)

// Writers are the goroutines that write what could block, each for one connection at a
// time, so that a peer that does not read stalls no other. One that has written all waits
// for the next connection: else a stream that can only block would start a goroutine for
// each flush. The zero value is ready.
type Writers struct {
	mu     sync.Mutex // guards the following
	idle   []chan writing
	closed bool // none waits any more
}

// writing is what one of Writers has to do.
type writing struct {
	to  Drainer
	buf []byte
	n   int
}

// A Drainer writes buf from n on, and may block. It does not panic.
type Drainer interface{ Drain(buf []byte, n int) }

// DrainLater has a goroutine of the Transport's Network call to.Drain: see
// Writers.Drain.
func DrainLater(t Transport, to Drainer, buf []byte, n int) {
	if l := t.Listener(); l != nil {
		l.network.writers.Drain(to, buf, n)
		return
	}
	go to.Drain(buf, n)
}

// Drain has a goroutine call to.Drain. It does not block, and may be called with
// locks held.
func (w *Writers) Drain(to Drainer, buf []byte, n int) {
	job := writing{to, buf, n}
	if next := w.take(); next != nil {
		next <- job // has room: only who has taken it sends to it
		return
	}
	go w.run(job)
}

// Close ends the writers when they have written all.
func (w *Writers) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for _, next := range w.idle {
		close(next)
	}
	w.idle = nil
}

// take returns an idle writer; nil: there is none.
func (w *Writers) take() chan writing {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := len(w.idle) - 1
	if last < 0 {
		return nil
	}
	next := w.idle[last]
	w.idle[last] = nil
	w.idle = w.idle[:last]
	return next
}

func (w *Writers) run(job writing) {
	next := make(chan writing, 1)
	late := time.NewTimer(writerWait)
	defer late.Stop()
	for {
		job.to.Drain(job.buf, job.n)
		job = writing{}
		if !w.offer(next) {
			return
		}
		late.Reset(writerWait)
		select {
		case another, ok := <-next:
			if !ok {
				return
			}
			job = another
		case <-late.C:
			if w.withdraw(next) {
				return
			}
			var ok bool
			if job, ok = <-next; !ok { // it was taken meanwhile
				return
			}
		}
	}
}

// offer makes a writer idle, unless there are enough.
func (w *Writers) offer(next chan writing) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || len(w.idle) >= writersIdleMax {
		return false
	}
	w.idle = append(w.idle, next)
	return true
}

// withdraw reports whether the writer was still idle. It is not any more.
func (w *Writers) withdraw(next chan writing) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, c := range w.idle {
		if c == next {
			w.idle = append(w.idle[:i], w.idle[i+1:]...)
			return true
		}
	}
	return false
}
