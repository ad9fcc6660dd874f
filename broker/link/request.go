package link

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/x0a1b/promptmq/broker/trouble"
)

const (
	// headerBytesMax is the largest header of a request; heldMax is how much of one without an
	// end is held: as much as the HTTP server reads before it refuses it.
	headerBytesMax = 16 << 10
	heldMax        = headerBytesMax + 4<<10
	// heldMin is the size of the first buffer. Most requests fit.
	heldMin = 512
)

// An opening is what a request for a WebSocket is awaited on: a socket, or TLS over it. The
// HTTP server, which takes 16 kB for each, gets it when the header of the request has come; it
// is owned by it from then on.
type opening struct {
	net.Conn
	s        *socket
	secure   Transport // nil: there is no TLS
	answered bool      // a request has come
	held     []byte    // what came and was not taken yet
	header   int       // how much of it is for the HTTP server
	first    []byte    // the beginning of what came
}

// firstMax is how many bytes of the beginning are kept: enough for foreign.
const firstMax = 16

// Read returns the header of the request and then the end: the HTTP server is to wait for
// nothing more, such as a body that never comes.
func (o *opening) Read(b []byte) (int, error) {
	if o.header == 0 {
		return 0, io.EOF
	}
	n := copy(b, o.held[:o.header])
	o.held, o.header = o.held[n:], o.header-n
	return n, nil
}

// hold waits for more. The goroutine of one that waits should have a small stack.
//
//go:noinline
func (o *opening) hold() error {
	n := len(o.held)
	if n == cap(o.held) {
		o.held = append(make([]byte, 0, max(heldMin, min(2*n, heldMax))), o.held...)
	}
	more, err := o.Conn.Read(o.held[n:cap(o.held)])
	o.held = o.held[:n+more]
	if more > 0 {
		return nil // an error comes again
	}
	return err
}

// awaitRequest waits until the header of a request has come, or so much that there is none. If
// the connection does not get there, it is closed and awaitRequest reports false.
func (l *Listener) awaitRequest(o *opening) bool {
	err := o.SetReadDeadline(time.Now().Add(l.network.c.ConnectTimeout))
	for seen := 0; err == nil; {
		o.first = o.held[:min(firstMax, len(o.held))]
		if l.kind.foreign(o.first) != "" {
			break
		}
		if o.header = headerEnd(o.held, seen); o.header > 0 {
			return true
		}
		if seen = len(o.held); seen == heldMax {
			o.header = seen
			return true
		}
		err = o.hold()
	}
	_ = o.Close()
	l.noRequest(o, errors.Is(err, os.ErrDeadlineExceeded))
	return false
}

// headerEnd returns where the header of a request ends, of which so many bytes were looked at
// before; 0: that has not come. Lines end as in package net/textproto.
func headerEnd(b []byte, seen int) int {
	from := max(0, seen-2)
	for {
		i := bytes.IndexByte(b[from:], '\n')
		if i < 0 {
			return 0
		}
		from += i + 1
		switch rest := b[from:]; {
		case bytes.HasPrefix(rest, []byte("\n")):
			return from + 1
		case bytes.HasPrefix(rest, []byte("\r\n")):
			return from + 2
		}
	}
}

// noRequest counts and logs a socket that ended before a request could be read. One that
// sent nothing, as of a load balancer that tries the port, is not logged.
func (l *Listener) noRequest(o *opening, late bool) {
	c := &l.network.c
	switch {
	case o.s.counted.Load(): // it made room for another
		return
	case len(o.first) == 0:
		c.Metrics.Refused("no CONNECT").Inc()
		return
	}
	if what := l.kind.foreign(o.first); what != "" {
		l.RefuseForeign(o.RemoteAddr(), ForeignError(what))
		return
	}
	reason, detail := "no WebSocket request", "what came is no HTTP request"
	if late {
		detail = "no whole request within server.connect-timeout"
	}
	c.Metrics.Refused(reason).Inc()
	c.Notices.Info(reason, detail, "connection closed", trouble.ForeignProtocol, "listener", l.String(), "remote", o.RemoteAddr().String(), "detail", detail)
}
