package admin

import (
	"context"
	"net/http"

	"github.com/x0a1b/promptmq/broker/inspect"
)

// Clients are those of a broker, and their subscriptions.
type Clients interface {
	Clients(context.Context, inspect.ClientFilter, inspect.Window) (inspect.Page[inspect.Client], error)
	Client(id string) (inspect.ClientDetail, error)
	Disconnect(id, reason string) error
	Subscriptions(context.Context, inspect.SubscriptionFilter, inspect.Window) (inspect.Page[inspect.Subscription], error)
}

// A ClientChoice is a client in a path.
type ClientChoice struct {
	ID string `path:"id" maxLength:"65535" doc:"Client Identifier; . and .. as %2E and %2E%2E."`
}

// A ClientList is which clients are listed, and how.
type ClientList struct {
	List
	Search    string `query:"search" maxLength:"1024" doc:"Part of the Client Identifier, the user name or the address."`
	User      string `query:"user" maxLength:"1024"`
	Listener  string `query:"listener" maxLength:"1024"`
	Connected string `query:"connected" enum:"true,false"`
	Durable   string `query:"durable" enum:"true,false" doc:"Whose session outlives the connection."`
	Sort      string `query:"sort" maxLength:"64" doc:"The name of a member of a row. Default: id."`
	Order     string `query:"order" enum:"asc,desc" default:"asc"`
}

func (l *ClientList) filter() inspect.ClientFilter {
	return inspect.ClientFilter{
		Search: l.Search, User: l.User, Listener: l.Listener, Connected: choice(l.Connected), Durable: choice(l.Durable), Sort: l.Sort, Descending: l.Order == "desc",
	}
}

// choice is nil if nothing was said.
func choice(text string) *bool {
	if text == "" {
		return nil
	}
	yes := text == "true"
	return &yes
}

var notFound = []int{http.StatusNotFound}

// AddClients adds what is seen of clients and their subscriptions, and what ends a connection.
func AddClients(a *API, b Clients) {
	Handle(a, Operation{Method: http.MethodGet, Path: "/clients", Role: Viewer, Group: "clients", Summary: "The clients: those that are connected, and those that have a session."},
		func(ctx context.Context, in *ClientList) (*inspect.Page[inspect.Client], error) {
			page, err := b.Clients(ctx, in.filter(), in.Window())
			return &page, err
		})
	Handle(a, Operation{Method: http.MethodGet, Path: "/clients/{id}", Role: Viewer, Group: "clients", Summary: "All that is known of one client.", Refused: notFound},
		func(_ context.Context, in *ClientChoice) (*inspect.ClientDetail, error) {
			detail, err := b.Client(in.ID)
			return &detail, err
		})
	type disconnecting struct {
		ClientChoice
		Body struct {
			Reason string `json:"reason,omitempty" maxLength:"1024" doc:"For the log, and for an MQTT 5 client."`
		}
	}
	Handle(a, Operation{Method: http.MethodPost, Path: "/clients/{id}/disconnect", Role: Admin, Group: "clients", Refused: []int{http.StatusNotFound, http.StatusConflict},
		Summary: "End the connection of a client. Its session stays, and it may come back.", Description: "MQTT 5 clients are told 0x98 (Administrative action). A Will is published."},
		func(_ context.Context, in *disconnecting) (*Nothing, error) {
			return new(Nothing), b.Disconnect(in.ID, in.Body.Reason)
		})
	type subscriptions struct {
		List
		Client string `query:"client" maxLength:"65535"`
		Filter string `query:"filter" maxLength:"65535" doc:"Exactly this Topic Filter."`
		Topic  string `query:"topic" maxLength:"65535" doc:"Those that a message with this Topic Name would be for."`
		Search string `query:"search" maxLength:"1024" doc:"Part of the Topic Filter."`
	}
	Handle(a, Operation{Method: http.MethodGet, Path: "/subscriptions", Role: Viewer, Group: "subscriptions", Summary: "Who subscribed what."},
		func(ctx context.Context, in *subscriptions) (*inspect.Page[inspect.Subscription], error) {
			page, err := b.Subscriptions(ctx, inspect.SubscriptionFilter{Client: in.Client, Filter: in.Filter, Topic: in.Topic, Search: in.Search}, in.Window())
			return &page, err
		})
}
