package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/x0a1b/promptmq/cmd/promptmq/client"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/terminal"
)

// payloadBytesMax is the most that a packet can hold. Section 2.1.4.
const payloadBytesMax = 268435455

type pubCommand struct {
	brokerFlags
	messageFlags
	Lines       bool    `name:"stdin-line" short:"l" help:"A message for each line of standard input; the connection is made again when it is lost."`
	Repeat      int     `default:"1" placeholder:"N" help:"Send the message N times. Default: 1."`
	RepeatDelay float64 `placeholder:"SECONDS" help:"Time between repeated messages."`
	Rate        float64 `placeholder:"N" help:"At most N messages a second. Default: as fast as the broker takes them."`
	InFlight    int     `name:"max-inflight" short:"M" default:"20" placeholder:"N" help:"How many messages of QoS 1 and 2 may be on their way, within what the broker allows. Default: 20."`

	sent    atomic.Int64
	refused atomic.Int64
	bytes   atomic.Int64 // written to the connection
	size    int          // of the payload, where that is one
}

// messageFlags are those of one message.
type messageFlags struct {
	Topic   word   `short:"t" placeholder:"TOPIC" help:"Topic to publish to; or that of -L."`
	Message word   `short:"m" placeholder:"TEXT" help:"Payload."`
	File    string `short:"f" placeholder:"FILE" help:"The payload is what is in the file."`
	Null    bool   `name:"null-message" short:"n" help:"An empty payload."`
	Stdin   bool   `name:"stdin-file" short:"s" help:"The payload is all of standard input."`
	QoS     uint8  `name:"qos" short:"q" placeholder:"QOS" help:"QoS: 0, 1 or 2. Default: 0."`
	Retain  bool   `short:"r" help:"The broker keeps the message for later subscribers."`
}

// check looks at the flags. more is how many other sources of a payload are given.
func (m *messageFlags) check(b *brokerFlags, sources string, more ...bool) error {
	n := 0
	for _, is := range append(more, m.Message.set, m.File != "", m.Null, m.Stdin) {
		if is {
			n++
		}
	}
	m.Topic.text = cmp.Or(m.Topic.text, b.topic)
	switch {
	case m.Topic.text == "" && b.publish.TopicAlias == 0:
		return errors.New("publish to which topic? Say -t TOPIC, or put it behind the host in -L")
	case n != 1:
		return fmt.Errorf("publish what? Say one of %s, not %d of them", sources, n)
	case m.QoS > 2:
		return fmt.Errorf("-q is 0, 1 or 2, not %d", m.QoS)
	case b.publish.TopicAlias != 0:
		return errors.New("-D publish topic-alias: an alias stands for a topic of several messages, and each command sends the topic in full")
	}
	return checkTopic("-t", m.Topic.text)
}

// payload reads the one message.
func (m *messageFlags) payload() (text []byte, err error) {
	in := os.Stdin
	switch {
	case m.File != "":
		if in, err = os.Open(m.File); err != nil {
			return nil, err
		}
		defer func() { _ = in.Close() }() // only read
	case !m.Stdin:
		return []byte(m.Message.text), nil
	}
	text, err = io.ReadAll(io.LimitReader(in, payloadBytesMax+1))
	if err == nil && len(text) > payloadBytesMax {
		err = fmt.Errorf("%s has more than the %d bytes of the largest message", cmp.Or(m.File, "standard input"), payloadBytesMax)
	}
	return text, err
}

// message makes a PUBLISH of the flags and -D.
func (m *messageFlags) message(b *brokerFlags, payload []byte) codec.Publish {
	p := b.publish
	p.Topic, p.Payload, p.QoS, p.Retain = codec.View(m.Topic.text), payload, codec.QoS(m.QoS), m.Retain
	return p
}

// Validate checks the flags.
func (c *pubCommand) Validate() error {
	if err := c.brokerFlags.check(); err != nil {
		return err
	}
	if err := c.messageFlags.check(&c.brokerFlags, "-m TEXT, -f FILE, -l, -n and -s", c.Lines); err != nil {
		return err
	}
	switch {
	case c.Repeat < 1:
		return fmt.Errorf("--repeat is 1 or more, not %d", c.Repeat)
	case c.Repeat > 1 && c.Lines:
		return errors.New("--repeat is of one message, and -l sends many")
	case !(c.RepeatDelay >= 0 && c.RepeatDelay < 1e6):
		return fmt.Errorf("--repeat-delay is a number of seconds, 0 or more, not %v", c.RepeatDelay)
	case !(c.Rate == 0 || c.Rate >= 0.001 && c.Rate <= 1e6):
		return fmt.Errorf("--rate is from 0.001 to 1,000,000 messages a second, not %v", c.Rate)
	case c.InFlight < 1 || c.InFlight > 65535:
		return fmt.Errorf("-M is from 1 to 65535, not %d", c.InFlight)
	case c.Rate > 0 && c.RepeatDelay > 0:
		return errors.New("--rate and --repeat-delay are two ways to say how fast: use one")
	}
	return nil
}

// Run implements the command.
func (c *pubCommand) Run() error {
	o, err := c.options()
	if err != nil {
		return c.end(err)
	}
	var payload []byte
	if !c.Lines {
		if payload, err = c.payload(); err != nil {
			return c.end(err)
		}
	}
	o.InFlightMax, o.Reconnect = c.InFlight, c.Lines
	if c.size = len(payload); c.large() {
		o.Dial = c.counting(o.Dial)
	}
	o.Done = func(topic string, reason codec.ReasonCode) {
		if reason >= codec.UnspecifiedError {
			c.refused.Add(1)
			c.say("the broker has refused a message to %q: %v (0x%02X)", topic, reason, byte(reason))
		}
	}
	ctx, restore := untilSignal()
	defer restore()
	defer c.progress()()
	return c.end(during(ctx, client.New(o), func(ctx context.Context, s *client.Session) error {
		if err := c.sendAll(ctx, s, payload); err != nil {
			return err
		}
		if err := s.Drain(ctx); err != nil {
			return err
		}
		if n := c.refused.Load(); n > 0 {
			return fmt.Errorf("the broker has refused %d of %s", n, counted(int(c.sent.Load()), "message", "messages"))
		}
		return nil
	}))
}

// during runs a Session while do does what is to be done, and ends it then.
func during(ctx context.Context, s *client.Session, do func(context.Context, *client.Session) error) error {
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	err := do(ctx, s)
	s.Leave()
	if failed := <-ran; failed != nil {
		return failed
	}
	return err
}

func (c *pubCommand) sendAll(ctx context.Context, s *client.Session, payload []byte) error {
	interval := time.Duration(c.RepeatDelay * float64(time.Second))
	if c.Rate > 0 {
		interval = time.Duration(float64(time.Second) / c.Rate)
	}
	next := func() (text []byte, more bool, err error) { return payload, int(c.sent.Load()) < c.Repeat, nil }
	if c.Lines {
		next = lines(bufio.NewReaderSize(os.Stdin, 64<<10))
	}
	due := time.Now()
	for {
		text, more, err := next()
		if err != nil || !more {
			return err
		}
		if wait := time.Until(due); wait > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(wait):
			}
		}
		due = due.Add(interval)
		if latest := time.Now().Add(-c.catchUp()); due.Before(latest) {
			due = latest
		}
		if err := s.Publish(ctx, c.message(&c.brokerFlags, text)); err != nil {
			return err
		}
		c.sent.Add(1)
	}
}

// catchUp is how far messages may be behind their rate and still be made up for: a timer comes a
// millisecond late, and that is not to be lost with each. A delay stays one.
func (c *pubCommand) catchUp() time.Duration {
	if c.Rate > 0 {
		return 100 * time.Millisecond
	}
	return 0
}

// lines returns what returns one line after the other, without its end.
func lines(in *bufio.Reader) func() ([]byte, bool, error) {
	return func() ([]byte, bool, error) {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return line, len(line) > 0, nil
		}
		if len(line) > payloadBytesMax {
			return nil, false, fmt.Errorf("a line has more than the %d bytes of the largest message", payloadBytesMax)
		}
		return bytes.TrimSuffix(line, []byte("\n")), true, err
	}
}

// progress says on a terminal how much was sent, where that takes time. It returns what ends it.
func (c *pubCommand) progress() (end func()) {
	many := c.Lines || c.Repeat > 1
	if c.Quiet || !many && !c.large() || !terminal.Is(os.Stderr) || c.Lines && terminal.Is(os.Stdin) {
		return func() {}
	}
	show := func(end string) {
		fmt.Fprintf(os.Stderr, "\r%s sent%s", counted(int(c.sent.Load()), "message", "messages"), end)
	}
	if !many {
		show = func(end string) {
			fmt.Fprintf(os.Stderr, "\r%.1f of %.1f MB sent%s", float64(c.bytes.Load())/1e6, float64(c.size)/1e6, end)
		}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				show("\n")
				return
			case <-tick.C:
				show("")
			}
		}
	}()
	return func() { close(stop); <-stopped }
}

// large reports whether the one payload may take time.
func (c *pubCommand) large() bool { return c.Repeat == 1 && c.size >= 1_000_000 }

// counting makes of dial what counts in c.bytes what is written.
func (c *pubCommand) counting(dial func(context.Context) (net.Conn, error)) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		conn, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		return &countedWrites{conn, &c.bytes}, nil
	}
}

// countedWrites writes in pieces and counts their bytes.
type countedWrites struct {
	net.Conn
	bytes *atomic.Int64
}

// Write implements net.Conn.
func (c *countedWrites) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var wrote int
		wrote, err = c.Conn.Write(b[n:min(len(b), n+64<<10)])
		n += wrote
		c.bytes.Add(int64(wrote))
	}
	return n, err
}
