package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// Connect is a storm of clients that connect, get their CONNACK, disconnect and
// come again under new Client Identifiers.
type Connect struct {
	Connections int `default:"10000" placeholder:"N" help:"Connections to make."`
	Parallel    int `default:"32" placeholder:"N" help:"How many clients do so at the same time."`
}

// Validate checks the settings.
func (o *Connect) Validate() error {
	if o.Connections < 1 {
		return fmt.Errorf("--connections %d: must be at least 1", o.Connections)
	}
	if o.Parallel < 1 || o.Parallel > 10000 {
		return fmt.Errorf("--parallel %d: must be from 1 to 10000", o.Parallel)
	}
	return nil
}

// Measure implements Scenario.
func (o *Connect) Measure(ctx context.Context, r *Runner) (*Result, error) {
	res := r.result("connect")
	res.setup("connections", float64(o.Connections))
	res.setup("parallel", float64(o.Parallel))
	if err := o.warm(ctx, r); err != nil {
		return nil, err
	}
	name := r.name()
	return measureStorm(ctx, r, res, "connect", o.Connections, o.Parallel, func(ctx context.Context, i int) (took time.Duration, err error) {
		began := time.Now()
		c, err := r.connect(ctx, connecting{id: fmt.Sprintf("%s-%d", name, i), source: i})
		if err != nil {
			return 0, err
		}
		took = time.Since(began)
		c.leave()
		return took, nil
	})
}

// warm makes a first connection, so that a broker that cannot be reached is an
// error and not a failure.
func (o *Connect) warm(ctx context.Context, r *Runner) error {
	c, err := r.connect(ctx, connecting{id: r.name(), source: -1})
	if err != nil {
		return err
	}
	c.leave()
	return nil
}

// measureStorm adds to res what a storm of n connections costs: what each is.
func measureStorm(ctx context.Context, r *Runner, res *Result, what string, n, parallel int, once func(ctx context.Context, i int) (time.Duration, error)) (*Result, error) {
	from, err := r.usage()
	if err != nil {
		return nil, err
	}
	times, err := storm(ctx, r, n, parallel, once)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		res.fail(err)
		return res, nil
	}
	to, err := r.usage()
	if err != nil {
		return nil, err
	}
	res.add(what+"s_per_s", float64(n)/to.at.Sub(from.at).Seconds())
	times.add(res, what)
	r.addCPU(res, from, to, int64(n), what)
	r.addMemory(res, from, to)
	return res, nil
}

// storm makes n connections, so many at a time. once makes the ith of them, and says how long it
// took. Each local address has 28,000 ports, and a port rests for a minute after its
// connection: once should take all addresses in turn.
func storm(ctx context.Context, r *Runner, n, parallel int, once func(ctx context.Context, i int) (time.Duration, error)) (*histogram, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var mu sync.Mutex
	var all histogram
	var clients sync.WaitGroup
	for range parallel {
		clients.Go(func() {
			var own histogram
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					break
				}
				if i%1000 == 0 {
					r.progress("connecting: %d of %d", i, n)
				}
				took, err := once(ctx, i)
				if err != nil {
					cancel(fmt.Errorf("connection %d: %w", i+1, err))
					return
				}
				own.record(took)
			}
			mu.Lock()
			all.merge(&own)
			mu.Unlock()
		})
	}
	clients.Wait()
	return &all, context.Cause(ctx)
}

// Idle holds connections that say nothing, and weighs them.
type Idle struct {
	Connections int           `default:"10000" placeholder:"N" help:"Connections to hold, from as many loopback addresses as a thousand each needs."`
	Hold        time.Duration `default:"5s" help:"How long to watch them say nothing."`
}

// Validate checks the settings.
func (o *Idle) Validate() error {
	if o.Connections < 1 {
		return fmt.Errorf("--connections %d: must be at least 1", o.Connections)
	}
	if o.Hold <= 0 {
		return fmt.Errorf("--hold %v: must be positive", o.Hold)
	}
	return nil
}

// Measure implements Scenario.
func (o *Idle) Measure(ctx context.Context, r *Runner) (*Result, error) {
	res := r.result("idle")
	res.setup("connections", float64(o.Connections))
	if err := mayOpen(o.Connections); err != nil {
		return nil, err
	}
	t := r.traffic()
	defer t.close()
	if err := o.run(ctx, r, t, res); err != nil {
		if ctx.Err() != nil || len(t.others) == 0 {
			return nil, err
		}
		res.fail(err)
	}
	return res, nil
}

func (o *Idle) run(ctx context.Context, r *Runner, t *traffic, res *Result) error {
	name := r.name()
	// The first few make the broker allocate what it needs once.
	few := max(1, o.Connections/100)
	if err := o.open(ctx, r, t, name, few); err != nil {
		return err
	}
	before, err := r.usage()
	if err != nil {
		return err
	}
	if err := o.open(ctx, r, t, name, o.Connections); err != nil {
		return err
	}
	opened, err := r.usage()
	if err != nil {
		return err
	}
	if err := pause(ctx, o.Hold); err != nil {
		return err
	}
	after, err := r.usage()
	if err != nil {
		return err
	}
	if err := o.alive(r, t); err != nil {
		return err
	}
	n := float64(o.Connections - few)
	res.add("connections", float64(o.Connections))
	if n > 0 && r.watched() {
		res.add("broker_bytes_per_connection", float64(after.brokerBytes-before.brokerBytes)/n)
		res.add("broker_cpu_us_per_connect", micros(opened.broker-before.broker)/n)
		res.add("broker_idle_cpu_percent", 100*(after.broker-opened.broker).Seconds()/after.at.Sub(opened.at).Seconds())
	}
	res.add("connects_per_s", n/opened.at.Sub(before.at).Seconds())
	r.addMemory(res, before, after)
	return nil
}

// open connects until there are n.
func (o *Idle) open(ctx context.Context, r *Runner, t *traffic, name string, n int) error {
	for i := len(t.others); i < n; i++ {
		c, err := r.connect(ctx, connecting{id: fmt.Sprintf("%s-%d", name, i), source: i / 1000})
		if err != nil {
			return fmt.Errorf("connection %d: %w", i+1, err)
		}
		t.others = append(t.others, c)
		if i%100 == 0 {
			r.progress("connecting: %d of %d", i, o.Connections)
		}
	}
	return nil
}

// alive checks that the broker still serves each connection: one that it closed
// meanwhile costs it nothing.
func (o *Idle) alive(r *Runner, t *traffic) error {
	gone := 0
	var first error
	for _, c := range t.others {
		err := c.nc.SetDeadline(time.Now().Add(r.Timeout))
		if err == nil {
			_, err = c.nc.Write(codec.AppendPingreq(nil))
		}
		if err == nil {
			_, err = c.await(codec.TypePingresp)
		}
		if err != nil {
			gone, first = gone+1, errors.Join(first, err)
			if gone > 3 { // do not wait for each in turn
				break
			}
		}
	}
	if gone > 0 {
		return fmt.Errorf("idle connections did not live: %w", first)
	}
	return nil
}

// pause waits for d.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
