package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/terminal"
)

type clientsCommand struct {
	List       clientsListCommand       `cmd:"" help:"List the clients that are connected, or have a session."`
	Show       clientsShowCommand       `cmd:"" help:"Show all that is known of a client: connection, session, subscriptions, last drops."`
	Queue      clientsQueueCommand      `cmd:"" help:"List the messages that wait for a client, the oldest first."`
	Disconnect clientsDisconnectCommand `cmd:"" help:"Close the connection of a client. Its session stays; its will is published."`
}

type clientsListCommand struct {
	listing
	Search    string `placeholder:"TEXT" help:"Only those with this in the client identifier, the user name or the address."`
	User      string `placeholder:"USER" help:"Only those of this user."`
	Listener  string `placeholder:"NAME" help:"Only those that came in by this listener."`
	Connected bool   `help:"Only those with a connection." xor:"connected"`
	Away      bool   `help:"Only those without a connection." xor:"connected"`
	Sort      string `placeholder:"COLUMN" help:"Member of the JSON to sort by, such as user, connected_at, queued, queued_bytes, dropped, messages_in. Default: id."`
	Desc      bool   `help:"The largest first."`
}

// Run implements the command.
func (c *clientsListCommand) Run() error {
	q := query("search", c.Search, "user", c.User, "listener", c.Listener, "sort", c.Sort)
	if c.Connected || c.Away {
		q.Set("connected", strconv.FormatBool(c.Connected))
	}
	if c.Desc {
		q.Set("order", "desc")
	}
	columns := []terminal.Column{
		{Title: "CLIENT", Least: 12}, {Title: "USER", Least: 8}, {Title: "STATE"}, {Title: "FOR"}, {Title: "ADDRESS", Least: 12},
		{Title: "SUBS", Right: true}, {Title: "QUEUED", Right: true}, {Title: "IN FLIGHT", Right: true}, {Title: "DROPPED", Right: true}, {Title: "IN", Right: true}, {Title: "OUT", Right: true},
	}
	return list(&c.listing, "/clients", q, columns, func(r *inspect.Client) []string {
		return []string{
			r.ID, r.User, stateOf(r), since(stateSince(r)), r.Address, inspect.CountText(r.Subscriptions), inspect.CountText(r.Queued), inspect.CountText(r.InFlight),
			inspect.CountText(r.Dropped), inspect.CountText(r.MessagesIn), inspect.CountText(r.MessagesOut),
		}
	})
}

type clientsShowCommand struct {
	place
	ID   string `arg:"" name:"id" help:"Client identifier."`
	JSON bool   `help:"Write the JSON of the API."`
}

// Run implements the command.
func (c *clientsShowCommand) Run() error {
	return c.ask(func(ctx context.Context, a *administered) error {
		d, err := admin.Call[inspect.ClientDetail](ctx, a.Client, http.MethodGet, admin.Path("clients", c.ID), nil)
		if err != nil {
			return noClient(err, c.ID)
		}
		if c.JSON {
			return writeJSON(os.Stdout, d)
		}
		return writeClient(d)
	})
}

// writeClient writes what is known of a client.
func writeClient(d *inspect.ClientDetail) error {
	t := terminal.Table{Columns: []terminal.Column{{Title: "CLIENT"}, {Title: escaped(d.ID), Least: 20}}}
	row := func(name string, parts ...string) {
		parts = deleteEmpty(parts)
		if len(parts) > 0 {
			t.Add(name, strings.Join(parts, ", "))
		}
	}
	row("user", d.User, prefixed("groups ", strings.Join(d.Groups, " ")), prefixed("by ", d.Method))
	row("state", stateOf(&d.Client)+prefixed(" for ", since(stateSince(&d.Client))))
	if d.Connected {
		row("connection", d.Address, prefixed("listener ", d.Listener), prefixed("MQTT ", d.Protocol), fmt.Sprintf("keep alive %d s", d.KeepAlive))
		row("takes", limited("%s messages at a time", d.ReceiveMaximum), limited("packets up to %s bytes", int(d.PacketBytesMax)))
	}
	row("session", sessionText(&d.Client))
	row("queue", inspect.CountText(d.Queued)+" messages", inspect.BytesText(d.QueuedBytes), inspect.CountText(d.InFlight)+" in flight", inspect.BytesText(d.WaitingOut)+" to be written")
	row("received", inspect.CountText(d.MessagesIn)+" messages", inspect.BytesText(d.BytesIn))
	row("sent", inspect.CountText(d.MessagesOut)+" messages", inspect.BytesText(d.BytesOut))
	row("dropped", inspect.CountText(d.Dropped))
	row("will", d.WillTopic)
	width, _ := terminal.Size(os.Stdout)
	if err := t.Write(os.Stdout, width); err != nil {
		return err
	}
	if len(d.Subscribed) > 0 {
		fmt.Println()
		if err := writeRows(subscriptionColumns[1:], d.Subscribed, func(s *inspect.Subscription) []string { return subscriptionCells(s)[1:] }); err != nil {
			return err
		}
		if more := d.Subscriptions - len(d.Subscribed); more > 0 {
			fmt.Printf("and %s more: promptmq subscriptions list --client ID\n", inspect.CountText(more))
		}
	}
	if len(d.LastDrops) == 0 {
		return nil
	}
	fmt.Println()
	return writeRows(dropColumns, d.LastDrops, dropCells)
}

// dropColumns and dropCells show the drops of one client.
var dropColumns = []terminal.Column{{Title: "DROPPED AT"}, {Title: "REASON"}, {Title: "TOPIC", Least: 12}, {Title: "QOS", Right: true}, {Title: "BYTES", Right: true}}

func dropCells(d *inspect.Drop) []string {
	return []string{clock(d.At), d.Reason, d.Topic, strconv.Itoa(d.QoS), inspect.CountText(d.Bytes)}
}

func deleteEmpty(parts []string) (left []string) {
	for _, p := range parts {
		if p != "" {
			left = append(left, p)
		}
	}
	return left
}

// prefixed is text with something before it, or nothing if it is empty.
func prefixed(before, text string) string {
	if text == "" {
		return ""
	}
	return before + text
}

// limited is a limit, or nothing if there is none.
func limited(format string, n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(format, inspect.CountText(n))
}

type clientsQueueCommand struct {
	listing
	ID string `arg:"" name:"id" help:"Client identifier."`
}

// Run implements the command.
func (c *clientsQueueCommand) Run() error {
	columns := []terminal.Column{
		{Title: "POSITION", Right: true}, {Title: "STATE"}, {Title: "TOPIC", Least: 12}, {Title: "QOS", Right: true}, {Title: "BYTES", Right: true}, {Title: "QUEUED FOR"}, {Title: "EXPIRES"},
	}
	err := list(&c.listing, admin.Path("clients", c.ID, "queue"), query(), columns, func(r *inspect.Queued) []string {
		return []string{strconv.FormatUint(r.Position, 10), r.State, r.Topic, strconv.Itoa(r.QoS), inspect.CountText(r.Bytes), since(r.QueuedAt), clock(r.Expires)}
	})
	return noClient(err, c.ID)
}

type clientsDisconnectCommand struct {
	place
	ID     string `arg:"" name:"id" help:"Client identifier."`
	Reason string `placeholder:"TEXT" help:"Told to an MQTT 5 client as Reason String."`
}

// Run implements the command.
func (c *clientsDisconnectCommand) Run() error {
	return c.ask(func(ctx context.Context, a *administered) error {
		in := map[string]string{}
		if c.Reason != "" {
			in["reason"] = c.Reason
		}
		if _, err := admin.Call[admin.Nothing](ctx, a.Client, http.MethodPost, admin.Path("clients", c.ID, "disconnect"), in); err != nil {
			if refused, ok := errors.AsType[*admin.Error](err); ok && refused.Status == http.StatusConflict {
				refused.Text = fmt.Sprintf("client %q is not connected; to end its session too, promptmq sessions end", c.ID)
			}
			return noClient(err, c.ID)
		}
		_, err := fmt.Printf("client %s: disconnected; it may connect again: to keep it out, promptmq user disable, or a rule\n", escaped(c.ID))
		return err
	})
}
