package commit

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/x0a1b/promptmq/session"
)

// TestBetween: other writes and commits take turns, and their errors are told.
func TestBetween(t *testing.T) {
	inTime(t, func(x *fixture) {
		writing := false
		x.d.set(func(d *disk) {
			d.during = func(*session.Batch) {
				if writing {
					t.Error("a commit during another write")
				}
			}
		})
		for i := range 10 {
			number := x.deliver("a", false, nil)
			want := []error{nil, errDisk}[i%2]
			err := x.c.Between(x.t.Context(), func() error {
				writing = true
				x.c.Wake()
				synctest.Wait()
				writing = false
				return want
			})
			if !errors.Is(err, want) {
				t.Errorf("%v, expected %v", err, want)
			}
			if err := x.c.Wait(number); err != nil {
				t.Error(err)
			}
		}
		x.d.set(func(d *disk) { d.during = nil })
	})
}

// TestBetweenNotBegun: while the disk does not answer another write is given up, and is not
// done later either.
func TestBetweenNotBegun(t *testing.T) {
	inTime(t, func(x *fixture) {
		answer := make(chan struct{})
		x.d.set(func(d *disk) { d.answer = answer })
		number := x.deliver("a", false, nil)
		x.c.Wake()
		synctest.Wait()
		ctx, cancel := context.WithCancel(x.t.Context())
		ended := make(chan error, 1)
		go func() { ended <- x.c.Between(ctx, func() error { t.Error("called"); return nil }) }()
		synctest.Wait()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		x.d.set(func(d *disk) { d.answer = nil })
		close(answer)
		if err := x.c.Wait(number); err != nil {
			t.Error(err)
		}
	})
}

// TestPanicBetween: a panic is told, and ends the Committer.
func TestPanicBetween(t *testing.T) {
	inTime(t, func(x *fixture) {
		err := x.c.Between(x.t.Context(), func() error { panic("oh") })
		if err == nil || !strings.Contains(err.Error(), "oh") {
			t.Error(err)
		}
		if err := <-x.c.Failed(); err == nil {
			t.Error("it goes on")
		}
		if err := x.c.Between(x.t.Context(), func() error { return nil }); !errors.Is(err, ErrShuttingDown) {
			t.Error(err)
		}
	})
}
