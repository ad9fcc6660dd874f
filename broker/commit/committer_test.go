package commit

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0a1b/promptmq/session"
)

var errDisk = errors.New("the disk failed")

// TestCommit: what is merged is written in one transaction, then who waits is told.
func TestCommit(t *testing.T) {
	inTime(t, func(x *fixture) {
		number := x.deliver("a", false, nil)
		x.deliver("b", false, nil)
		x.c.Enter()
		x.c.SetRetained("t", session.RetainedWrite{})
		x.c.Leave()
		x.d.set(func(d *disk) {
			d.during = func(*session.Batch) {
				if x.c.Committed() >= number {
					t.Error("it is committed before it is written")
				}
			}
		})
		w := x.await(number)
		x.expectWrites("[1:a 1:b retained t]")
		x.d.set(func(d *disk) { d.during = nil })
		if w.times() != 1 || w.early {
			t.Errorf("told %d times, early: %v", w.times(), w.early)
		}
		if x.c.Committed() != number {
			t.Errorf("%d is committed, not %d", x.c.Committed(), number)
		}
		if x.c.Await(number, w) {
			t.Error("who comes late waits for ever")
		}
		if err := x.c.Wait(number); err != nil {
			t.Error(err)
		}
	})
}

// TestNothingToWrite: a group that has nothing left is committed without the disk.
func TestNothingToWrite(t *testing.T) {
	inTime(t, func(x *fixture) {
		number := x.deliver("a", true, nil)
		x.acknowledge(1)
		if err := x.c.Wait(number); err != nil {
			t.Error(err)
		}
		x.expectWrites()
		if n := x.m.CommitElided.Get(); n != 1 {
			t.Errorf("%d elided", n)
		}
		x.c.NoteTime()
		x.expectWrites("[]")
	})
}

// TestVolatileSession: nothing of it is written.
func TestVolatileSession(t *testing.T) {
	inTime(t, func(x *fixture) {
		x.s = session.New(1, "c", "", false, &session.Limits{})
		x.deliver("a", false, nil)
		if err := x.c.Flush(); err != nil {
			t.Error(err)
		}
		x.expectWrites()
		if x.part.Group() != 0 {
			t.Error("it has a part of a group")
		}
	})
}

// TestLazyCommit: what nobody waits for is written soon, with all that comes meanwhile.
func TestLazyCommit(t *testing.T) {
	inTime(t, func(x *fixture) {
		number := x.deliver("a", false, nil)
		if err := x.c.Wait(number); err != nil {
			t.Fatal(err)
		}
		x.acknowledge(1)
		pass(lazyCommitAfter - time.Millisecond)
		x.expectWrites("[1:a]")
		pass(time.Millisecond)
		x.expectWrites("[1:a]", "[1 state]")
	})
}

// TestOutwait: it does not make the commit come sooner.
func TestOutwait(t *testing.T) {
	inTime(t, func(x *fixture) {
		number := x.deliver("a", false, nil)
		began := time.Now()
		x.c.Enter()
		x.c.Later()
		x.c.Leave()
		if err := x.c.Outwait(number); err != nil || time.Since(began) != lazyCommitAfter {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// TestRetry: a commit that fails is tried again, nobody is told before it succeeds, and
// what comes meanwhile is in the next.
func TestRetry(t *testing.T) {
	inTime(t, func(x *fixture) {
		x.d.set(func(d *disk) {
			d.fail = func(try int) error {
				if try < commitTries {
					return errDisk
				}
				return nil
			}
		})
		w := x.await(x.deliver("a", false, nil))
		pass(3099 * time.Millisecond)
		second := x.await(x.deliver("b", false, nil))
		if w.times() != 0 {
			t.Fatal("told of a commit that failed")
		}
		pass(time.Millisecond)
		x.expectWrites("[1:a]", "[1:b]")
		if w.times() != 1 || second.times() != 1 {
			t.Errorf("told %d and %d times", w.times(), second.times())
		}
		if n := x.m.CommitFailures.Get(); n != commitTries-1 {
			t.Errorf("%d failures", n)
		}
	})
}

// ends checks that the Committer has given up with err, and whoever waits with it.
func (x *fixture) ends(err error, told ...*witness) {
	x.t.Helper()
	if got := <-x.c.Failed(); !errors.Is(got, err) {
		x.t.Errorf("failed with %v, not %v", got, err)
	}
	<-x.c.stopped
	for _, w := range told {
		if w.times() != 0 {
			x.t.Error("told of a commit that failed")
		}
	}
	if x.c.Ready() == nil {
		x.t.Error("ready")
	}
	if got := x.c.Flush(); got != ErrShuttingDown {
		x.t.Errorf("Flush: %v", got)
	}
	if x.c.Shutdown() == nil {
		x.t.Error("Shutdown had no error")
	}
}

func TestFailure(t *testing.T) {
	inTime(t, func(x *fixture) {
		x.d.set(func(d *disk) { d.fail = func(int) error { return errDisk } })
		number := x.deliver("a", false, nil)
		w, done := x.await(number), x.waiting(number)
		x.ends(errDisk, w)
		if err := <-done; err != ErrShuttingDown {
			t.Error(err)
		}
		if n := x.m.CommitFailures.Get(); n != commitTries {
			t.Errorf("%d tries", n)
		}
	})
}

func TestStoreGone(t *testing.T) {
	inTime(t, func(x *fixture) {
		x.d.set(func(d *disk) { d.fail = func(int) error { return session.ErrStoreGone } })
		began := time.Now()
		w := x.await(x.deliver("a", false, nil))
		x.ends(session.ErrStoreGone, w)
		if d := time.Since(began); d > 0 {
			t.Errorf("it was tried for %v", d)
		}
	})
}

// TestStoreGoneIsNoticed: /ready finds out too.
func TestStoreGoneIsNoticed(t *testing.T) {
	inTime(t, func(x *fixture) {
		if err := x.c.Ready(); err != nil {
			t.Error(err)
		}
		x.d.set(func(d *disk) { d.gone = session.ErrStoreGone })
		if err := x.c.Ready(); err != session.ErrStoreGone {
			t.Error(err)
		}
		if err := <-x.c.Failed(); err != session.ErrStoreGone {
			t.Error(err)
		}
	})
}

func TestPanicInCommit(t *testing.T) {
	inTime(t, func(x *fixture) {
		asked := errors.New("asked for")
		x.d.set(func(d *disk) { d.during = func(*session.Batch) { panic(asked) } })
		w := x.await(x.deliver("a", false, nil))
		err := <-x.c.Failed()
		if !strings.Contains(err.Error(), asked.Error()) || w.times() != 0 || x.m.Panics.Get() != 1 {
			t.Errorf("%v, told %d times, %d panics", err, w.times(), x.m.Panics.Get())
		}
		<-x.c.stopped
	})
}

// TestDiskFull: no room is no failure, however long it lasts; after a second of it what
// would be stored is refused, and no longer when there is room.
func TestDiskFull(t *testing.T) {
	inTime(t, func(x *fixture) {
		x.d.set(func(d *disk) { d.fail = func(int) error { return fmt.Errorf("no: %w", session.ErrNoSpace) } })
		w := x.await(x.deliver("a", false, nil))
		admit := func() bool {
			x.c.Enter()
			defer x.c.Leave()
			return x.c.Admit(1, "PUBLISH")
		}
		pass(fullAfter - time.Millisecond)
		if !admit() || x.c.Full() || x.c.DiskFull() {
			t.Error("refused at once")
		}
		pass(time.Hour)
		if admit() || !x.c.Full() || !x.c.DiskFull() || x.m.StoreRefused("PUBLISH").Get() != 1 {
			t.Error("not refused")
		}
		if x.c.since(&x.c.busy) > passesRetry {
			t.Errorf("it says that it is busy for %v", x.c.since(&x.c.busy))
		}
		if w.times() != 0 {
			t.Error("told of a commit that failed")
		}
		x.d.set(func(d *disk) { d.fail = nil })
		pass(passesRetry)
		if w.times() != 1 || !admit() || x.c.Full() {
			t.Errorf("with room again: told %d times, full %v", w.times(), x.c.Full())
		}
	})
}

// TestShutdownOnAFullDisk: it is tried a few times more, and not for ever.
func TestShutdownOnAFullDisk(t *testing.T) {
	inTime(t, func(x *fixture) {
		x.d.set(func(d *disk) { d.fail = func(int) error { return session.ErrNoSpace } })
		x.await(x.deliver("a", false, nil))
		pass(time.Hour)
		if err := x.c.Shutdown(); err != ErrShuttingDown {
			t.Error(err)
		}
		if err := <-x.c.Failed(); err != session.ErrNoSpace {
			t.Error(err)
		}
	})
}

// TestShutdown: what is open is written, and what time it is.
func TestShutdown(t *testing.T) {
	inTime(t, func(x *fixture) {
		number := x.deliver("a", true, nil)
		w := &witness{c: x.c, number: number}
		x.c.Enter() // so that its group cannot be committed yet
		x.c.Await(number, w)
		x.c.Leave()
		if err := x.c.Shutdown(); err != nil {
			t.Error(err)
		}
		x.expectWrites("[1:a]", "[]")
		if w.times() != 1 {
			t.Errorf("told %d times", w.times())
		}
	})
}

// TestShutdownWithoutAnAnswer: while the disk does not answer it is known what is not
// stored, and since when.
func TestShutdownWithoutAnAnswer(t *testing.T) {
	inTime(t, func(x *fixture) {
		answer := make(chan struct{})
		x.d.set(func(d *disk) { d.answer = answer })
		x.await(x.deliver("a", false, nil))
		pass(0)
		x.deliver("b", false, nil)
		x.c.Enter()
		x.c.SetRetained("t", session.RetainedWrite{})
		x.c.Leave()
		done := make(chan error, 1)
		go func() { done <- x.c.Shutdown() }()
		pass(11 * time.Second)
		if n, all := x.c.Unstored(); n != (Unstored{Messages: 2, Sessions: 2, Retained: 1}) || !all {
			t.Errorf("%+v, all %v", n, all)
		}
		if d := x.c.Waiting(); d != 11*time.Second {
			t.Errorf("the disk has not answered for %v", d)
		}
		if err := x.c.Ready(); err == nil || !strings.Contains(err.Error(), "the disk has not finished") {
			t.Errorf("ready: %v", err)
		}
		x.c.Enter()
		if _, all := x.c.Unstored(); all {
			t.Error("it looked at a group that somebody adds to")
		}
		x.c.Leave()
		close(answer)
		if err := <-done; err != nil {
			t.Error(err)
		}
		x.expectWrites("[1:a]", "[1:b retained t]", "[]")
	})
}

// TestCommitThatIsKept: a commit that something in the broker keeps from coming to an end
// is noticed, and the log has what all goroutines do.
func TestCommitThatIsKept(t *testing.T) {
	inTime(t, func(x *fixture) {
		block := make(chan struct{})
		number := x.deliver("a", false, nil)
		x.c.Enter() // so that it is not committed before do is set
		w := x.await(number)
		w.do = func() { <-block }
		x.c.Leave()
		pass(stalledAfter + time.Second)
		if err := x.c.Ready(); err == nil || !strings.Contains(err.Error(), "not because of the disk") {
			t.Errorf("ready: %v", err)
		}
		if log := x.log.String(); !strings.Contains(log, "TestCommitThatIsKept") {
			t.Errorf("the log does not say who keeps it: %s", log)
		}
		close(block)
		synctest.Wait()
		if err := x.c.Ready(); err != nil {
			t.Error(err)
		}
	})
}

// TestAlone: nobody is in the gate meanwhile.
func TestAlone(t *testing.T) {
	c := New(new(disk), NewClock(nil, slog.New(slog.DiscardHandler)), nil, nil)
	c.Enter()
	var alone atomic.Bool
	over := make(chan struct{})
	go func() {
		defer close(over)
		c.Alone(func() { alone.Store(true) })
	}()
	for range 10_000 { // time enough for an Alone that does not wait
		runtime.Gosched()
	}
	if alone.Load() {
		t.Error("alone, though somebody is in the gate")
	}
	c.Leave()
	<-over
}

// TestFlushUnless: who waits may give up.
func TestFlushUnless(t *testing.T) {
	inTime(t, func(x *fixture) {
		answer, stop := make(chan struct{}), make(chan struct{})
		x.d.set(func(d *disk) { d.answer = answer })
		x.deliver("a", false, nil)
		done := make(chan error, 1)
		go func() { done <- x.c.FlushUnless(stop) }()
		pass(time.Hour)
		close(stop)
		if err := <-done; err != ErrShuttingDown {
			t.Error(err)
		}
		close(answer)
	})
}

// TestOverfull: who adds to a group that has too much is woken when another is open.
func TestOverfull(t *testing.T) {
	inTime(t, func(x *fixture) {
		answer := make(chan struct{})
		x.d.set(func(d *disk) { d.answer = answer })
		x.c.LimitOpenEntries(2)
		x.await(x.deliver("first", false, nil)) // is being written
		pass(0)
		x.deliver("a", false, nil)
		x.deliver("b", false, nil)
		if x.c.Overfull() != nil {
			t.Error("at its limit is not beyond it")
		}
		x.deliver("c", false, nil)
		room := x.c.Overfull()
		if room == nil || x.c.OpenEntries() != 3 {
			t.Fatalf("not full with %d entries", x.c.OpenEntries())
		}
		pass(time.Hour)
		select {
		case <-room:
			t.Error("woken for nothing")
		default:
		}
		answer <- struct{}{}
		<-room
		if x.c.Overfull() != nil {
			t.Error("full again")
		}
		close(answer)
		x.expectWrites("[1:first]", "[1:a 1:b 1:c]")
	})
}

// TestOverfullBytes: the same for the bytes of what was added.
func TestOverfullBytes(t *testing.T) {
	inTime(t, func(x *fixture) {
		answer := make(chan struct{})
		x.d.set(func(d *disk) { d.answer = answer })
		x.await(x.deliver("first", false, nil)) // is being written
		pass(0)
		x.deliver("a", false, nil)
		x.c.Reserve(openBytesMax)
		if x.c.Overfull() != nil {
			t.Error("at its limit is not beyond it")
		}
		x.c.Reserve(1)
		room := x.c.Overfull()
		if room == nil {
			t.Fatal("not full")
		}
		answer <- struct{}{}
		<-room
		if x.c.Overfull() != nil {
			t.Error("full again")
		}
		close(answer)
	})
}

// TestRoom: what is admitted has its room, and a commit gives back what it did not take.
func TestRoom(t *testing.T) {
	inTime(t, func(x *fixture) {
		x.d.set(func(d *disk) { d.room = 1000 })
		x.c.NoteTime()
		synctest.Wait()
		x.c.Enter()
		got := []bool{x.c.Admit(600, "a"), x.c.Admit(600, "b"), x.c.Admit(400, "c"), x.c.Admit(1, "d"), x.c.Admit(0, "e"), x.c.Admit(-5, "f")}
		x.c.Reserve(100) // whether there is room or not
		x.c.Leave()
		if !slices.Equal(got, []bool{true, false, true, false, true, true}) {
			t.Errorf("admitted: %v", got)
		}
		if !x.c.Full() || x.c.DiskFull() || x.m.StoreRefused("b").Get() != 1 || x.m.StoreRefused("d").Get() != 1 {
			t.Error("what was refused is not counted")
		}
		x.d.set(func(d *disk) { d.room = 1 })
		x.c.NoteTime()
		synctest.Wait()
		x.c.Enter()
		defer x.c.Leave()
		if x.c.Full() || x.c.Admit(2, "g") || !x.c.Admit(1, "h") {
			t.Error("the room is not what the store says")
		}
	})
}
