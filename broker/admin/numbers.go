package admin

import (
	"context"
	"net/http"

	"github.com/x0a1b/promptmq/broker/inspect"
)

// Numbers are the counters and levels of a broker.
type Numbers interface {
	Numbers() inspect.Numbers
	NumbersHistory() []inspect.Numbers
}

// Health says whether a broker serves.
type Health struct {
	Ready    bool   `json:"ready"`
	NotReady string `json:"not_ready,omitempty" doc:"Why."`
}

// AddNumbers adds what is counted.
func AddNumbers(a *API, b Numbers) {
	Handle(a, Operation{Method: http.MethodGet, Path: "/numbers", Role: Viewer, Group: "broker", Summary: "Counters and levels of now."},
		func(context.Context, *Nothing) (*inspect.Numbers, error) {
			n := b.Numbers()
			return &n, nil
		})
	type last struct {
		Limit int `query:"limit" minimum:"1" maximum:"1000" default:"600" doc:"Only the last ones."`
	}
	Handle(a, Operation{Method: http.MethodGet, Path: "/numbers/history", Role: Viewer, Group: "broker", Summary: "The same of the last ten minutes, one of each second, oldest first."},
		func(_ context.Context, in *last) (*inspect.Page[inspect.Numbers], error) {
			all := b.NumbersHistory()
			return &inspect.Page[inspect.Numbers]{Items: append([]inspect.Numbers{}, all[max(0, len(all)-in.Limit):]...), Total: len(all)}, nil
		})
	Handle(a, Operation{Method: http.MethodGet, Path: "/health", Role: Viewer, Group: "broker", Summary: "Whether the broker serves.", Description: "For probes there is /ready of metrics.bind, which needs no role."},
		func(context.Context, *Nothing) (*Health, error) {
			n := b.Numbers()
			return &Health{n.Ready, n.NotReady}, nil
		})
}
