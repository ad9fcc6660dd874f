package main

import (
	"context"
	"net/http"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/store"
)

// addOperations adds what is seen of a broker and its store, and changed of it.
func addOperations(api *admin.API, b *broker.Broker, db *store.DB) {
	admin.AddClients(api, b)
	admin.AddSessions(api, b)
	admin.AddTrace(api, b)
	admin.AddMessages(api, b)
	admin.AddNumbers(api, b)
	admin.AddStatus(api, b)
	addQueries(api, db, liveViews(b))
	admin.Handle(api, admin.Operation{Method: http.MethodGet, Path: "/listeners", Role: admin.Viewer, Group: "configuration", Summary: "The listeners for MQTT that are open."},
		func(context.Context, *admin.Nothing) (*inspect.Page[inspect.Listener], error) {
			page := &inspect.Page[inspect.Listener]{Items: []inspect.Listener{}}
			for _, l := range b.Listeners() {
				page.Items = append(page.Items, inspect.Listener{Name: l.String(), Kind: string(l.Config().Kind), Address: l.Addr().String(), TLS: l.Config().TLS != nil})
			}
			return page, nil
		})
	admin.Handle(api, admin.Operation{Method: http.MethodGet, Path: "/store", Role: admin.Viewer, Group: "store", Summary: "The database: how large it is, and what it wrote."},
		func(context.Context, *admin.Nothing) (*inspect.Store, error) {
			s := db.Stats()
			return &inspect.Store{
				DatabaseBytes: s.FileBytes, WALBytes: s.WALBytes, Commits: s.Commits, RowsWritten: s.RowsWritten,
				RemovalsPending: s.RemovalsLeft, FileSystem: db.FileSystem().Name,
			}, nil
		})
}
