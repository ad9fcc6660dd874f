package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/trouble"
)

// administrationEndsWithin is how long a command that is under way may take when the process
// is to end.
const administrationEndsWithin = 2 * time.Second

// serveSocket answers commands on the socket of a data directory, whose lock this process
// has, until the returned function is called. Without a socket the broker goes on: not every
// file system has sockets.
func serveSocket(log *slog.Logger, dir string, api *admin.API) (stop func()) {
	s, err := admin.Serve(dir, api, newHTTPErrorLog(log, "administration"))
	if err != nil {
		log.Warn("no administration socket: commands such as promptmq user, status and reload do not reach this process", trouble.NoSocket, "error", err)
		return func() {}
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), administrationEndsWithin)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			log.Warn("a command was cut off", trouble.RequestCutOff, "error", err)
		}
	}
}
