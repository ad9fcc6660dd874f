package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/x0a1b/promptmq/cmd/promptmq/client"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/topics"
)

type subCommand struct {
	brokerFlags
	printFlags
	Topics         words `name:"topic" short:"t" placeholder:"FILTER" help:"Topic filter to subscribe to; may be given several times. Or that of -L."`
	QoS            uint8 `name:"qos" short:"q" placeholder:"QOS" help:"QoS: 0, 1 or 2. Default: 0."`
	Unsubscribe    words `short:"U" placeholder:"FILTER" help:"Topic filter to unsubscribe from first; may be given several times."`
	FilterOut      words `short:"T" placeholder:"FILTER" help:"Do not show messages whose topic matches; may be given several times."`
	Count          int   `short:"C" placeholder:"N" help:"End after N messages."`
	Skip           bool  `name:"skip-retained" short:"R" help:"Do not show retained messages that were there before."`
	RetainedOnly   bool  `help:"Show retained messages only, and end with the first that is not."`
	RemoveRetained bool  `help:"Delete the retained messages that come from the broker."`
	Exit           bool  `name:"exit-subscribed" short:"E" help:"End when the broker has acknowledged the subscriptions."`

	shown   int
	session *client.Session
}

// printFlags say how messages are shown, and for how long.
type printFlags struct {
	Verbose bool    `short:"v" help:"Show the topic before the payload."`
	Format  word    `short:"F" placeholder:"FORMAT" help:"How a message is shown; as with mosquitto_sub: %t topic, %p payload, %x %X payload in hexadecimal, %q QoS, %r retain, %l length, %m packet identifier, %j %J JSON, %I %U time, %A %C %D %E %F %P %R %S properties; @Y and the like of strftime; \\n."`
	JSON    bool    `name:"json" help:"Show each message as a line of JSON, as %j does."`
	NoEnd   bool    `name:"no-newline" short:"N" help:"No end of line behind a message."`
	Wait    float64 `name:"timeout" short:"W" placeholder:"SECONDS" help:"End after that time, with exit code 27."`

	format format
	raw    bool // the payload itself is to be JSON
}

func (f *printFlags) check() (err error) {
	switch {
	case f.Format.set && (f.JSON || f.Verbose), f.JSON && f.Verbose:
		return errors.New("-F, -v and --json are ways to show a message: use one")
	case !(f.Wait >= 0 && f.Wait < 1e9):
		return fmt.Errorf("-W is a number of seconds, 0 or more, not %v", f.Wait)
	case f.Format.set:
		f.format, f.raw, err = parseFormat(f.Format.text)
	case f.JSON:
		f.format, _, err = parseFormat("%j")
	}
	return err
}

// show writes a message in one write.
func (f *printFlags) show(p *codec.Publish) error {
	var line []byte
	switch {
	case f.format != nil || f.Format.set:
		if f.raw && !json.Valid(p.Payload) {
			fmt.Fprintf(os.Stderr, "promptmq: the payload of a message to %q is no JSON\n", p.Topic)
			return nil
		}
		at := time.Now()
		for _, piece := range f.format {
			line = piece(line, p, at)
		}
	case f.Verbose && len(p.Payload) == 0:
		line = fmt.Appendf(nil, "%s (null)", p.Topic)
	case f.Verbose:
		line = append(append(append(line, p.Topic...), ' '), p.Payload...)
	default:
		line = append(line, p.Payload...)
	}
	if !f.NoEnd {
		line = append(line, '\n')
	}
	_, err := os.Stdout.Write(line)
	return err
}

// timeLimit bounds ctx by -W.
func (f *printFlags) timeLimit(ctx context.Context) (context.Context, context.CancelFunc) {
	if f.Wait == 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, time.Duration(f.Wait*float64(time.Second)), errTimeout)
}

// Validate checks the flags.
func (c *subCommand) Validate() error {
	if err := errors.Join(c.brokerFlags.check(), c.printFlags.check()); err != nil {
		return err
	}
	if c.topic != "" {
		c.Topics = append(c.Topics, c.topic)
	}
	for _, filter := range slices.Concat(c.Topics, c.Unsubscribe, c.FilterOut) {
		if err := topics.ValidFilter([]byte(filter), 0); err != nil {
			return fmt.Errorf("the topic filter %q: %w", filter, err)
		}
	}
	switch {
	case len(c.Topics) == 0 && len(c.Unsubscribe) == 0:
		return errors.New("subscribe to what? Say -t FILTER, or put it behind the host in -L")
	case c.QoS > 2:
		return fmt.Errorf("-q is 0, 1 or 2, not %d", c.QoS)
	case c.Count < 0:
		return fmt.Errorf("-C is 1 or more, not %d", c.Count)
	case c.Skip && c.RetainedOnly:
		return errors.New("-R and --retained-only leave nothing to show")
	}
	return nil
}

// Run implements the command.
func (c *subCommand) Run() error {
	o, err := c.options()
	if err != nil {
		return c.end(err)
	}
	o.Reconnect = true
	for _, filter := range c.Topics {
		o.Subscribe = append(o.Subscribe, codec.Subscription{Filter: codec.View(filter), QoS: codec.QoS(c.QoS)})
	}
	for _, filter := range c.Unsubscribe {
		o.Unsubscribe = append(o.Unsubscribe, codec.View(filter))
	}
	o.Subscribed = func(reasons []codec.ReasonCode) (bool, error) { return c.Exit, c.refusedFilters(c.Topics, reasons) }
	o.Message = c.message
	ctx, restore := untilSignal()
	defer restore()
	ctx, cancel := c.timeLimit(ctx)
	defer cancel()
	c.session = client.New(o)
	err = c.session.Run(ctx)
	if err == nil && errors.Is(context.Cause(ctx), errTimeout) {
		err = errTimeout
	}
	return c.end(err)
}

// refusedFilters reports those that the broker did not take: an error if it took none.
func (b *brokerFlags) refusedFilters(filters []string, reasons []codec.ReasonCode) error {
	n := 0
	for i, reason := range reasons {
		if reason >= codec.UnspecifiedError && i < len(filters) {
			n++
			b.say("the broker has refused the subscription to %q: %v (0x%02X)", filters[i], reason, byte(reason))
		}
	}
	if n > 0 && n == len(reasons) {
		return &client.Refusal{Packet: codec.TypeSuback, Reason: reasons[0]}
	}
	return nil
}

// message shows a message if it is to be.
func (c *subCommand) message(p *codec.Publish) (stop bool, err error) {
	if c.RetainedOnly && !p.Retain {
		return true, nil
	}
	if c.Skip && p.Retain || slices.ContainsFunc(c.FilterOut, func(filter string) bool { return topics.MatchString(filter, p.Topic.String()) }) {
		return false, nil
	}
	if c.RemoveRetained && p.Retain && len(p.Payload) > 0 {
		err = c.session.Publish(context.Background(), codec.Publish{Topic: p.Topic, Retain: true}) // does not wait: there is a connection
	}
	err = errors.Join(err, c.show(p))
	c.shown++
	return c.Count > 0 && c.shown >= c.Count, err
}
