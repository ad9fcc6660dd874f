package admin

import (
	"context"
	"net/http"

	"github.com/x0a1b/promptmq/broker/inspect"
)

// Status is what somebody should know about a broker.
type Status struct {
	Well     bool              `json:"well" doc:"Nothing needs attention."`
	Findings []inspect.Finding `json:"findings" doc:"What needs attention first."`
	// Fullest are the Clients with the longest queues.
	Fullest []inspect.Client `json:"fullest_queues"`
}

const (
	fullestJudged = 20 // Clients
	dropsJudged   = 100
)

// AddStatus adds the judgement of a broker.
func AddStatus(a *API, b interface {
	Numbers
	Clients(context.Context, inspect.ClientFilter, inspect.Window) (inspect.Page[inspect.Client], error)
	Drops() []inspect.Drop
}) {
	Handle(a, Operation{Method: http.MethodGet, Path: "/status", Role: Viewer, Group: "broker",
		Summary: "What somebody should know: what needs attention, and what to do.", Description: "Drops and refusals are those of the last ten minutes."},
		func(ctx context.Context, _ *Nothing) (*Status, error) {
			fullest, err := b.Clients(ctx, inspect.ClientFilter{Sort: "queued", Descending: true}, inspect.Window{Limit: fullestJudged})
			if err != nil {
				return nil, err
			}
			seen := &inspect.Seen{Now: b.Numbers(), Fullest: fullest.Items, Drops: b.Drops()}
			seen.Drops = seen.Drops[:min(len(seen.Drops), dropsJudged)]
			if history := b.NumbersHistory(); len(history) > 0 {
				seen.Before = history[0]
			}
			s := &Status{Findings: append([]inspect.Finding{}, inspect.Judge(seen)...), Fullest: append([]inspect.Client{}, fullest.Items...)}
			s.Well = len(s.Findings) == 0 || !s.Findings[0].Attention
			return s, nil
		})
}
