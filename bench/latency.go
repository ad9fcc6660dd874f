package bench

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// Latency offers messages at a fixed rate and measures how long each takes.
//
// The schedule is laid down before the run. A message's time counts from the
// moment at which it should have been sent: when the broker holds the publisher
// up, every message that waits behind shows it. (To count from the actual write
// would leave out just the bad moments.)
type Latency struct {
	Publishers  int           `default:"${publishers}" help:"Publishing connections."`
	Subscribers int           `default:"${subscribers}" help:"Subscribing connections: as many as publishers, as pairs, or one per several publishers or several per publisher."`
	Rate        int           `default:"${rate}" placeholder:"N" help:"Messages per second, all publishers together."`
	QoS         int           `name:"qos" default:"0" enum:"0,1,2" help:"QoS of messages and subscriptions."`
	Payload     int           `default:"64" placeholder:"BYTES" help:"Payload size in bytes."`
	Duration    time.Duration `default:"10s" help:"How long to measure."`
	Warmup      time.Duration `default:"1s" help:"How long to run before that."`
	Durable     bool          `help:"Subscribers have sessions that outlive their connection."`

	// Scenario is the name in the Result: latency, or quiet.
	Scenario string `kong:"-"`
}

// stampBytes are the index of the publisher and the intended time.
const stampBytes = indexBytes + 8

// Validate checks the settings.
func (o *Latency) Validate() error {
	if o.Rate < 1 || o.Rate > 1_000_000 {
		return fmt.Errorf("--rate %d: must be from 1 to 1000000", o.Rate)
	}
	if o.Payload < stampBytes {
		return fmt.Errorf("--payload %d: must be at least %d, which hold the time", o.Payload, stampBytes)
	}
	traffic := o.traffic()
	return traffic.Validate()
}

// traffic has the connections in common with this scenario.
func (o *Latency) traffic() Throughput {
	return Throughput{Publishers: o.Publishers, Subscribers: o.Subscribers, QoS: o.QoS, Payload: o.Payload, PerWrite: 1,
		Window: windowMax, Duration: o.Duration, Warmup: o.Warmup, Durable: o.Durable}
}

// Measure implements Scenario.
func (o *Latency) Measure(ctx context.Context, r *Runner) (*Result, error) {
	connections := o.traffic()
	if err := connections.Validate(); err != nil {
		return nil, err
	}
	res := r.result(cmp.Or(o.Scenario, "latency"))
	res.setup("publishers", float64(o.Publishers))
	res.setup("subscribers", float64(o.Subscribers))
	res.setup("groups", float64(connections.Groups))
	res.setup("qos", float64(o.QoS))
	res.setup("payload_bytes", float64(o.Payload))
	res.setup("offered_per_s", float64(o.Rate))
	if o.Durable {
		res.setup("durable_sessions", 1)
	}
	before, err := r.usage()
	if err != nil {
		return nil, err
	}
	t := r.traffic()
	defer t.close()
	if err := connections.connect(ctx, r, t); err != nil {
		return nil, err
	}
	if err := o.run(ctx, r, t, res, before); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		res.fail(err)
	}
	return res, nil
}

func (o *Latency) run(ctx context.Context, r *Runner, t *traffic, res *Result, before usage) error {
	p := &pacer{t: t, interval: time.Second / time.Duration(o.Rate), warmup: o.Warmup, began: time.Now()}
	times := p.attach()
	for i, s := range t.receivers {
		t.spawn(fmt.Sprintf("subscriber %d", i+1), s.run)
	}
	for i, f := range t.flows {
		t.spawn(fmt.Sprintf("publisher %d", i+1), f.acknowledgements)
	}
	t.spawn("publishing", p.run)
	if err := t.watch(ctx, "warming up", o.Warmup, nil); err != nil {
		return err
	}
	from, err := r.usage()
	if err != nil {
		return err
	}
	_, _, first, _ := t.counts()
	if err := t.watch(ctx, "measuring", o.Duration, nil); err != nil {
		return err
	}
	to, err := r.usage()
	if err != nil {
		return err
	}
	_, _, last, _ := t.counts()
	t.halt()
	if err := t.settle(ctx); err != nil {
		return err
	}
	t.close() // ends the readers: their histograms are ours now
	if last == first {
		return errNothingMeasured
	}
	var all histogram
	for _, h := range times {
		all.merge(h)
	}
	rate := float64(last-first) / to.at.Sub(from.at).Seconds()
	res.add("delivered", float64(last-first))
	res.add("delivered_per_s", rate)
	all.add(res, "latency")
	res.add("runner_late_p99_us", micros(p.late.quantile(0.99)))
	r.addCPU(res, from, to, last-first, "message")
	r.addMemory(res, before, to)
	unsent := 0
	for _, f := range t.flows {
		unsent += len(f.due)
	}
	if unsent > 0 {
		res.warn("%d messages could not be sent until the end and are not in the latencies: the broker's Receive Maximum did not allow them", unsent)
	}
	offered := float64(o.Rate) * float64(t.flows[0].copies)
	if rate < 0.99*offered {
		res.warn("%.0f of %.0f deliveries per second: the broker, or the machine, does not keep up", rate, offered)
	}
	return nil
}

// A pacer publishes to the schedule: message k at k intervals, the publishers
// in turn.
type pacer struct {
	t        *traffic
	interval time.Duration
	warmup   time.Duration
	began    time.Time
	late     histogram // how late the runner itself was
}

// attach has each receiver record the age of its messages, those of the warm-up
// excepted.
func (p *pacer) attach() []*histogram {
	times := make([]*histogram, len(p.t.receivers))
	for i, s := range p.t.receivers {
		h := new(histogram)
		times[i] = h
		s.each = func(first byte, body codec.View) {
			b := payload(codec.Frame{First: first, Body: body}, s.v)
			if len(b) < stampBytes {
				return
			}
			intended := time.Duration(binary.BigEndian.Uint64(b[indexBytes:]))
			if intended >= p.warmup {
				h.record(time.Since(p.began) - intended)
			}
		}
	}
	return times
}

// run publishes. It never waits for the broker but in a write that blocks, and
// then the schedule goes on.
func (p *pacer) run() error {
	release := exactTimer()
	defer release()
	for k := 0; ; k++ {
		intended := time.Duration(k) * p.interval
		for {
			wait := intended - time.Since(p.began)
			if wait <= 0 {
				break
			}
			select {
			case <-p.t.stop:
				return nil
			default:
			}
			sleep(min(wait, 10*time.Millisecond)) // stop is never far
		}
		if intended >= p.warmup {
			p.late.record(time.Since(p.began) - intended)
		}
		f := p.t.flows[k%len(p.t.flows)]
		f.due = append(f.due, intended)
		if err := f.sendDue(); err != nil {
			return err
		}
		select {
		case <-p.t.stop:
			return nil
		default:
		}
	}
}

// sendDue writes what is due, each in its own packet with its intended time.
// What the broker's Receive Maximum does not allow yet waits for the flow's next
// turn, and its time runs on.
func (f *flow) sendDue() error {
	for len(f.due) > 0 && (f.ackWindow == 0 || f.sent.Load()-f.acked.Load() < f.ackWindow) {
		b := &f.batches[0]
		for _, at := range b.ids {
			binary.BigEndian.PutUint16(b.bytes[at:], f.nextID())
		}
		binary.BigEndian.PutUint64(b.bytes[b.payloads[0]+indexBytes:], uint64(f.due[0]))
		f.due = f.due[1:]
		f.sent.Add(1)
		if _, err := f.nc.Write(b.bytes); err != nil {
			return err
		}
	}
	return nil
}
