package admin

import (
	"context"
	"net/http"

	"github.com/x0a1b/promptmq/broker/inspect"
)

// Messages are those that a broker retains and takes.
type Messages interface {
	Retained(ctx context.Context, filter string, w inspect.Window) (inspect.Page[inspect.Retained], error)
	RetainedMessage(topic string) (inspect.Message, error)
	RetainedLevels(ctx context.Context, prefix string, w inspect.Window) (inspect.Page[inspect.TopicLevel], error)
	DeleteRetained(ctx context.Context, filter string, dryRun bool) (n int, err error)
	ExportRetained(ctx context.Context, filter string, each func(inspect.Message) error) error
	Publish(context.Context, inspect.Message) (inspect.Published, error)
}

// Count is how many were changed, or would be.
type Count struct {
	Count  int  `json:"count"`
	DryRun bool `json:"dry_run,omitempty" doc:"Nothing was changed."`
}

// publishBytesMax is for a payload of about 3 MiB as base64.
const publishBytesMax = 4 << 20

// AddMessages adds what is seen of retained messages and deletes them, and what publishes.
func AddMessages(a *API, b Messages) {
	type retained struct {
		List
		Filter string `query:"filter" maxLength:"65535" default:"#" doc:"Topic Filter."`
	}
	Handle(a, Operation{Method: http.MethodGet, Path: "/retained", Role: Viewer, Group: "retained", Summary: "The retained messages, without payloads."},
		func(ctx context.Context, in *retained) (*inspect.Page[inspect.Retained], error) {
			page, err := b.Retained(ctx, in.Filter, in.Window())
			return &page, err
		})
	type one struct {
		Topic string `query:"topic" required:"true" maxLength:"65535" doc:"Topic Name."`
	}
	Handle(a, Operation{Method: http.MethodGet, Path: "/retained/message", Role: Viewer, Group: "retained", Summary: "One retained message.", Refused: notFound},
		func(_ context.Context, in *one) (*inspect.Message, error) {
			m, err := b.RetainedMessage(in.Topic)
			return &m, err
		})
	type levels struct {
		List
		Prefix string `query:"prefix" maxLength:"65535" doc:"Levels above, with a / at the end; none: the top."`
	}
	Handle(a, Operation{Method: http.MethodGet, Path: "/retained/levels", Role: Viewer, Group: "retained", Summary: "One level of the tree of retained messages."},
		func(ctx context.Context, in *levels) (*inspect.Page[inspect.TopicLevel], error) {
			page, err := b.RetainedLevels(ctx, in.Prefix, in.Window())
			return &page, err
		})
	type deleting struct {
		Filter string `query:"filter" required:"true" maxLength:"65535" doc:"Topic Filter."`
		DryRun bool   `query:"dry_run" doc:"Only count them."`
	}
	Handle(a, Operation{Method: http.MethodDelete, Path: "/retained", Role: Admin, Group: "retained", Summary: "Delete retained messages; they are off the disk when it is answered."},
		func(ctx context.Context, in *deleting) (*Count, error) {
			n, err := b.DeleteRetained(ctx, in.Filter, in.DryRun)
			return &Count{n, in.DryRun}, err
		})
	type exporting struct {
		Filter string `query:"filter" maxLength:"65535" default:"#" doc:"Topic Filter."`
	}
	HandleLines(a, Operation{Method: http.MethodGet, Path: "/retained/export", Role: Viewer, Group: "retained", Summary: "Retained messages with payloads, each a line of JSON."},
		func(ctx context.Context, in *exporting, each func(inspect.Message) error) error {
			return b.ExportRetained(ctx, in.Filter, each)
		})
	type publishing struct{ Body inspect.Message }
	Handle(a, Operation{Method: http.MethodPost, Path: "/publish", Role: Admin, Group: "messages", BodyBytesMax: publishBytesMax, Refused: []int{http.StatusConflict, http.StatusRequestEntityTooLarge},
		Summary: "Publish a message as a client would; it is on disk when it is answered."},
		func(ctx context.Context, in *publishing) (*inspect.Published, error) {
			in.Body.User = "" // an operator is no user of the broker
			out, err := b.Publish(ctx, in.Body)
			return &out, err
		})
}
