package main

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
)

// A wantedLevel is what the level of the log is to be.
type wantedLevel struct {
	Level string `json:"level" doc:"trace, debug, info, warn, error, fatal or panic; empty: that of the configuration again."`
}

// addLogOperations adds what shows the last lines of the log, and its level, and changes that.
func addLogOperations(api *admin.API, log *slog.Logger, level *logLevel, tail *logTail) {
	admin.Handle(api, admin.Operation{Method: http.MethodGet, Path: "/log/level", Role: admin.Viewer, Group: "log", Summary: "The level of the log."},
		func(context.Context, *admin.Nothing) (*inspect.LogLevel, error) {
			state := level.state()
			return &state, nil
		})
	type setting struct{ Body wantedLevel }
	admin.Handle(api, admin.Operation{Method: http.MethodPut, Path: "/log/level", Role: admin.Admin, Group: "log",
		Summary:     "Change the level of the log.",
		Description: "It holds until the broker ends, or a reload finds another log.level than the one before."},
		func(ctx context.Context, in *setting) (*inspect.LogLevel, error) {
			state, err := level.change(ctx, log, in.Body.Level)
			if err != nil {
				return nil, admin.Refuse("level: %v", err)
			}
			return &state, nil
		})
	type Tailing struct {
		After uint64 `query:"after" doc:"Number of the last line that is known already; 0: the last lines are asked for."`
		Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Most lines of the answer."`
	}
	admin.Handle(api, admin.Operation{Method: http.MethodGet, Path: "/log", Role: admin.Viewer, Group: "log",
		Summary: "The last lines of the log, the oldest first.", Description: "1,000 are kept, with 512 KiB at most."},
		func(_ context.Context, in *Tailing) (*inspect.LogLines, error) {
			lines, missed, _ := tail.LogLines(in.After, in.Limit)
			return &inspect.LogLines{Items: append([]inspect.LogLine{}, lines...), Missed: missed}, nil
		})
	type following struct {
		Tailing
		admin.Lasting
	}
	admin.HandleEvents(api, admin.Operation{Method: http.MethodGet, Path: "/log/stream", Role: admin.Viewer, Group: "log",
		Summary: "The log as server-sent events, from its last lines on."},
		func(ctx context.Context, in *following, events chan<- inspect.LogLine) error {
			tail.follow(ctx, in.After, in.Limit, events)
			return nil
		})
}

// follow sends lines as they come, until ctx ends.
func (t *logTail) follow(ctx context.Context, after uint64, limit int, events chan<- inspect.LogLine) {
	for {
		lines, _, more := t.LogLines(after, limit)
		for _, line := range lines {
			select {
			case events <- line:
				after = line.Seq
			case <-ctx.Done():
				return
			}
		}
		if len(lines) == limit && after > 0 {
			continue // there may be more already
		}
		select {
		case <-more:
		case <-ctx.Done():
			return
		}
	}
}
