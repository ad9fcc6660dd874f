package metrics

import (
	"context"
	"encoding/json"
	"log"
	"net"
	"net/http"
	"time"
)

const (
	healthPath = "/health"
	readyPath  = "/ready"
)

// Server answers scrapes and probes over HTTP.
type Server struct {
	http     *http.Server
	listener net.Listener
}

// Serve serves the metrics of b at path, and two probes: /health answers 200 as
// long as the process runs, /ready answers 200 only while ready returns nil, else
// 503 with its error. It has connsMax connections at a time: there is one Prometheus,
// and a prober or two. What the HTTP server complains of goes to errorLog. It does
// not block.
func Serve(listener net.Listener, path string, connsMax int, b *Broker, ready func() error, errorLog *log.Logger) *Server {
	limited := &limitedListener{Listener: listener, max: connsMax, closed: b.ScrapesClosed}
	s := &Server{
		listener: limited,
		http: &http.Server{
			Handler:           handler(path, b, ready),
			ReadHeaderTimeout: 5 * time.Second,
			ReadTimeout:       10 * time.Second,
			WriteTimeout:      30 * time.Second,
			IdleTimeout:       2 * time.Minute,
			MaxHeaderBytes:    16 << 10,
			ErrorLog:          errorLog,
			ConnState:         limited.note,
		},
	}
	// Serve returns when Close shuts the server down; it waits and tries again
	// by itself when the process is out of file descriptors.
	go func() { _ = s.http.Serve(limited) }()
	return s
}

// Addr is the address the socket listens on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Close stops listening and waits for answers under way until ctx ends.
func (s *Server) Close(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	// Shutdown knows of no listener if Serve has not begun.
	_ = s.listener.Close() // an error: it is closed already
	if err != nil {
		return s.http.Close()
	}
	return nil
}

func handler(path string, b *Broker, ready func() error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case path, healthPath, readyPath:
		default:
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		switch r.URL.Path {
		case path:
			w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
			b.WritePrometheus(w)
		case healthPath:
			writeStatus(w, http.StatusOK, status{Status: "ok"})
		case readyPath:
			if err := ready(); err != nil {
				writeStatus(w, http.StatusServiceUnavailable, status{Status: "not ready", Reason: err.Error()})
				return
			}
			writeStatus(w, http.StatusOK, status{Status: "ready"})
		}
	})
}

type status struct {
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
}

func writeStatus(w http.ResponseWriter, code int, s status) {
	body, _ := json.Marshal(s) // two strings: cannot fail
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write(append(body, '\n')) // an error: the prober has gone
}
