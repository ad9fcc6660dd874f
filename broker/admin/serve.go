package admin

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
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
	s := &Server{listener: &listener{Listener: ln, remove: remove, admits: mayAdminister, slots: slots{max: connectionsMax, each: connectionsMax}}, served: make(chan struct{})}
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
		if from := sourceOf(c); l.admits(c) && l.slots.take(from) {
			return &conn{Conn: c, slots: &l.slots, from: from}, nil
		}
		_ = c.Close() // nothing was written
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.once.Do(l.remove)
	return l.Listener.Close()
}

// sourceOf returns where a connection is from: an IPv4 address, or the /64 of an IPv6 one, of
// which somebody has all. A socket's is none.
func sourceOf(c net.Conn) netip.Prefix {
	a, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := a.AddrPort().Addr().Unmap().WithZone("")
	from, _ := ip.Prefix(min(ip.BitLen(), 64)) // there is one
	return from
}

// slots are for connections, of which one source has each at most.
type slots struct {
	max, each int

	mu    sync.Mutex // guards the following
	all   int
	taken map[netip.Prefix]int
}

func (s *slots) take(from netip.Prefix) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == s.max || s.taken[from] == s.each {
		return false
	}
	if s.taken == nil {
		s.taken = make(map[netip.Prefix]int)
	}
	s.all++
	s.taken[from]++
	return true
}

func (s *slots) give(from netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.taken[from]--; s.taken[from] == 0 {
		delete(s.taken, from)
	}
}

// A conn gives its slot back when it is closed.
type conn struct {
	net.Conn
	slots *slots
	from  netip.Prefix
	once  sync.Once
	// known: who asks has shown who it is.
	known atomic.Bool
}

// SetReadDeadline implements net.Conn. Who has not shown who it is waits idleWithin at most
// between requests.
func (c *conn) SetReadDeadline(t time.Time) error {
	if soon := time.Now().Add(idleWithin); !c.known.Load() && t.After(soon) {
		t = soon
	}
	return c.Conn.SetReadDeadline(t)
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.once.Do(func() { c.slots.give(c.from) })
	return c.Conn.Close()
}

type connKey struct{}

// withConn returns a context that has the connection of a request, also below TLS.
func withConn(ctx context.Context, nc net.Conn) context.Context {
	if over, ok := nc.(*tls.Conn); ok {
		nc = over.NetConn()
	}
	return context.WithValue(ctx, connKey{}, nc)
}
