package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/x0a1b/promptmq/broker/admin"
)

type reloadCommand struct{ place }

// addOperation adds what reloads.
func (r *reloader) addOperation(api *admin.API) {
	admin.Handle(api, admin.Operation{Method: http.MethodPost, Path: "/reload", Role: admin.Admin, Group: "configuration",
		Summary: "Read the configuration again and take it over: all of it that can be, or nothing."},
		func(ctx context.Context, _ *admin.Nothing) (*reloadReport, error) {
			select {
			case <-r.ready:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			report, err := r.reload(ctx)
			if err != nil {
				return nil, admin.Refuse("not reloaded, all stays as it was:\n%s", strings.Join(faultLines(err), "\n"))
			}
			return report, nil
		})
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
