package commit

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/session"
)

// TestStoreBusy: a store that takes nothing for now is no failure, however long that lasts.
// Nobody is told, nothing is refused, and readiness says why.
func TestStoreBusy(t *testing.T) {
	inTime(t, func(x *fixture) {
		x.d.set(func(d *disk) { d.fail = func(int) error { return fmt.Errorf("locked: %w", session.ErrStoreBusy) } })
		w := x.await(x.deliver("a", false, nil))
		pass(stalledAfter - time.Second)
		if err := x.c.Ready(); err != nil {
			t.Errorf("after a moment: %v", err)
		}
		pass(time.Hour)
		if err := x.c.Ready(); err == nil || !strings.Contains(err.Error(), "locked") {
			t.Errorf("after an hour: %v", err)
		}
		if d := x.c.Waiting(); d < time.Hour {
			t.Errorf("it has waited for %v", d)
		}
		ctx, cancel := context.WithTimeout(x.t.Context(), time.Second)
		defer cancel()
		if waits, err := x.c.Answers(ctx); err != nil || !strings.Contains(waits, "locked") {
			t.Errorf("it waits for %q, %v", waits, err)
		}
		x.c.Enter()
		if !x.c.Admit(1, "PUBLISH") || x.c.Full() || x.c.DiskFull() {
			t.Error("refused")
		}
		x.c.Leave()
		second := x.await(x.deliver("b", false, nil))
		if w.times() != 0 || x.m.CommitFailures.Get() <= commitTries {
			t.Errorf("told %d times, %d failures", w.times(), x.m.CommitFailures.Get())
		}
		if log := x.log.String(); !strings.Contains(log, "code=store-busy") || strings.Contains(log, "level=ERROR") {
			t.Errorf("the log: %s", log)
		}
		x.d.set(func(d *disk) { d.fail = nil })
		pass(passesRetry)
		x.expectWrites("[1:a]", "[1:b]")
		if w.times() != 1 || second.times() != 1 {
			t.Errorf("told %d and %d times", w.times(), second.times())
		}
		if err := x.c.Ready(); err != nil {
			t.Errorf("when it is over: %v", err)
		}
		if d := x.c.Waiting(); d != 0 {
			t.Errorf("when it is over it waits for %v", d)
		}
	})
}

// TestShutdownOfABusyStore: it is tried a few times more, and not for ever.
func TestShutdownOfABusyStore(t *testing.T) {
	inTime(t, func(x *fixture) {
		x.d.set(func(d *disk) { d.fail = func(int) error { return session.ErrStoreBusy } })
		w := x.await(x.deliver("a", false, nil))
		pass(time.Hour)
		if err := x.c.Shutdown(); err != ErrShuttingDown {
			t.Error(err)
		}
		if err := <-x.c.Failed(); err != session.ErrStoreBusy {
			t.Error(err)
		}
		if w.times() != 0 {
			t.Error("told of a commit that failed")
		}
	})
}

// TestKinds: one error after the other is dealt with by its own kind.
func TestKinds(t *testing.T) {
	inTime(t, func(x *fixture) {
		errs := []error{session.ErrStoreBusy, session.ErrNoSpace, errDisk, session.ErrStoreBusy, session.ErrStoreGone, errDisk}
		x.d.set(func(d *disk) { d.fail = func(try int) error { return errs[try-1] } })
		w := x.await(x.deliver("a", false, nil))
		x.ends(session.ErrStoreGone, w)
		if n := x.m.CommitFailures.Get(); n != 5 {
			t.Errorf("%d tries", n)
		}
	})
}
