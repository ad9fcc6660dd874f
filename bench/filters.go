package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// Filters fills the broker with subscriptions and publishes among them.
//
// Filters come in tens: nine Topic Names of one device and one wildcard that
// matches just these nine, "site/device/#" or "+/device/+" in turn, held by
// different clients. So one in ten has wildcards, and every message is for
// exactly two subscribers.
type Filters struct {
	Filters   int           `default:"200000" placeholder:"N" help:"Topic Filters, a multiple of ten; one in ten has wildcards."`
	Clients   int           `default:"25" placeholder:"N" help:"Subscribing connections that share them."`
	PerPacket int           `default:"50" placeholder:"N" help:"Topic Filters in one SUBSCRIBE."`
	PerWrite  int           `default:"16" placeholder:"N" help:"Messages that the publisher sends in one write."`
	Window    int           `default:"256" placeholder:"N" help:"Most undelivered messages."`
	Duration  time.Duration `default:"5s" help:"How long to measure publishing."`
	Warmup    time.Duration `default:"1s" help:"How long to publish before that."`
}

// Validate checks the settings.
func (o *Filters) Validate() error {
	switch {
	case o.Filters < 10 || o.Filters%10 != 0:
		return fmt.Errorf("--filters %d: must be a multiple of ten", o.Filters)
	case o.Clients < 2 || o.Clients > 10000:
		return fmt.Errorf("--clients %d: must be from 2 to 10000", o.Clients)
	case o.PerPacket < 1 || o.PerPacket > 1000:
		return fmt.Errorf("--per-packet %d: must be from 1 to 1000", o.PerPacket)
	case o.PerWrite < 1 || o.Window < o.PerWrite || o.Window > windowMax:
		return fmt.Errorf("--window %d: must be from --per-write (%d), at least 1, to %d", o.Window, o.PerWrite, windowMax)
	}
	return positive(o.Duration, o.Warmup)
}

// devicesPerSite makes a tree that is neither a list nor a stick.
const devicesPerSite = 100

// topicsOfDevice are nine names and a wildcard that matches them.
func topicsOfDevice(root string, device int) (names [9]string, wildcard string) {
	for i := range names {
		names[i] = fmt.Sprintf("%s/site%d/device%d/sensor%d", root, device/devicesPerSite, device, i)
	}
	if device%2 == 0 {
		return names, fmt.Sprintf("%s/site%d/device%d/#", root, device/devicesPerSite, device)
	}
	return names, fmt.Sprintf("%s/+/device%d/+", root, device)
}

// Measure implements Scenario.
func (o *Filters) Measure(ctx context.Context, r *Runner) (*Result, error) {
	res := r.result("filters")
	res.setup("filters", float64(o.Filters))
	res.setup("filters_per_packet", float64(o.PerPacket))
	res.setup("clients", float64(o.Clients))
	res.setup("messages_per_write", float64(o.PerWrite))
	res.setup("window", float64(o.Window))
	t := r.traffic()
	defer t.close()
	name := r.name()
	f := &flow{window: int64(o.Window), copies: 2, wake: make(chan struct{}, 1)}
	for i := range o.Clients + 1 {
		c, err := r.connect(ctx, connecting{id: fmt.Sprintf("%s-%d", name, i), source: -1, buffer: subscriberBuffer})
		if err != nil {
			return nil, fmt.Errorf("connection %d: %w", i+1, err)
		}
		if i == o.Clients {
			f.client = c
			t.flows = append(t.flows, f)
			break
		}
		t.receivers = append(t.receivers, &receiver{client: c, flows: []*flow{f}})
	}
	err := o.subscribe(ctx, r, t, res, name)
	if err == nil {
		err = o.publish(ctx, r, t, res, name)
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		res.fail(err)
	}
	return res, nil
}

func (o *Filters) subscribe(ctx context.Context, r *Runner, t *traffic, res *Result, name string) error {
	filters := make([][]string, o.Clients)
	for device := range o.Filters / 10 {
		names, wildcard := topicsOfDevice(name, device)
		own, other := device%o.Clients, (device+1)%o.Clients
		filters[own] = append(filters[own], names[:]...)
		filters[other] = append(filters[other], wildcard)
	}
	from, err := r.usage()
	if err != nil {
		return err
	}
	done := 0
	for i, s := range t.receivers {
		for len(filters[i]) > 0 {
			n := min(o.PerPacket, len(filters[i]))
			if _, err := s.subscribe(r.Timeout, 0, filters[i][:n]...); err != nil {
				return fmt.Errorf("after %d Topic Filters: %w", done, err)
			}
			filters[i] = filters[i][n:]
			if done += n; done/5000 != (done-n)/5000 {
				r.progress("subscribing: %d of %d", done, o.Filters)
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	to, err := r.usage()
	if err != nil {
		return err
	}
	res.add("subscribes_per_s", float64(done)/to.at.Sub(from.at).Seconds())
	r.addCPU(res, from, to, int64(done), "subscribe")
	if r.watched() {
		res.add("broker_bytes_per_filter", float64(to.brokerBytes-from.brokerBytes)/float64(done))
	}
	return nil
}

func (o *Filters) publish(ctx context.Context, r *Runner, t *traffic, res *Result, name string) error {
	// Enough writes in stock that no cache of the broker holds them all by
	// accident, chosen the same way in every run.
	random := rand.New(rand.NewPCG(1, 1))
	f := t.flows[0]
	f.batches = make([]batch, 1+20000/o.PerWrite)
	for i := range f.batches {
		for range o.PerWrite {
			names, _ := topicsOfDevice(name, random.IntN(o.Filters/10))
			p := codec.Publish{Topic: codec.View(names[random.IntN(len(names))]), Payload: make([]byte, 64)}
			if err := f.batches[i].appendMessage(&p, f.v); err != nil {
				return err
			}
		}
	}
	t.gather(len(f.batches[0].bytes)/o.PerWrite, 0)
	t.begin()
	if err := t.watch(ctx, "warming up", o.Warmup, nil); err != nil {
		return err
	}
	from, err := r.usage()
	if err != nil {
		return err
	}
	first := f.delivered.Load()
	if err := t.watch(ctx, "publishing", o.Duration, nil); err != nil {
		return err
	}
	to, err := r.usage()
	if err != nil {
		return err
	}
	n := (f.delivered.Load() - first) / f.copies
	t.halt()
	if err := t.settle(ctx); err != nil {
		return err
	}
	if n == 0 {
		return errNothingMeasured
	}
	if delivered, expected := f.delivered.Load(), f.sent.Load()*f.copies; delivered > expected {
		res.warn("%d deliveries more than there should be", delivered-expected)
	}
	res.add("published_per_s", float64(n)/to.at.Sub(from.at).Seconds())
	r.addCPU(res, from, to, n, "publish")
	r.addMemory(res, from, to)
	return nil
}
