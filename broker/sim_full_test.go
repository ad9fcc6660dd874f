package broker_test

import (
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// TestSimDiskLongFull: the disk is full for 10 minutes to 3 hours, in half of the
// seeds for what makes a file larger only. The broker refuses, serves what needs
// no space, and recovers by itself within a second; then the power may go.
func TestSimDiskLongFull(t *testing.T) {
	root := simRoot(t)
	faults, acked, refused := 0, 0, 0
	hours := 0.0
	seeds(t, 6, func(seed uint64) error {
		w, err := inBubble(t, root, seed, simConfig{failWrites: true}, (*world).longFull)
		if w != nil {
			faults, acked, refused = faults+w.disk.faults, acked+w.acked, refused+w.refusals
			hours += w.fullFor.Hours()
		}
		return err
	})
	t.Logf("%.0f hours without space, %d writes failed, %d messages acknowledged, %d refused", hours, faults, acked, refused)
}

// fullMin and fullMax are how long a disk stays full; short ones are more likely.
const (
	fullMin = 10 * time.Minute
	fullMax = 3 * time.Hour
)

func (w *world) longFull() error {
	if err := w.start(); err != nil {
		return err
	}
	never := func() bool { return false }
	w.traffic(20+w.r.IntN(100), never)
	w.fullFor = time.Duration(float64(fullMin) * math.Pow(float64(fullMax)/float64(fullMin), w.r.Float64()))
	until := time.Now().Add(w.fullFor)
	w.disk.fill(until, w.r.IntN(2) == 0)
	for left := time.Until(until); left > 0; left = time.Until(until) {
		w.traffic(1+w.r.IntN(8), func() bool { return !time.Now().Before(until) })
		pause := time.Duration(w.r.Int64N(int64(w.fullFor / 10)))
		time.Sleep(min(pause, max(0, time.Until(until))))
	}
	time.Sleep(time.Second)
	w.recovered()
	w.traffic(w.r.IntN(60), never)
	if w.r.IntN(2) == 0 {
		w.disk.kill()
		w.powerCut()
		w.bury()
		if err := w.disk.powerOn(); err != nil {
			return err
		}
		if err := w.start(); err != nil {
			return err
		}
	}
	w.settle()
	w.stop()
	if err := checkIntegrity(filepath.Join(w.disk.dir, "promptmq.db")); err != nil {
		w.faults = append(w.faults, err.Error())
	}
	return w.verdict()
}

// fill leaves no space on the disk until then.
func (d *simDisk) fill(until time.Time, growth bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fullUntil, d.fullGrowth = until, growth
}

// recovered checks that a second after there is space, a new Session, its
// subscription and its message are taken at once, and the process lives.
func (w *world) recovered() {
	select {
	case err := <-w.b.Failed():
		w.locked(func() { w.faultLocked("the broker gave up on the full disk: %v", err) })
	default:
	}
	c := newSimClient(w, "late", codec.Version5, true, 1)
	var m *simMessage
	steps := []func(){
		func() { c.connectLocked(false, nil) },
		func() { c.subscribeTo("t/9") },
		func() {
			m = w.newMessageLocked(c, "t/9", 1)
			m.sentAt, m.id = w.eventLocked(), c.freeID()
			c.inflight = append(c.inflight, m)
			c.link.sendPublishLocked(m, false)
		},
	}
	w.locked(func() { w.clients = append(w.clients, c) })
	for i, step := range steps {
		w.locked(func() {
			if i > 0 && !c.online() {
				w.faultLocked("a second after there is space again, CONNECT is not accepted")
				return
			}
			step()
		})
		time.Sleep(prompt)
	}
	w.locked(func() {
		if m == nil || m.ackedAt == 0 || c.seen[m] == 0 {
			w.faultLocked("a second after there is space again, a message is not accepted: %+v", m)
		}
	})
}
