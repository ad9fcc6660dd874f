package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/terminal"
)

type retainedMessagesCommand struct {
	List   retainedListCommand   `cmd:"" help:"List the retained messages whose topics a filter matches."`
	Show   retainedShowCommand   `cmd:"" help:"Show a retained message, or write its payload."`
	Delete retainedDeleteCommand `cmd:"" aliases:"remove" help:"Delete the retained messages whose topics a filter matches; subscribers are not told."`
	Export retainedExportCommand `cmd:"" help:"Write retained messages with their payloads as NDJSON: one object a line, payloads in base64."`
}

type retainedListCommand struct {
	listing
	Filter string `arg:"" optional:"" help:"Topic filter. None: all."`
}

// Run implements the command.
func (c *retainedListCommand) Run() error {
	columns := []terminal.Column{{Title: "TOPIC", Least: 16}, {Title: "QOS", Right: true}, {Title: "BYTES", Right: true}, {Title: "USER", Least: 8}, {Title: "EXPIRES"}}
	return list(&c.listing, "/retained", query("filter", c.Filter), columns, func(r *inspect.Retained) []string {
		return []string{r.Topic, strconv.Itoa(r.QoS), inspect.CountText(r.Bytes), r.User, clock(r.Expires)}
	})
}

type retainedShowCommand struct {
	place
	Topic string `arg:"" help:"Topic name."`
	Raw   bool   `help:"Write the payload alone, as it is." xor:"how"`
	JSON  bool   `help:"Write the JSON of the API." xor:"how"`
}

// Run implements the command.
func (c *retainedShowCommand) Run() error {
	return c.ask(func(ctx context.Context, a *administered) error {
		m, err := admin.Call[inspect.Message](ctx, a.Client, http.MethodGet, "/retained/message?"+query("topic", c.Topic).Encode(), nil)
		if refused, ok := errors.AsType[*admin.Error](err); ok && refused.Status == http.StatusNotFound {
			refused.Text = fmt.Sprintf("no message is retained on %q: see promptmq retained list", c.Topic)
		}
		switch {
		case err != nil:
			return err
		case c.JSON:
			return writeJSON(os.Stdout, m)
		case c.Raw:
			_, err := os.Stdout.Write(m.Payload)
			return err
		}
		return writeMessage(m)
	})
}

func writeMessage(m *inspect.Message) error {
	t := terminal.Table{Columns: []terminal.Column{{Title: "TOPIC"}, {Title: escaped(m.Topic), Least: 20}}}
	row := func(name, value string) {
		if value != "" {
			t.Add(name, value)
		}
	}
	row("QoS", strconv.Itoa(m.QoS))
	row("user", m.User)
	if m.ExpirySeconds > 0 {
		row("expires", fmt.Sprintf("in %d s", m.ExpirySeconds))
	}
	row("content type", m.ContentType)
	row("response topic", m.ResponseTopic)
	row("correlation", hex.EncodeToString(m.CorrelationData))
	for _, p := range m.UserProperties {
		row("property", p.Name+"="+p.Value)
	}
	row("payload", inspect.CountText(len(m.Payload))+" bytes")
	width, _ := terminal.Size(os.Stdout)
	if err := t.Write(os.Stdout, width); err != nil {
		return err
	}
	_, err := fmt.Println(payloadText(m.Payload))
	return err
}

// payloadText is a payload for a person: lines of text, in which what is no text is escaped,
// or bytes in hexadecimal.
func payloadText(payload []byte) string {
	if !utf8.Valid(payload) {
		return strings.TrimSuffix(hex.Dump(payload), "\n")
	}
	var lines []string
	for line := range strings.SplitSeq(string(payload), "\n") {
		lines = append(lines, escaped(strings.TrimSuffix(line, "\r")))
	}
	return strings.Join(lines, "\n")
}

type retainedDeleteCommand struct {
	place
	Filter string `arg:"" help:"Topic filter, or a topic."`
	DryRun bool   `help:"Say how many it would be, and delete none."`
}

// Run implements the command.
func (c *retainedDeleteCommand) Run() error {
	return c.ask(func(ctx context.Context, a *administered) error {
		q, what := query("filter", c.Filter), "deleted"
		if c.DryRun {
			q.Set("dry_run", "true")
			what = "would be deleted"
		}
		out, err := admin.Call[admin.Count](ctx, a.Client, http.MethodDelete, "/retained?"+q.Encode(), nil)
		if err != nil {
			return err
		}
		_, err = fmt.Printf("%s: %s\n", what, counted(out.Count, "retained message", "retained messages"))
		return err
	})
}

type retainedExportCommand struct {
	place
	Filter string `arg:"" optional:"" default:"#" help:"Topic filter. None: all."`
}

// Run implements the command.
func (c *retainedExportCommand) Run() error {
	return c.ask(func(ctx context.Context, a *administered) error {
		return admin.Copy(ctx, a.Client, "/retained/export?"+query("filter", c.Filter).Encode(), os.Stdout)
	})
}
