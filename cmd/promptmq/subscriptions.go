package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/terminal"
)

type subscriptionsCommand struct {
	List   subscriptionsListCommand   `cmd:"" help:"List subscriptions: all, of a client, with a filter, or those that a topic would reach."`
	Add    subscriptionsAddCommand    `cmd:"" help:"Subscribe a client that has a session, as if it had asked for it; rules are asked as for its user."`
	Remove subscriptionsRemoveCommand `cmd:"" aliases:"delete" help:"Unsubscribe a client."`
}

type subscriptionsListCommand struct {
	listing
	Client string `placeholder:"ID" help:"Only those of this client."`
	Filter string `placeholder:"FILTER" help:"Only those with exactly this topic filter."`
	Topic  string `placeholder:"TOPIC" help:"Only those that would get a message with this topic."`
	Search string `placeholder:"TEXT" help:"Only those with this in their topic filter."`
}

var subscriptionColumns = []terminal.Column{{Title: "CLIENT", Least: 12}, {Title: "FILTER", Least: 12}, {Title: "QOS", Right: true}, {Title: "OPTIONS"}}

func subscriptionCells(s *inspect.Subscription) []string {
	var options []string
	if s.NoLocal {
		options = append(options, "no local")
	}
	if s.RetainAsPublished {
		options = append(options, "retain as published")
	}
	if s.RetainHandling != 0 {
		options = append(options, fmt.Sprintf("retain handling %d", s.RetainHandling))
	}
	if s.ID != 0 {
		options = append(options, fmt.Sprintf("identifier %d", s.ID))
	}
	return []string{s.Client, s.Filter, strconv.Itoa(s.QoS), strings.Join(options, ", ")}
}

// Run implements the command.
func (c *subscriptionsListCommand) Run() error {
	q := query("client", c.Client, "filter", c.Filter, "topic", c.Topic, "search", c.Search)
	return list(&c.listing, "/subscriptions", q, subscriptionColumns, subscriptionCells)
}

type subscriptionsAddCommand struct {
	place
	ID                string `arg:"" name:"id" help:"Client identifier."`
	Filter            string `arg:"" help:"Topic filter."`
	QoS               int    `name:"qos" default:"0" enum:"0,1,2" help:"Most QoS of what it gets. Default: 0."`
	NoLocal           bool   `help:"The client does not get what it publishes itself."`
	RetainAsPublished bool   `help:"Messages that were published as retained come as such."`
	RetainHandling    int    `default:"0" enum:"0,1,2" help:"Retained messages that are there: 0: they are sent, 1: if the subscription is new, 2: they are not. Default: 0."`
}

// Run implements the command.
func (c *subscriptionsAddCommand) Run() error {
	return c.ask(func(ctx context.Context, a *administered) error {
		in := &admin.NewSubscription{Filter: c.Filter, QoS: c.QoS, NoLocal: c.NoLocal, RetainAsPublished: c.RetainAsPublished, RetainHandling: c.RetainHandling}
		if _, err := admin.Call[admin.Nothing](ctx, a.Client, http.MethodPut, admin.Path("clients", c.ID, "subscriptions"), in); err != nil {
			return noClient(err, c.ID)
		}
		_, err := fmt.Printf("client %s: subscribed to %s with QoS %d\n", escaped(c.ID), escaped(c.Filter), c.QoS)
		return err
	})
}

type subscriptionsRemoveCommand struct {
	place
	ID     string `arg:"" name:"id" help:"Client identifier."`
	Filter string `arg:"" help:"Topic filter."`
}

// Run implements the command.
func (c *subscriptionsRemoveCommand) Run() error {
	return c.ask(func(ctx context.Context, a *administered) error {
		path := admin.Path("clients", c.ID, "subscriptions") + "?" + url.Values{"filter": {c.Filter}}.Encode()
		if _, err := admin.Call[admin.Nothing](ctx, a.Client, http.MethodDelete, path, nil); err != nil {
			return c.notThere(ctx, a, err)
		}
		_, err := fmt.Printf("client %s: unsubscribed from %s\n", escaped(c.ID), escaped(c.Filter))
		return err
	})
}

// notThere says which of the two there is not: the client, or its subscription.
func (c *subscriptionsRemoveCommand) notThere(ctx context.Context, a *administered, err error) error {
	refused, ok := errors.AsType[*admin.Error](err)
	if !ok || refused.Status != http.StatusNotFound {
		return err
	}
	if _, err := admin.Call[inspect.ClientDetail](ctx, a.Client, http.MethodGet, admin.Path("clients", c.ID), nil); err != nil {
		return noClient(err, c.ID)
	}
	refused.Text = fmt.Sprintf("client %q has no subscription with the filter %q: see promptmq subscriptions list --client ID", c.ID, c.Filter)
	return refused
}
