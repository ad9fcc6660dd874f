package bench

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// traffic is publishers and subscribers at work.
type traffic struct {
	r         *Runner
	flows     []*flow
	receivers []*receiver
	others    []*client // connections that only have to be closed in the end
	lasting   []string  // Client Identifiers of Sessions to end

	gathering bool // reads wait for a part of the window; see gather

	failed  chan error // the first failure of a connection
	stop    chan struct{}
	stopped sync.Once
	closing atomic.Bool
	ended   sync.WaitGroup
}

func (r *Runner) traffic() *traffic {
	return &traffic{r: r, failed: make(chan error, 1), stop: make(chan struct{})}
}

// begin starts one goroutine per connection that reads, and one per publisher
// that writes.
func (t *traffic) begin() {
	for i, s := range t.receivers {
		t.spawn(fmt.Sprintf("subscriber %d", i+1), s.run)
	}
	for i, f := range t.flows {
		name := fmt.Sprintf("publisher %d", i+1)
		t.spawn(name, f.acknowledgements)
		t.spawn(name, func() error { return f.publish(t.stop) })
	}
}

func (t *traffic) spawn(name string, run func() error) {
	t.ended.Go(func() {
		if err := run(); err != nil && !t.closing.Load() {
			select {
			case t.failed <- fmt.Errorf("%s: %w", name, err):
			default: // not the first
			}
		}
	})
}

// gather lets the kernel wake a reader only when a quarter of what the windows
// allow is there, but at most gatheredMax messages, so that a broker which
// writes packet by packet does not have the runner's wake-ups measured with it.
// packetBytes is the size of one delivery, qos that of the messages.
func (t *traffic) gather(packetBytes, qos int) {
	var window int64 // of all publishers, in deliveries
	for _, f := range t.flows {
		window += min(f.window, max(f.ackWindow, f.window*int64(1-min(qos, 1)))) * f.copies
	}
	deliveries := min(int(window)/max(len(t.receivers), 1)/4, gatheredMax)
	const ackBytes = 4
	switch qos {
	case 1:
		deliveries = min(deliveries, gatheredInFlight)
	case 2: // PUBREL takes turns with PUBLISH
		deliveries, packetBytes = min(deliveries, gatheredInFlight), ackBytes
	}
	if deliveries > 1 {
		for _, s := range t.receivers {
			t.gathering = readAtLeast(s.nc, min(deliveries*packetBytes, subscriberBuffer/2)) || t.gathering
		}
	}
	for _, f := range t.flows {
		if acks := min(int(f.ackWindow/4), gatheredMax); acks > 1 {
			t.gathering = readAtLeast(f.nc, acks*ackBytes) || t.gathering
		}
	}
}

// gatheredMax is where a wake-up costs little per message, and where small
// packets, which the kernel counts as large ones, do not fill its buffer.
const gatheredMax = 32

// gatheredInFlight is well below the 20 messages that brokers commonly allow in
// flight to a subscriber; waiting for more would stop them.
const gatheredInFlight = 8

// eager undoes gather: every byte wakes its reader. It is called when the
// publishers stop, and when nothing moves: the broker may allow fewer messages
// in flight than the reads wait for.
func (t *traffic) eager() {
	if !t.gathering {
		return
	}
	t.gathering = false
	for _, c := range t.clients() {
		readAtLeast(c.nc, 1)
	}
}

// eagerAfter is more than the time in which a slow broker fills a quarter of
// the windows.
const eagerAfter = 500 * time.Millisecond

// halt makes the publishers stop.
func (t *traffic) halt() {
	t.stopped.Do(func() { close(t.stop) })
	t.eager()
}

// close ends all connections, waits for the goroutines, and ends the Sessions.
func (t *traffic) close() {
	t.closing.Store(true)
	t.halt()
	// A peer that takes no bytes must not hold up the end.
	soon := time.Now().Add(time.Second)
	for _, c := range t.clients() {
		_ = c.nc.SetWriteDeadline(soon)
		c.leave()
	}
	t.ended.Wait()
	t.r.forget(context.Background(), t.lasting)
	t.lasting = nil
}

func (t *traffic) clients() []*client {
	all := append([]*client(nil), t.others...)
	for _, f := range t.flows {
		all = append(all, f.client)
	}
	for _, s := range t.receivers {
		all = append(all, s.client)
	}
	return all
}

// counts are the sums over all flows.
func (t *traffic) counts() (sent, acked, delivered, expected int64) {
	for _, f := range t.flows {
		delivered += f.delivered.Load() // before sent: never more than expected by this order
	}
	for _, f := range t.flows {
		acked += f.acked.Load()
	}
	for _, f := range t.flows {
		n := f.sent.Load()
		sent += n
		expected += n * f.copies
	}
	return sent, acked, delivered, expected
}

// received is what all subscribers got.
func (t *traffic) received() (n int64) {
	for _, s := range t.receivers {
		n += s.received.Load()
	}
	return n
}

// watch waits for d, or until over reports that it need not; it fails when a
// connection does, when ctx ends, and when nothing arrives for too long.
func (t *traffic) watch(ctx context.Context, what string, d time.Duration, over func() bool) error {
	var last int64 = -1
	began, moved := time.Now(), time.Now()
	start := t.received()
	step := min(max(d/20, time.Millisecond), 100*time.Millisecond)
	if over != nil {
		step = 5 * time.Millisecond
	}
	tick := time.NewTicker(step)
	defer tick.Stop()
	end := time.NewTimer(d)
	defer end.Stop()
	for shown := began; ; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-t.failed:
			return err
		case <-end.C:
			return nil
		case now := <-tick.C:
			if over != nil && over() {
				return nil
			}
			sent, acked, delivered, expected := t.counts()
			if arrived := acked + t.received(); arrived != last {
				last, moved = arrived, now
			}
			if now.Sub(moved) > eagerAfter {
				t.eager()
			}
			if now.Sub(moved) > t.r.Timeout {
				return stalled(t.r.Timeout, sent, acked, delivered, expected)
			}
			if now.Sub(shown) > 250*time.Millisecond {
				shown = now
				n := t.received()
				t.r.progress("%s: %d sent, %d acknowledged, %d delivered, %.0f/s", what, sent, acked, n, float64(n-start)/now.Sub(began).Seconds())
			}
		}
	}
}

func stalled(timeout time.Duration, sent, acked, delivered, expected int64) error {
	if sent == 0 {
		return fmt.Errorf("nothing came for %v", timeout)
	}
	if delivered < expected {
		return fmt.Errorf("%d of %d messages were not delivered: nothing came for %v", expected-delivered, expected, timeout)
	}
	return fmt.Errorf("%d of %d messages were not acknowledged: nothing came for %v", sent-acked, sent, timeout)
}

// settle waits until everything sent has arrived.
func (t *traffic) settle(ctx context.Context) error {
	return t.watch(ctx, "waiting for the last messages", time.Hour, func() bool {
		for _, f := range t.flows {
			if !f.done() {
				return false
			}
		}
		return true
	})
}
