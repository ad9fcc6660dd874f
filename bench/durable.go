package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os/exec"
	"sync/atomic"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// Durable publishes to Sessions whose clients are absent, perhaps kills the
// broker meanwhile, lets the clients come back and counts: what was
// acknowledged must arrive.
type Durable struct {
	Sessions       int    `default:"10" placeholder:"N" help:"Absent sessions, with one publisher each."`
	Messages       int    `default:"20000" placeholder:"N" help:"Messages, all publishers together."`
	QoS            int    `name:"qos" default:"1" enum:"1,2" help:"QoS of messages and subscriptions: 1 or 2."`
	Payload        int    `default:"256" placeholder:"BYTES" help:"Payload size in bytes."`
	PerWrite       int    `default:"16" placeholder:"N" help:"Messages that a publisher sends in one write."`
	Window         int    `default:"64" placeholder:"N" help:"Most unacknowledged messages per publisher."`
	KillCommand    string `placeholder:"COMMAND" help:"Shell command that kills the broker when half of the messages are acknowledged. Publishing ends with it."`
	RestartCommand string `placeholder:"COMMAND" help:"Shell command that starts it again, in the foreground or not; it is left running."`
}

// numberBytes are the index, which is not used here, and the message's number.
const numberBytes = indexBytes + 8

// Validate checks the settings.
func (o *Durable) Validate() error {
	switch {
	case o.Sessions < 1 || o.Sessions > 10000:
		return fmt.Errorf("--sessions %d: must be from 1 to 10000", o.Sessions)
	case o.PerWrite < 1:
		return fmt.Errorf("--per-write %d: must be at least 1", o.PerWrite)
	case o.Messages < 1 || o.Messages%(o.Sessions*o.PerWrite) != 0:
		return fmt.Errorf("--messages %d: must be a multiple of --sessions times --per-write (%d)", o.Messages, o.Sessions*o.PerWrite)
	case o.Payload < numberBytes || o.Payload > 1<<20:
		return fmt.Errorf("--payload %d: must be from %d, which hold the number, to %d", o.Payload, numberBytes, 1<<20)
	case o.Window < o.PerWrite || o.Window > windowMax:
		return fmt.Errorf("--window %d: must be from --per-write (%d) to %d", o.Window, o.PerWrite, windowMax)
	case (o.KillCommand == "") != (o.RestartCommand == ""):
		return errors.New("--kill-command and --restart-command belong together")
	}
	return nil
}

// Measure implements Scenario.
func (o *Durable) Measure(ctx context.Context, r *Runner) (*Result, error) {
	res := r.result("durable")
	res.setup("sessions", float64(o.Sessions))
	res.setup("messages", float64(o.Messages))
	res.setup("qos", float64(o.QoS))
	res.setup("payload_bytes", float64(o.Payload))
	res.setup("messages_per_write", float64(o.PerWrite))
	res.setup("window", float64(o.Window))
	if o.KillCommand != "" {
		res.setup("killed", 1)
	}
	name := r.name()
	ids := make([]string, o.Sessions)
	for i := range ids {
		ids[i] = sessionID(name, i)
	}
	defer r.forget(ctx, ids)
	if err := o.subscribe(ctx, r, name); err != nil {
		return nil, err
	}
	acknowledged, err := o.fill(ctx, r, res, name)
	if err == nil && o.RestartCommand != "" {
		err = o.restart(ctx, r)
	}
	if err == nil {
		err = o.drain(ctx, r, res, name, acknowledged)
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		counts := res.Figures
		res.fail(err)
		for _, kept := range []string{"acknowledged", "lost"} {
			if v, ok := counts.Get(kept); ok {
				res.add(kept, v)
			}
		}
	}
	return res, nil
}

func sessionID(name string, i int) string    { return fmt.Sprintf("%s-session%d", name, i) }
func sessionTopic(name string, i int) string { return fmt.Sprintf("%s/%d", name, i) }

// subscribe makes the Sessions and leaves them.
func (o *Durable) subscribe(ctx context.Context, r *Runner, name string) error {
	for i := range o.Sessions {
		c, err := r.connect(ctx, connecting{id: sessionID(name, i), lasting: true, source: -1})
		if err != nil {
			return fmt.Errorf("session %d: %w", i+1, err)
		}
		_, err = c.subscribe(r.Timeout, codec.QoS(o.QoS), sessionTopic(name, i))
		c.leave()
		if err != nil {
			return fmt.Errorf("session %d: %w", i+1, err)
		}
	}
	return nil
}

// fill publishes until all is acknowledged or the broker is killed, and returns
// which messages were acknowledged, by publisher.
func (o *Durable) fill(ctx context.Context, r *Runner, res *Result, name string) ([][]bool, error) {
	t := r.traffic()
	defer t.close()
	for i := range o.Sessions {
		c, err := r.connect(ctx, connecting{id: fmt.Sprintf("%s-p%d", name, i), source: -1, buffer: publisherBuffer})
		if err != nil {
			return nil, fmt.Errorf("publisher %d: %w", i+1, err)
		}
		f := &flow{client: c, window: int64(o.Window), limit: int64(o.Messages / o.Sessions), wake: make(chan struct{}, 1)}
		t.flows = append(t.flows, f)
		f.acknowledged = make([]bool, f.limit)
		body := Throughput{QoS: o.QoS, Payload: o.Payload, PerWrite: o.PerWrite}
		if err := body.prepare(f, i, sessionTopic(name, i)); err != nil {
			return nil, fmt.Errorf("publisher %d: %w", i+1, err)
		}
	}
	from, err := r.usage()
	if err != nil {
		return nil, err
	}
	goal := int64(o.Messages)
	if o.KillCommand != "" {
		goal /= 2
	}
	t.begin()
	if err := t.watch(ctx, "queueing", time.Hour, func() bool { _, acked, _, _ := t.counts(); return acked >= goal }); err != nil {
		return nil, err
	}
	to, err := r.usage()
	if err != nil {
		return nil, err
	}
	_, acked, _, _ := t.counts()
	if o.KillCommand != "" {
		if err := o.kill(ctx, r); err != nil {
			return nil, err
		}
	}
	t.close() // ends the readers: what they noted is ours now
	var all [][]bool
	total := 0
	for _, f := range t.flows {
		all = append(all, f.acknowledged)
		total += count(f.acknowledged)
	}
	res.add("acknowledged", float64(total))
	res.add("acknowledged_per_s", float64(acked)/to.at.Sub(from.at).Seconds())
	r.addCPU(res, from, to, acked, "acknowledged")
	r.addMemory(res, from, to)
	return all, nil
}

// kill runs the command and waits until the broker is gone: a process that is
// only about to die still has its port and its files.
func (o *Durable) kill(ctx context.Context, r *Runner) error {
	pid, err := r.pid()
	if err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "sh", "-c", o.KillCommand).CombinedOutput(); err != nil {
		return fmt.Errorf("--kill-command: %w: %s", err, out)
	}
	for deadline := time.Now().Add(r.Timeout); ; {
		alive := pid != 0 && processAlive(pid)
		if !alive {
			c, err := r.connect(ctx, connecting{id: r.name(), source: -1})
			if err != nil {
				return nil
			}
			c.leave()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("--kill-command: the broker still runs after %v", r.Timeout)
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}

func count(marks []bool) (n int) {
	for _, set := range marks {
		if set {
			n++
		}
	}
	return n
}

// restart starts the broker and waits until it lets a client in.
func (o *Durable) restart(ctx context.Context, r *Runner) error {
	// Not tied to ctx: the broker outlives this run, as the operator asked.
	cmd := exec.Command("sh", "-c", o.RestartCommand)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("--restart-command: %w", err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	const startTimeout = time.Minute
	deadline := time.Now().Add(startTimeout)
	for {
		c, err := r.connect(ctx, connecting{id: r.name(), source: -1})
		if err == nil {
			c.leave()
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the broker was not back after %v: %w", startTimeout, err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-exited:
			if err != nil {
				return fmt.Errorf("--restart-command: %w", err)
			}
			exited = nil // it started the broker in the background
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// drain lets the Sessions' clients come back, and looks for every message that
// was acknowledged.
func (o *Durable) drain(ctx context.Context, r *Runner, res *Result, name string, acknowledged [][]bool) error {
	from, err := r.usage()
	if err != nil {
		return err
	}
	t := r.traffic()
	defer t.close()
	var missing, again atomic.Int64
	seen := make([][]bool, o.Sessions)
	gone := 0
	for i := range o.Sessions {
		missing.Add(int64(count(acknowledged[i])))
		c, err := r.connect(ctx, connecting{id: sessionID(name, i), lasting: true, resume: true, source: -1, buffer: subscriberBuffer})
		if err != nil {
			return fmt.Errorf("session %d: %w", i+1, err)
		}
		if !c.sessionPresent {
			gone++
		}
		seen[i] = make([]bool, len(acknowledged[i]))
		s := &receiver{client: c}
		s.each = func(first byte, body codec.View) {
			b := payload(codec.Frame{First: first, Body: body}, s.v)
			if len(b) < numberBytes {
				return
			}
			n := binary.BigEndian.Uint64(b[indexBytes:])
			if n >= uint64(len(seen[i])) {
				return
			}
			if seen[i][n] {
				again.Add(1)
			} else if acknowledged[i][n] {
				missing.Add(-1)
			}
			seen[i][n] = true
		}
		t.receivers = append(t.receivers, s)
	}
	t.begin()
	if gone == 0 {
		err = t.watch(ctx, "draining", time.Hour, func() bool { return missing.Load() == 0 })
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	to, usageErr := r.usage()
	if usageErr != nil {
		return usageErr
	}
	drained := t.received()
	res.add("lost", float64(missing.Load()))
	res.add("repeated", float64(again.Load()))
	if missing.Load() > 0 {
		total, _ := res.Figures.Get("acknowledged")
		why := ""
		if gone > 0 {
			why = fmt.Sprintf(": %d of %d sessions were gone", gone, o.Sessions)
		}
		return errors.Join(fmt.Errorf("%d of %.0f acknowledged messages were lost%s", missing.Load(), total, why), err)
	}
	res.add("drained_per_s", float64(drained)/to.at.Sub(from.at).Seconds())
	r.addCPU(res, from, to, drained, "drained")
	return nil
}
