package main

import (
	"log"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/x0a1b/promptmq/broker/trouble"
)

// httpErrorsEvery is how often at most an HTTP server may complain of its peers.
const httpErrorsEvery = time.Minute

// httpErrors turns what an HTTP server has to say about its peers into records,
// which a peer cannot make many.
type httpErrors struct {
	log    *slog.Logger
	server string

	mu      sync.Mutex // guards the following
	next    time.Time
	leftOut int
}

func newHTTPErrorLog(l *slog.Logger, server string) *log.Logger {
	return log.New(&httpErrors{log: l, server: server}, "", 0)
}

func (h *httpErrors) Write(line []byte) (int, error) {
	h.mu.Lock()
	now, leftOut := time.Now(), h.leftOut
	if now.Before(h.next) {
		h.leftOut++
		h.mu.Unlock()
		return len(line), nil
	}
	h.next, h.leftOut = now.Add(httpErrorsEvery), 0
	h.mu.Unlock()
	h.log.Warn("the HTTP server for "+h.server+" complains of a peer", trouble.HTTPPeer, "error", strings.TrimSpace(string(line)), "left_out", leftOut)
	return len(line), nil
}
