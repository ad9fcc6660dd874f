package link

import (
	"log"
	"strings"

	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/broker/trouble"
)

// httpErrors is what an HTTP server has to say about its peers, as notices.
type httpErrors struct{ to *notice.Log }

func (h httpErrors) Write(line []byte) (int, error) {
	h.to.Warn("http", "", "HTTP server", trouble.HTTPPeer, "error", strings.TrimSpace(string(line)))
	return len(line), nil
}

// httpErrorLog returns the ErrorLog for an HTTP server.
func (n *Network) httpErrorLog() *log.Logger { return log.New(httpErrors{n.c.Notices}, "", 0) }
