package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/x0a1b/promptmq/broker/inspect"
)

// Sessions are those of a broker, and what is in them.
type Sessions interface {
	Clients(context.Context, inspect.ClientFilter, inspect.Window) (inspect.Page[inspect.Client], error)
	Queue(ctx context.Context, id string, w inspect.Window) (inspect.Page[inspect.Queued], error)
	EndSession(ctx context.Context, id string) error
	PurgeSessions(ctx context.Context, olderThan time.Duration, dryRun bool) (n int, err error)
	Subscribe(ctx context.Context, id string, s inspect.Subscription) error
	Unsubscribe(ctx context.Context, id, filter string) error
	Drops() []inspect.Drop
}

// A Purge says which sessions end.
type Purge struct {
	OlderThan int64 `json:"older_than" minimum:"0" maximum:"4294967295" doc:"Seconds that they have had no connection for, at least."`
	DryRun    bool  `json:"dry_run,omitempty" doc:"Only count them."`
}

// AddSessions adds what is seen of sessions and changes them.
func AddSessions(a *API, b Sessions) {
	Handle(a, Operation{Method: http.MethodGet, Path: "/sessions", Role: Viewer, Group: "sessions", Summary: "The clients whose session outlives the connection."},
		func(ctx context.Context, in *ClientList) (*inspect.Page[inspect.Client], error) {
			f, durable := in.filter(), true
			if f.Durable == nil {
				f.Durable = &durable
			}
			page, err := b.Clients(ctx, f, in.Window())
			return &page, err
		})
	Handle(a, Operation{Method: http.MethodDelete, Path: "/sessions/{id}", Role: Admin, Group: "sessions", Refused: notFound,
		Summary: "End a session, with its queue and its subscriptions.", Description: "A client that is connected is disconnected first. It is on disk when it is answered."},
		func(ctx context.Context, in *ClientChoice) (*Nothing, error) {
			return new(Nothing), b.EndSession(ctx, in.ID)
		})
	type purging struct{ Body Purge }
	Handle(a, Operation{Method: http.MethodPost, Path: "/sessions/purge", Role: Admin, Group: "sessions", Summary: "End the sessions that have had no connection for long."},
		func(ctx context.Context, in *purging) (*Count, error) {
			n, err := b.PurgeSessions(ctx, time.Duration(in.Body.OlderThan)*time.Second, in.Body.DryRun)
			return &Count{n, in.Body.DryRun}, err
		})
	type queueing struct {
		ClientChoice
		List
	}
	Handle(a, Operation{Method: http.MethodGet, Path: "/clients/{id}/queue", Role: Viewer, Group: "clients", Summary: "The messages that wait for a client.", Refused: notFound},
		func(ctx context.Context, in *queueing) (*inspect.Page[inspect.Queued], error) {
			page, err := b.Queue(ctx, in.ID, in.Window())
			return &page, err
		})
	addSubscribing(a, b)
	Handle(a, Operation{Method: http.MethodGet, Path: "/drops", Role: Viewer, Group: "clients", Summary: "The last messages that did not reach a client, newest first."},
		func(context.Context, *Nothing) (*inspect.Page[inspect.Drop], error) {
			return &inspect.Page[inspect.Drop]{Items: append([]inspect.Drop{}, b.Drops()...)}, nil
		})
}

// A NewSubscription is one that an operator makes.
type NewSubscription struct {
	Filter            string `json:"filter" maxLength:"65535" doc:"Topic Filter; with $share/ if it is shared."`
	QoS               int    `json:"qos,omitempty" minimum:"0" maximum:"2"`
	NoLocal           bool   `json:"no_local,omitempty"`
	RetainAsPublished bool   `json:"retain_as_published,omitempty"`
	RetainHandling    int    `json:"retain_handling,omitempty" minimum:"0" maximum:"2"`
	ID                uint32 `json:"identifier,omitempty" maximum:"268435455"`
}

func addSubscribing(a *API, b Sessions) {
	type subscribing struct {
		ClientChoice
		Body NewSubscription
	}
	Handle(a, Operation{Method: http.MethodPut, Path: "/clients/{id}/subscriptions", Role: Admin, Group: "subscriptions", Refused: []int{http.StatusNotFound, http.StatusConflict},
		Summary: "Subscribe for a client, or change its subscription.", Description: "The rules for its user are asked. It is on disk when it is answered."},
		func(ctx context.Context, in *subscribing) (*Nothing, error) {
			s := inspect.Subscription{
				Client: in.ID, Filter: in.Body.Filter, QoS: in.Body.QoS, NoLocal: in.Body.NoLocal,
				RetainAsPublished: in.Body.RetainAsPublished, RetainHandling: in.Body.RetainHandling, ID: in.Body.ID,
			}
			return new(Nothing), b.Subscribe(ctx, in.ID, s)
		})
	type unsubscribing struct {
		ClientChoice
		Filter string `query:"filter" required:"true" maxLength:"65535"`
	}
	Handle(a, Operation{Method: http.MethodDelete, Path: "/clients/{id}/subscriptions", Role: Admin, Group: "subscriptions", Refused: notFound, Summary: "Unsubscribe for a client."},
		func(ctx context.Context, in *unsubscribing) (*Nothing, error) {
			return new(Nothing), b.Unsubscribe(ctx, in.ID, in.Filter)
		})
}
