package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// Retained floods the broker with retained messages, has a new subscriber fetch
// them all, and removes them.
type Retained struct {
	Messages int `default:"20000" placeholder:"N" help:"Retained messages, each on its own topic."`
	QoS      int `name:"qos" default:"1" enum:"1,2" help:"QoS of messages and of the subscription: 1 or 2, since QoS 0 has no acknowledgement to count."`
	Payload  int `default:"256" placeholder:"BYTES" help:"Payload size in bytes."`
	PerWrite int `default:"16" placeholder:"N" help:"Messages that the publisher sends in one write."`
	Window   int `default:"64" placeholder:"N" help:"Most unacknowledged messages."`
}

// Validate checks the settings.
func (o *Retained) Validate() error {
	switch {
	case o.PerWrite < 1:
		return fmt.Errorf("--per-write %d: must be at least 1", o.PerWrite)
	case o.Messages < 1 || o.Messages%o.PerWrite != 0:
		return fmt.Errorf("--messages %d: must be a multiple of --per-write (%d)", o.Messages, o.PerWrite)
	case o.Payload < 1 || o.Payload > 1<<20:
		return fmt.Errorf("--payload %d: must be from 1 (an empty one removes) to %d", o.Payload, 1<<20)
	case o.Window < o.PerWrite || o.Window > windowMax:
		return fmt.Errorf("--window %d: must be from --per-write (%d) to %d", o.Window, o.PerWrite, windowMax)
	}
	return nil
}

// Measure implements Scenario.
func (o *Retained) Measure(ctx context.Context, r *Runner) (*Result, error) {
	res := r.result("retained")
	res.setup("messages", float64(o.Messages))
	res.setup("qos", float64(o.QoS))
	res.setup("payload_bytes", float64(o.Payload))
	res.setup("messages_per_write", float64(o.PerWrite))
	res.setup("window", float64(o.Window))
	name := r.name()
	c, err := r.connect(ctx, connecting{id: name, source: -1})
	if err != nil {
		return nil, err
	}
	c.leave()
	err = o.flood(ctx, r, res, name, o.Payload, "retain")
	if err == nil {
		err = o.fetch(ctx, r, res, name)
	}
	if removal := o.flood(ctx, r, res, name, 0, "remove"); err == nil {
		err = removal
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		res.fail(err)
	}
	return res, nil
}

// flood publishes to every topic once, and ends with the last acknowledgement.
func (o *Retained) flood(ctx context.Context, r *Runner, res *Result, name string, payload int, verb string) error {
	c, err := r.connect(ctx, connecting{id: name + "-" + verb, source: -1, buffer: publisherBuffer})
	if err != nil {
		return err
	}
	f := &flow{client: c, window: int64(o.Window), limit: int64(o.Messages), wake: make(chan struct{}, 1)}
	t := r.traffic()
	t.flows = []*flow{f}
	defer t.close()
	if err := f.limitAcks(o.QoS, o.PerWrite); err != nil {
		return err
	}
	f.batches = make([]batch, o.Messages/o.PerWrite)
	for i := range o.Messages {
		p := codec.Publish{QoS: codec.QoS(o.QoS), Retain: true, Topic: codec.View(fmt.Sprintf("%s/%d/%d", name, i/100, i)), Payload: make([]byte, payload)}
		if err := f.batches[i/o.PerWrite].appendMessage(&p, f.v); err != nil {
			return err
		}
	}
	from, err := r.usage()
	if err != nil {
		return err
	}
	t.begin()
	if err := t.watch(ctx, verb, time.Hour, func() bool { return f.acked.Load() >= f.limit }); err != nil {
		return err
	}
	to, err := r.usage()
	if err != nil {
		return err
	}
	res.add(verb+"s_per_s", float64(o.Messages)/to.at.Sub(from.at).Seconds())
	r.addCPU(res, from, to, int64(o.Messages), verb)
	if payload > 0 && r.watched() {
		res.add("broker_bytes_per_retained", float64(to.brokerBytes-from.brokerBytes)/float64(o.Messages))
	}
	return nil
}

// fetch subscribes to all of them.
func (o *Retained) fetch(ctx context.Context, r *Runner, res *Result, name string) error {
	c, err := r.connect(ctx, connecting{id: name + "-fetch", source: -1, buffer: subscriberBuffer})
	if err != nil {
		return err
	}
	s := &receiver{client: c}
	t := r.traffic()
	t.receivers = []*receiver{s}
	defer t.close()
	from, err := r.usage()
	if err != nil {
		return err
	}
	packet, err := codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1},
		[]codec.Subscription{{Filter: codec.View(name + "/#"), QoS: codec.QoS(o.QoS)}}, c.v)
	if err != nil {
		return err
	}
	if _, err := c.nc.Write(packet); err != nil {
		return err
	}
	s.granting = codec.QoS(o.QoS) // messages may come before the SUBACK
	t.begin()
	if err := t.watch(ctx, "fetching", time.Hour, func() bool { return s.received.Load() >= int64(o.Messages) }); err != nil {
		if got := s.received.Load(); ctx.Err() == nil && got < int64(o.Messages) {
			return fmt.Errorf("%d of %d retained messages did not come: %w", int64(o.Messages)-got, o.Messages, err)
		}
		return err
	}
	to, err := r.usage()
	if err != nil {
		return err
	}
	res.add("fetched_per_s", float64(o.Messages)/to.at.Sub(from.at).Seconds())
	r.addCPU(res, from, to, int64(o.Messages), "fetch")
	return nil
}
