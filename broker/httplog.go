package broker

import (
	"log"
	"strings"

	"github.com/x0a1b/promptmq/broker/notice"
)

// httpErrors is what an HTTP server has to say about its peers, as notices.
type httpErrors struct{ n *notice.Log }

func (h httpErrors) Write(line []byte) (int, error) {
	h.n.Warn("http", "", "HTTP server", "error", strings.TrimSpace(string(line)))
	return len(line), nil
}

// httpErrorLog returns the ErrorLog for an HTTP server of b.
func (b *Broker) httpErrorLog() *log.Logger { return log.New(httpErrors{b.notices}, "", 0) }
