package link

import (
	"fmt"
	"runtime/metrics"
	"testing"
	"testing/synctest"
	"time"
)

// started is how many goroutines this process has started.
func started() uint64 {
	s := []metrics.Sample{{Name: "/sched/goroutines-created:goroutines"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// A drain says that it was called, and blocks until it may return.
type drain struct{ called, done chan int }

func (d drain) Drain(_ []byte, n int) {
	d.called <- n
	<-d.done
}

// waiting is how many writers have nothing to write.
func (w *Writers) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.idle)
}

// TestWriters: what is written one after the other takes one goroutine, who does not
// come to an end stalls nobody, and idle goroutines end.
func TestWriters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w Writers
		slow := drain{make(chan int), make(chan int)}
		w.Drain(slow, nil, -1)
		<-slow.called
		before := started()
		fast := drain{make(chan int), make(chan int)}
		for i := range 1000 {
			w.Drain(fast, nil, i)
			if got := <-fast.called; got != i {
				t.Fatalf("%d in place of %d", got, i)
			}
			fast.done <- i
			synctest.Wait() // it is idle
		}
		if n := started() - before; n > 20 { // those of others are counted too
			t.Errorf("%d goroutines for what one can do", n)
		}
		const many = 3 * writersIdleMax
		for i := range many {
			w.Drain(fast, nil, i)
			<-fast.called
		}
		for i := range many {
			fast.done <- i
		}
		synctest.Wait()
		if n := w.waiting(); n != writersIdleMax {
			t.Errorf("%d idle writers, want %d", n, writersIdleMax)
		}
		time.Sleep(2 * writerWait)
		synctest.Wait()
		if n := w.waiting(); n != 0 {
			t.Errorf("%d idle writers after a long time", n)
		}
		w.Close()
		slow.done <- 0
	})
}

// TestWritersAtTheirEnd: what comes as a writer stops waiting is written all the same.
func TestWritersAtTheirEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w Writers
		d := drain{make(chan int), make(chan int)}
		for i := range 100 {
			w.Drain(d, nil, i)
			if got := <-d.called; got != i {
				t.Fatal(fmt.Sprint(got, " in place of ", i))
			}
			d.done <- i
			time.Sleep(writerWait) // both happen at this moment, in either order
		}
		w.Close()
	})
}
