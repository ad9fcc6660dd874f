package admin

import (
	"context"
	"net/http"

	"github.com/x0a1b/promptmq/broker/inspect"
)

// A Tracer tells what happens.
type Tracer interface {
	Trace(ctx context.Context, filter inspect.TraceFilter, events chan<- inspect.Event) error
}

// AddTrace adds the trace of a client or of topics.
func AddTrace(a *API, b Tracer) {
	type tracing struct {
		Lasting
		Client  string `query:"client" maxLength:"65535" doc:"Client Identifier; none: all, and then there is a topic."`
		Topic   string `query:"topic" maxLength:"65535" doc:"Topic Filter; none: all."`
		Kind    string `query:"kind" enum:"connect,disconnect,publish,deliver,drop,subscribe,unsubscribe,acknowledge,refuse" doc:"Only events of this kind; none: all."`
		Payload int    `query:"payload" minimum:"0" maximum:"4096" doc:"How many bytes of each payload are shown."`
	}
	HandleEvents(a, Operation{Method: http.MethodGet, Path: "/trace", Role: Viewer, Group: "clients", Summary: "What a client does, or what happens on topics, as server-sent events.",
		Description: "Nothing waits for the reader: an event of kind lost says how many it was too slow for."},
		func(ctx context.Context, in *tracing, events chan<- inspect.Event) error {
			return b.Trace(ctx, inspect.TraceFilter{Client: in.Client, Topic: in.Topic, Kind: in.Kind, PayloadBytes: in.Payload}, events)
		})
}
