package commit

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0a1b/promptmq/metrics"
	"github.com/x0a1b/promptmq/session"
)

// A disk is a Store in memory.
type disk struct {
	mu     sync.Mutex // guards the following
	tries  int
	stored []string             // what each transaction wrote
	fail   func(try int) error  // nil: nothing fails; tries count from 1
	answer chan struct{}        // nil: at once; else Apply takes something from it first
	during func(*session.Batch) // in Apply
	room   int64
	gone   error
}

func (d *disk) Apply(b *session.Batch) error {
	d.mu.Lock()
	d.tries++
	try, fail, answer, during := d.tries, d.fail, d.answer, d.during
	d.mu.Unlock()
	if answer != nil {
		<-answer
	}
	if during != nil {
		during(b)
	}
	if fail != nil {
		if err := fail(try); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stored = append(d.stored, digest(b))
	return nil
}

// digest names what b writes.
func digest(b *session.Batch) string {
	var rows []string
	for id, w := range b.Sessions {
		for i := range w.Entries {
			if m := w.Entries[i].Message; m != nil {
				rows = append(rows, fmt.Sprintf("%d:%s", id, m.Payload))
			}
		}
		if w.Ended {
			rows = append(rows, fmt.Sprintf("%d ended", id))
		}
		if w.State != nil {
			rows = append(rows, fmt.Sprintf("%d state", id))
		}
	}
	for topic := range b.Retained {
		rows = append(rows, "retained "+topic)
	}
	slices.Sort(rows)
	return fmt.Sprint(rows)
}

func (d *disk) Room() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.room
}

func (d *disk) Gone() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.gone
}
func (d *disk) Tidy() (more bool, err error)   { return false, nil }
func (d *disk) Removing() bool                 { return false }
func (d *disk) Remove() (more bool, err error) { return false, nil }

func (d *disk) set(change func(d *disk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

// wrote are the transactions so far.
func (d *disk) wrote() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.stored)
}

// A fixture is a Committer on a disk, in virtual time, with one Session.
type fixture struct {
	t    *testing.T
	c    *Committer
	d    *disk
	m    *metrics.Broker
	log  lockedBuffer
	s    *session.Session
	part Part
	seq  uint64
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// inTime runs f with a Committer that runs. Unless f has ended it, its Shutdown must have
// no error.
func inTime(t *testing.T, f func(*fixture)) {
	synctest.Test(t, func(t *testing.T) {
		x := &fixture{t: t, d: &disk{room: math.MaxInt64}, m: metrics.NewBroker()}
		log := slog.New(slog.NewTextHandler(&x.log, nil))
		x.c = New(x.d, NewClock(nil, log), log, x.m)
		x.s = session.New(1, "c", "", true, &session.Limits{})
		go x.c.Run()
		f(x)
		synctest.Wait()
		select {
		case <-x.c.stopped:
		default:
			if err := x.c.Shutdown(); err != nil {
				t.Error(err)
			}
		}
	})
}

// merge puts the Effects into the open group, and returns its number.
func (x *fixture) merge(fx *session.Effects) (number uint64, completed []Waiter) {
	x.c.Enter()
	defer x.c.Leave()
	completed = x.c.Merge(&x.part, x.s, fx, nil)
	return x.c.Number(), completed
}

// deliver queues a message, which the Client may acknowledge at once if it is sent.
func (x *fixture) deliver(payload string, sent bool, receipt any) (number uint64) {
	x.seq++
	e := session.Entry{Seq: x.seq, QoS: 1, Message: &session.Message{Payload: []byte(payload)}, Receipt: receipt}
	number, _ = x.merge(&session.Effects{Entries: []session.Entry{e}, Awaited: sent})
	return number
}

// acknowledge is for the message that was queued as the nth, from 1 on.
func (x *fixture) acknowledge(n uint64) (completed []Waiter) {
	_, completed = x.merge(&session.Effects{Removed: []uint64{n}, Acknowledged: true})
	return completed
}

// expectWrites waits for all that is under way, and compares.
func (x *fixture) expectWrites(want ...string) {
	x.t.Helper()
	synctest.Wait()
	if got := x.d.wrote(); !slices.Equal(got, want) {
		x.t.Errorf("written: %q, expected %q", got, want)
	}
}

// A witness counts how often it was told.
type witness struct {
	c      *Committer
	number uint64 // the group that it waits for

	mu    sync.Mutex // guards the following
	told  int
	early bool
	do    func()
}

func (w *witness) Committed() {
	w.mu.Lock()
	w.told++
	w.early = w.early || w.c.Committed() < w.number
	do := w.do
	w.mu.Unlock()
	if do != nil {
		do()
	}
}

func (w *witness) times() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.told
}

// await has a new witness wait for a group that is not committed.
func (x *fixture) await(number uint64) *witness {
	x.t.Helper()
	w := &witness{c: x.c, number: number}
	if !x.c.Await(number, w) {
		x.t.Errorf("group %d is committed already", number)
	}
	return w
}

// waiting returns what is sent the outcome of Wait.
func (x *fixture) waiting(number uint64) <-chan error {
	done := make(chan error, 1)
	go func() { done <- x.c.Wait(number) }()
	return done
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
