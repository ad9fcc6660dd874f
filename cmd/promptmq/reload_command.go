package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
)

type reloadCommand struct{ place }

// addOperation adds what reloads.
func (r *reloader) addOperation(api *admin.API) {
	r.addConfiguration(api)
	admin.Handle(api, admin.Operation{Method: http.MethodPost, Path: "/reload", Role: admin.Admin, Group: "configuration",
		Summary: "Read the configuration again and take it over: all of it that can be, or nothing. While an upgrade is under way it is refused.",
		Refused: []int{http.StatusConflict}},
		func(ctx context.Context, _ *admin.Nothing) (*reloadReport, error) {
			select {
			case <-r.ready:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			report, err := r.reload(ctx)
			if upgrading, is := errors.AsType[errUpgrading](err); is {
				return nil, &admin.Error{Text: "not reloaded: " + upgrading.Error(), Status: http.StatusConflict, Asked: true}
			}
			if err != nil {
				return nil, admin.Refuse("not reloaded, all stays as it was:\n%s", strings.Join(faultLines(err), "\n"))
			}
			return report, nil
		})
}

// addConfiguration adds what shows the configuration of the running broker.
func (r *reloader) addConfiguration(api *admin.API) {
	admin.Handle(api, admin.Operation{Method: http.MethodGet, Path: "/config", Role: admin.Viewer, Group: "configuration",
		Summary:     "The configuration that the broker has, all of it at once.",
		Description: "With the source of each value, and what the broker made of it where that is something else. A value that may have a secret is the reference to it, or has the query of its URL hidden."},
		func(ctx context.Context, _ *admin.Nothing) (*inspect.Page[inspect.Setting], error) {
			select {
			case <-r.ready:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			return r.effective(), nil
		})
}

func (r *reloader) effective() *inspect.Page[inspect.Setting] {
	r.mu.Lock()
	defer r.mu.Unlock()
	return withInUse(r.running.Settings(), r.inUse(r.running))
}

// Run implements the command.
func (c *reloadCommand) Run() error {
	return c.ask(func(ctx context.Context, a *administered) error {
		out, err := admin.Call[reloadReport](ctx, a.Client, http.MethodPost, "/reload", nil)
		if err != nil {
			return err
		}
		fmt.Println("reloaded")
		for _, key := range out.Changed {
			fmt.Println("  changed:", key)
		}
		for _, key := range out.Restart {
			fmt.Println("  needs a restart:", key)
		}
		return nil
	})
}
