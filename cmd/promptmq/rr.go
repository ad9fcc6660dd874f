package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/x0a1b/promptmq/cmd/promptmq/client"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/topics"
)

type rrCommand struct {
	brokerFlags
	messageFlags
	printFlags
	Response word `name:"response-topic" short:"e" placeholder:"TOPIC" help:"Topic on which the answer comes."`
}

// Validate checks the flags.
func (c *rrCommand) Validate() error {
	if err := errors.Join(c.brokerFlags.check(), c.printFlags.check()); err != nil {
		return err
	}
	if err := c.messageFlags.check(&c.brokerFlags, "-m TEXT, -f FILE, -n and -s"); err != nil {
		return err
	}
	if _, has := c.publish.Forward.ResponseTopic(); has {
		return errors.New("-D publish response-topic: -e says it")
	}
	if err := topics.ValidName([]byte(c.Response.text), 0); err != nil {
		return fmt.Errorf("-e TOPIC says where the answer comes, not %q: %w", c.Response.text, err)
	}
	return c.target.Set(c.responseProperty())
}

// responseProperty is the Response Topic, which MQTT 5 has.
func (c *rrCommand) responseProperty() []client.Property {
	if c.version != codec.Version5 {
		return nil
	}
	return []client.Property{{Packet: "publish", Identifier: "response-topic", Value: c.Response.text}}
}

// Run implements the command.
func (c *rrCommand) Run() error {
	o, err := c.options()
	if err != nil {
		return c.end(err)
	}
	payload, err := c.payload()
	if err != nil {
		return c.end(err)
	}
	subscribed, answered := make(chan struct{}), make(chan error, 1)
	o.Subscribe = []codec.Subscription{{Filter: codec.View(c.Response.text), QoS: codec.QoS(c.QoS)}}
	o.Subscribed = func(reasons []codec.ReasonCode) (bool, error) {
		close(subscribed)
		return false, c.refusedFilters([]string{c.Response.text}, reasons)
	}
	o.Message = func(p *codec.Publish) (stop bool, err error) {
		if p.Retain {
			return false, nil // of an earlier request
		}
		answered <- c.show(p)
		return true, nil
	}
	var refused error
	o.Done = func(topic string, reason codec.ReasonCode) {
		if reason >= codec.UnspecifiedError {
			refused = fmt.Errorf("the broker has refused the request to %q: %v (0x%02X)", topic, reason, byte(reason))
			select {
			case answered <- refused:
			default:
			}
		}
	}
	ctx, restore := untilSignal()
	defer restore()
	ctx, cancel := c.timeLimit(ctx)
	defer cancel()
	ctx, lost := context.WithCancelCause(ctx)
	s := client.New(o)
	ran := make(chan error, 1)
	go func() {
		err := s.Run(ctx)
		lost(err)
		ran <- err
	}()
	err = c.request(ctx, s, payload, subscribed, answered)
	s.Leave()
	return c.end(errors.Join(<-ran, err))
}

// request sends the request when the subscription is there, and waits for the answer.
func (c *rrCommand) request(ctx context.Context, s *client.Session, payload []byte, subscribed <-chan struct{}, answered <-chan error) error {
	select {
	case <-subscribed:
	case <-ctx.Done():
	}
	if ctx.Err() == nil {
		if err := s.Publish(ctx, c.message(&c.brokerFlags, payload)); err != nil {
			return err
		}
	}
	select {
	case err := <-answered:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-answered: // and the connection has ended
		return err
	default:
	}
	if errors.Is(context.Cause(ctx), errTimeout) {
		return errTimeout
	}
	return errors.New("no answer has come")
}
