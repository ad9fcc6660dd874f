package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
)

type traceCommand struct {
	place
	Client  string `placeholder:"ID" help:"Client identifier: all that it sends and gets."`
	Topic   string `placeholder:"FILTER" help:"Topic filter: all that is published and delivered there."`
	Kind    string `enum:",connect,disconnect,publish,deliver,drop,subscribe,unsubscribe,acknowledge,refuse" default:"" placeholder:"KIND" help:"Only events of this kind: connect, disconnect, publish, deliver, drop, subscribe, unsubscribe, acknowledge or refuse. Default: all."`
	Seconds int    `default:"60" placeholder:"N" help:"How long, at most 600. Default: 60."`
	Payload int    `default:"0" placeholder:"N" help:"How many bytes of each payload are shown, at most 4096. Default: none."`
	JSON    bool   `help:"Write a line of JSON for each event."`
}

// The most that the API takes.
const (
	traceSecondsMax = 600
	tracePayloadMax = 4096
)

// Validate checks the flags.
func (c *traceCommand) Validate() error {
	switch {
	case c.Client == "" && c.Topic == "":
		return errors.New("trace of what? Say --client ID, --topic FILTER or both")
	case c.Seconds < 1 || c.Seconds > traceSecondsMax:
		return fmt.Errorf("--seconds is from 1 to %d, not %d", traceSecondsMax, c.Seconds)
	case c.Payload < 0 || c.Payload > tracePayloadMax:
		return fmt.Errorf("--payload is from 0 to %d, not %d", tracePayloadMax, c.Payload)
	}
	return nil
}

// Run implements the command.
func (c *traceCommand) Run() error {
	return c.ask(func(ctx context.Context, a *administered) error {
		ctx, restore := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer restore()
		q := query("client", c.Client, "topic", c.Topic, "kind", c.Kind, "seconds", strconv.Itoa(c.Seconds), "payload", strconv.Itoa(c.Payload))
		return admin.Events(ctx, a.Client, "/trace?"+q.Encode(), func(name string, data []byte) error {
			if name == admin.EndEvent {
				return endOfTrace(data)
			}
			if c.JSON {
				_, err := os.Stdout.Write(append(bytes.TrimSpace(data), '\n'))
				return err
			}
			e := new(inspect.Event)
			if err := json.Unmarshal(data, e); err != nil {
				return fmt.Errorf("an event of the broker: %w", err)
			}
			_, err := fmt.Println(eventLine(e))
			return err
		})
	})
}

// endOfTrace says on standard error why there is no more.
func endOfTrace(data []byte) error {
	end := new(admin.End)
	if err := json.Unmarshal(data, end); err != nil {
		return fmt.Errorf("the end of the trace: %w", err)
	}
	_, err := fmt.Fprintf(os.Stderr, "the trace has ended: %s\n", escaped(end.Reason))
	return err
}

// eventLine is a line about an event.
func eventLine(e *inspect.Event) string {
	words := []string{e.At.Local().Format("15:04:05.000"), fmt.Sprintf("%-11s", e.Kind)}
	word := func(is bool, format string, args ...any) {
		if is {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	word(e.Client != "", "%s", escaped(e.Client))
	word(e.Topic != "", "%s", escaped(e.Topic))
	word(hasQoS[e.Kind], "qos=%d", e.QoS)
	word(e.Retain, "retain")
	word(e.Dup, "dup")
	word(e.ID != 0, "id=%d", e.ID)
	word(e.Bytes != 0, "bytes=%d", e.Bytes)
	word(e.Reason != "", "(%s)", escaped(e.Reason))
	word(len(e.Payload) > 0, "%s", escaped(string(e.Payload)))
	return strings.Join(words, " ")
}

// hasQoS are the kinds of events that are about a message or a subscription.
var hasQoS = map[string]bool{"publish": true, "deliver": true, "drop": true, "subscribe": true}
