package broker

import (
	"log"
	"strings"
)

// httpErrors is what an HTTP server has to say about its peers, as notices.
type httpErrors struct{ n *notices }

func (h httpErrors) Write(line []byte) (int, error) {
	h.n.warn("http", "", "HTTP server", "error", strings.TrimSpace(string(line)))
	return len(line), nil
}

// httpErrorLog returns the ErrorLog for an HTTP server of b.
func (b *Broker) httpErrorLog() *log.Logger { return log.New(httpErrors{b.notices}, "", 0) }
