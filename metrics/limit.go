package metrics

import (
	"container/list"
	"net"
	"net/http"
	"sync"
)

// A limitedListener has at most max connections. For one more it closes the one that has
// been idle for the longest time, so that idle connections do not keep out a scrape or a
// probe.
type limitedListener struct {
	net.Listener
	max    int      // connections at a time
	closed *Counter // connections closed to make room

	mu   sync.Mutex // guards the following, and the fields of all its connections
	open int
	idle list.List // of *limitedConn, the longest idle first
}

// A limitedConn is a connection of a limitedListener.
type limitedConn struct {
	net.Conn
	of    *limitedListener
	place *list.Element // in limitedListener.idle; nil: it is not idle
	gone  bool
}

// Accept returns the next connection that there is room for.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &limitedConn{Conn: nc, of: l}
		out := l.enter(c)
		if out != nil {
			_ = out.Close()
			l.closed.Inc()
		}
		if out != c {
			return c, nil
		}
	}
}

// enter notes a connection, and returns the one that must be closed for it: that
// one itself if all others are being answered; nil: none.
func (l *limitedListener) enter(c *limitedConn) (out *limitedConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open++
	if l.open > l.max {
		first := l.idle.Front()
		if first == nil {
			return c
		}
		out = first.Value.(*limitedConn)
		l.leaveIdleLocked(out)
	}
	c.place = l.idle.PushBack(c)
	return out
}

func (l *limitedListener) leaveIdleLocked(c *limitedConn) {
	if c.place != nil {
		l.idle.Remove(c.place)
		c.place = nil
	}
}

// note is the ConnState of the server.
func (l *limitedListener) note(nc net.Conn, state http.ConnState) {
	c := nc.(*limitedConn)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case c.gone:
	case state == http.StateActive:
		l.leaveIdleLocked(c)
	case state == http.StateIdle && c.place == nil:
		c.place = l.idle.PushBack(c)
	}
}

// Close closes the connection and makes room for another.
func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	if !c.gone {
		c.gone = true
		c.of.open--
		c.of.leaveIdleLocked(c)
	}
	return err
}
