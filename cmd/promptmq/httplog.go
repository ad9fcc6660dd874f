package main

import (
	"log"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// httpErrorsEvery is how often at most the HTTP server for metrics may complain of
// its peers.
const httpErrorsEvery = time.Minute

// httpErrors turns what an HTTP server has to say about its peers into records,
// which a peer cannot make many.
type httpErrors struct {
	log *slog.Logger

	mu      sync.Mutex // guards the following
	next    time.Time
	leftOut int
}

func newHTTPErrorLog(l *slog.Logger) *log.Logger { return log.New(&httpErrors{log: l}, "", 0) }

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
	h.log.Warn("HTTP server for metrics", "error", strings.TrimSpace(string(line)), "left_out", leftOut)
	return len(line), nil
}
