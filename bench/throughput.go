package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// Throughput has publishers send as fast as their windows allow.
//
// Publishers and subscribers form groups. The publishers of a group share one
// topic, and each of its subscribers gets all their messages, or, with a shared
// subscription, one of them does.
type Throughput struct {
	Publishers  int           `placeholder:"N" help:"Publishing connections; 1, for fan-in 500, for shared 10 if not given."`
	Subscribers int           `placeholder:"N" help:"Subscribing connections; 1, for fan-out 500, for shared 10 if not given."`
	Groups      int           `placeholder:"N" help:"Groups with a topic each; if not given one for fan-in, fan-out and shared, else as many as divide both numbers evenly: 50 and 50 are pairs."`
	QoS         int           `name:"qos" default:"0" enum:"0,1,2" help:"QoS of messages and subscriptions."`
	Payload     int           `default:"64" placeholder:"BYTES" help:"Payload size in bytes."`
	PerWrite    int           `default:"16" placeholder:"N" help:"Messages that a publisher sends in one write."`
	Window      int           `placeholder:"N" help:"Most undelivered messages per publisher; 64, for fan-in 16, if not given."`
	Duration    time.Duration `default:"5s" help:"How long to measure."`
	Warmup      time.Duration `default:"1s" help:"How long to run before that."`
	Eager       bool          `help:"Each byte wakes its reader, as it does over TLS, WebSocket and Unix sockets anyway. Else over TCP a part of the window does."`
	Durable     bool          `help:"Subscribers have sessions that outlive their connection."`
	// Pattern gives the defaults above, and Shared its meaning.
	Pattern Pattern `kong:"-"`
}

// A Pattern is how publishers and subscribers are related.
type Pattern int

// The patterns. FanIn and FanOut differ from Groups only in their defaults.
const (
	Groups Pattern = iota
	FanIn
	FanOut
	Shared // each message goes to one subscriber of its group
)

// patterns are the names and defaults of each Pattern. A window of 64 keeps a
// broker busy; but with hundreds of publishers on one subscriber it would fill
// more than the buffers between them, and measure how a broker treats slow
// consumers.
var patterns = [...]struct {
	name                            string
	publishers, subscribers, groups int
	window                          int
}{
	Groups: {"throughput", 1, 1, 0, 64},
	FanIn:  {"fan-in", 500, 1, 1, 16},
	FanOut: {"fan-out", 1, 500, 1, 64},
	Shared: {"shared", 10, 10, 1, 64},
}

// windowMax keeps Packet Identifiers from coming round while they are in use.
const windowMax = 30000

// fill sets what was not given.
func (o *Throughput) fill() {
	p := patterns[o.Pattern]
	for _, v := range []struct {
		field *int
		value int
	}{{&o.Publishers, p.publishers}, {&o.Subscribers, p.subscribers}, {&o.Groups, p.groups}, {&o.Window, max(p.window, o.PerWrite)}} {
		if *v.field == 0 {
			*v.field = v.value
		}
	}
	if o.Groups == 0 {
		o.Groups = gcd(o.Publishers, o.Subscribers)
	}
}

// Validate checks the settings and fills in those that were not given.
func (o *Throughput) Validate() error {
	o.fill()
	for _, n := range []struct {
		flag string
		v    int
	}{{"publishers", o.Publishers}, {"subscribers", o.Subscribers}, {"per-write", o.PerWrite}} {
		if n.v < 1 {
			return fmt.Errorf("--%s %d: must be at least 1", n.flag, n.v)
		}
	}
	if o.Groups < 0 || o.Publishers%o.Groups != 0 || o.Subscribers%o.Groups != 0 {
		return fmt.Errorf("--groups %d: must divide %d publishers and %d subscribers evenly", o.Groups, o.Publishers, o.Subscribers)
	}
	if o.Window < o.PerWrite || o.Window > windowMax {
		return fmt.Errorf("--window %d: must be from --per-write (%d) to %d", o.Window, o.PerWrite, windowMax)
	}
	if o.Payload < 0 || o.Payload > 1<<26 {
		return fmt.Errorf("--payload %d: must be from 0 to %d", o.Payload, 1<<26)
	}
	if o.Publishers > o.Groups && o.Payload < indexBytes {
		return fmt.Errorf("--payload %d: must be at least %d where a subscriber has several publishers to tell apart", o.Payload, indexBytes)
	}
	return positive(o.Duration, o.Warmup)
}

func positive(duration, warmup time.Duration) error {
	if duration <= 0 {
		return fmt.Errorf("--duration %v: must be positive", duration)
	}
	if warmup < 0 {
		return fmt.Errorf("--warmup %v: must not be negative", warmup)
	}
	return nil
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// Measure implements Scenario.
func (o *Throughput) Measure(ctx context.Context, r *Runner) (*Result, error) {
	res := r.result(patterns[o.Pattern].name)
	for _, s := range []struct {
		name string
		n    int
	}{{"publishers", o.Publishers}, {"subscribers", o.Subscribers}, {"groups", o.Groups}, {"qos", o.QoS},
		{"payload_bytes", o.Payload}, {"messages_per_write", o.PerWrite}, {"window", o.Window}} {
		res.setup(s.name, float64(s.n))
	}
	if o.Eager {
		res.setup("eager", 1)
	}
	if o.Durable {
		res.setup("durable_sessions", 1)
	}
	before, err := r.usage()
	if err != nil {
		return nil, err
	}
	t := r.traffic()
	defer t.close()
	if err := o.connect(ctx, r, t); err != nil {
		return nil, err
	}
	if !o.Eager {
		t.gather(len(t.flows[0].batches[0].bytes)/o.PerWrite, o.QoS)
	}
	t.begin()
	if err := o.run(ctx, r, t, res, before); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		res.fail(err)
	}
	return res, nil
}

// run measures between two moments while messages flow, then lets them drain:
// a message that was not delivered by then is lost.
func (o *Throughput) run(ctx context.Context, r *Runner, t *traffic, res *Result, before usage) error {
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
	if last == first {
		return errNothingMeasured
	}
	res.add("delivered", float64(last-first))
	res.add("delivered_per_s", float64(last-first)/to.at.Sub(from.at).Seconds())
	r.addCPU(res, from, to, last-first, "message")
	r.addMemory(res, before, to)
	if _, _, delivered, expected := t.counts(); delivered > expected {
		res.warn("%d deliveries more than there should be", delivered-expected)
	}
	return nil
}

// connect opens all connections; subscribers first.
func (o *Throughput) connect(ctx context.Context, r *Runner, t *traffic) error {
	if err := mayOpen(o.Publishers + o.Subscribers); err != nil {
		return err
	}
	name := r.name()
	publishers, subscribers := o.Publishers/o.Groups, o.Subscribers/o.Groups
	buffer := subscriberBuffer
	if o.Subscribers > manySubscribers {
		buffer = publisherBuffer
	}
	for g := range o.Groups {
		topic := fmt.Sprintf("%s/%d", name, g)
		flows := make([]*flow, publishers)
		for i := range flows {
			flows[i] = &flow{window: int64(o.Window), copies: int64(subscribers), wake: make(chan struct{}, 1)}
			if o.Pattern == Shared {
				flows[i].copies = 1
			}
		}
		for i := range subscribers {
			id := fmt.Sprintf("%s-s%d-%d", name, g, i)
			if o.Durable {
				t.lasting = append(t.lasting, id)
			}
			c, err := r.connect(ctx, connecting{id: id, lasting: o.Durable, source: t.opened(), buffer: buffer})
			if err != nil {
				return fmt.Errorf("subscriber %d: %w", len(t.receivers)+1, err)
			}
			t.receivers = append(t.receivers, &receiver{client: c, flows: flows})
			filter := topic
			if o.Pattern == Shared {
				filter = "$share/" + name + "/" + topic
			}
			if _, err := c.subscribe(r.Timeout, codec.QoS(o.QoS), filter); err != nil {
				return fmt.Errorf("subscriber %d: %w", len(t.receivers), err)
			}
		}
		for i, f := range flows {
			c, err := r.connect(ctx, connecting{id: fmt.Sprintf("%s-p%d-%d", name, g, i), source: t.opened(), buffer: publisherBuffer})
			if err != nil {
				return fmt.Errorf("publisher %d: %w", len(t.flows)+1, err)
			}
			f.client = c
			t.flows = append(t.flows, f)
			if err := o.prepare(f, i, topic); err != nil {
				return fmt.Errorf("publisher %d: %w", len(t.flows), err)
			}
		}
	}
	return nil
}

// Subscribers get much in one read, publishers only acknowledgements.
const (
	subscriberBuffer = 64 << 10
	publisherBuffer  = 4 << 10
	// manySubscribers get little each.
	manySubscribers = 1000
)

// opened is how many connections there are: the next one's local address. Each
// address serves a thousand.
func (t *traffic) opened() int { return (len(t.flows) + len(t.receivers)) / 1000 }

// prepare encodes the packets of one write.
func (o *Throughput) prepare(f *flow, index int, topic string) error {
	body := make([]byte, o.Payload)
	if len(body) >= indexBytes {
		binary.BigEndian.PutUint32(body, uint32(index))
	}
	var b batch
	for range o.PerWrite {
		if err := b.appendMessage(&codec.Publish{QoS: codec.QoS(o.QoS), Topic: codec.View(topic), Payload: body}, f.v); err != nil {
			return err
		}
	}
	f.batches = []batch{b}
	return f.limitAcks(o.QoS, o.PerWrite)
}

// limitAcks sets the window of unacknowledged messages, which the broker's
// Receive Maximum bounds.
func (f *flow) limitAcks(qos, perWrite int) error {
	if qos == 0 {
		return nil
	}
	f.ackWindow = min(f.window, int64(f.receiveMaximum))
	if f.ackWindow < int64(perWrite) {
		return fmt.Errorf("the broker's Receive Maximum of %d does not allow %d messages in one write", f.receiveMaximum, perWrite)
	}
	return nil
}
