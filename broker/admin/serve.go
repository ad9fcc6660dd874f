package admin

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// connectionsMax is the most connections at a time; one more is closed.
	connectionsMax = 32
	// headerBytesMax and requestWithin bound a request, idleWithin the time between two.
	headerBytesMax = 8 << 10
	requestWithin  = 5 * time.Second
	idleWithin     = 10 * time.Second
)

// A Server answers on the socket of one data directory.
type Server struct {
	http     http.Server
	listener *listener
	served   chan struct{}
}

// Serve opens the socket of a data directory, in place of one that is left over, and answers
// on it until Close. The caller has the lock of the directory. What goes wrong with a
// connection is written to errs.
func Serve(dir string, a *API, errs *log.Logger) (*Server, error) {
	ln, remove, err := listen(dir)
	if err != nil {
		return nil, fmt.Errorf("the administration socket in %s: %w", dir, err)
	}
	s := &Server{listener: &listener{Listener: ln, remove: remove, admits: mayAdminister, slots: slots{max: connectionsMax}}, served: make(chan struct{})}
	s.http = http.Server{
		Handler: fromSocket(a), ErrorLog: errs, MaxHeaderBytes: headerBytesMax,
		ReadHeaderTimeout: requestWithin, ReadTimeout: requestWithin, WriteTimeout: commandWithin + 2*requestWithin, IdleTimeout: idleWithin,
	}
	s.http.RegisterOnShutdown(a.stop)
	go func() {
		defer close(s.served)
		_ = s.http.Serve(s.listener) // ends with Close
	}()
	return s, nil
}

// fromSocket answers who may connect to the socket.
func fromSocket(a *API) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.ServeHTTP(w, r.WithContext(as(r.Context(), &Caller{Role: Admin, Name: "socket"})))
	})
}

// Close takes no more commands, removes the socket, and waits for those under way until ctx
// ends.
func (s *Server) Close(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		_ = s.http.Close() // the connections that are left
	}
	<-s.served
	return err
}

// A listener lets in so many connections at a time, of whom may.
type listener struct {
	net.Listener
	remove func() // the socket
	admits func(net.Conn) bool
	once   sync.Once
	slots  slots
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.admits(c) && l.slots.take() {
			return &conn{Conn: c, slots: &l.slots}, nil
		}
		_ = c.Close() // nothing was written
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.once.Do(l.remove)
	return l.Listener.Close()
}

// slots are for connections.
type slots struct {
	max int

	mu    sync.Mutex
	taken int
}

func (s *slots) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken == s.max {
		return false
	}
	s.taken++
	return true
}

func (s *slots) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
}

// A conn gives its slot back when it is closed.
type conn struct {
	net.Conn
	slots *slots
	once  sync.Once
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.once.Do(c.slots.give)
	return c.Conn.Close()
}
