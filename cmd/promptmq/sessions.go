package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/terminal"
)

type sessionsCommand struct {
	List  sessionsListCommand  `cmd:"" help:"List the sessions that outlive their connection, those of the largest queues first."`
	End   sessionsEndCommand   `cmd:"" aliases:"delete,remove" help:"End the session of a client, with its subscriptions and queue; a client that is connected is disconnected first."`
	Purge sessionsPurgeCommand `cmd:"" help:"End the sessions whose clients have been away for long."`
}

type sessionsListCommand struct {
	listing
	Search string `placeholder:"TEXT" help:"Only those with this in the client identifier, the user name or the address."`
	User   string `placeholder:"USER" help:"Only those of this user."`
	Away   bool   `help:"Only those without a connection."`
	Sort   string `default:"queued" placeholder:"COLUMN" help:"Member of the JSON to sort by, such as disconnected_at, expires_at, queued_bytes, dropped. Default: queued."`
	Asc    bool   `help:"The smallest first."`
}

// Run implements the command.
func (c *sessionsListCommand) Run() error {
	q := query("search", c.Search, "user", c.User, "sort", c.Sort, "order", "desc")
	if c.Asc {
		q.Del("order")
	}
	if c.Away {
		q.Set("connected", "false")
	}
	columns := []terminal.Column{
		{Title: "CLIENT", Least: 12}, {Title: "USER", Least: 8}, {Title: "STATE"}, {Title: "FOR"}, {Title: "ENDS"},
		{Title: "SUBS", Right: true}, {Title: "QUEUED", Right: true}, {Title: "SIZE", Right: true}, {Title: "DROPPED", Right: true},
	}
	return list(&c.listing, "/sessions", q, columns, func(r *inspect.Client) []string {
		return []string{
			r.ID, r.User, stateOf(r), since(stateSince(r)), endText(r), inspect.CountText(r.Subscriptions), inspect.CountText(r.Queued), inspect.BytesText(r.QueuedBytes), inspect.CountText(r.Dropped),
		}
	})
}

// stateOf is a client's state in a word.
func stateOf(c *inspect.Client) string {
	if c.Connected {
		return "connected"
	}
	return "away"
}

func stateSince(c *inspect.Client) time.Time {
	if c.Connected {
		return c.ConnectedAt
	}
	return c.DisconnectedAt
}

// endText says when a session ends.
func endText(c *inspect.Client) string {
	switch {
	case !c.ExpiresAt.IsZero():
		return "in " + inspect.DurationText(time.Until(c.ExpiresAt))
	case c.ExpiryInterval == math.MaxUint32:
		return "never"
	case c.ExpiryInterval == 0:
		return "with connection"
	}
	return inspect.DurationText(time.Duration(c.ExpiryInterval)*time.Second) + " after it"
}

func sessionText(c *inspect.Client) string {
	if !c.Durable {
		return "ends with its connection"
	}
	switch {
	case !c.ExpiresAt.IsZero():
		return "on disk, ends " + endText(c)
	case c.ExpiryInterval == math.MaxUint32:
		return "on disk, never ends"
	}
	return fmt.Sprintf("on disk, ends %s after its connection", inspect.DurationText(time.Duration(c.ExpiryInterval)*time.Second))
}

type sessionsEndCommand struct {
	place
	IDs []string `arg:"" name:"id" help:"Client identifiers."`
}

// Run implements the command.
func (c *sessionsEndCommand) Run() error {
	return c.ask(func(ctx context.Context, a *administered) error {
		for _, id := range c.IDs {
			if _, err := admin.Call[admin.Nothing](ctx, a.Client, http.MethodDelete, admin.Path("sessions", id), nil); err != nil {
				return noClient(err, id)
			}
			fmt.Printf("session of %s: ended\n", escaped(id))
		}
		return nil
	})
}

// noClient says what to do if there is no such client.
func noClient(err error, id string) error {
	if refused, ok := errors.AsType[*admin.Error](err); ok && refused.Status == http.StatusNotFound {
		refused.Text = fmt.Sprintf("there is no client %q, with a connection or a session: see promptmq clients list --search TEXT", id)
	}
	return err
}

type sessionsPurgeCommand struct {
	place
	OlderThan age  `required:"" placeholder:"AGE" help:"How long their clients have been away at least, such as 30d, 12h or 90m."`
	DryRun    bool `help:"Say how many it would be, and end none."`
}

// Run implements the command.
func (c *sessionsPurgeCommand) Run() error {
	return c.ask(func(ctx context.Context, a *administered) error {
		in := &admin.Purge{OlderThan: int64(time.Duration(c.OlderThan) / time.Second), DryRun: c.DryRun}
		out, err := admin.Call[admin.Count](ctx, a.Client, http.MethodPost, "/sessions/purge", in)
		if err != nil {
			return err
		}
		what := "ended"
		if c.DryRun {
			what = "would end"
		}
		_, err = fmt.Printf("%s: %s\n", what, counted(out.Count, "session", "sessions"))
		return err
	})
}
