package link

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// openingKey is the key of a request's context for its opening.
type openingKey struct{}

func openingOf(r *http.Request) *opening { return r.Context().Value(openingKey{}).(*opening) }

// An opening is what a request for a WebSocket is awaited on: a socket, or TLS over it. It is
// owned by the HTTP server.
type opening struct {
	net.Conn
	s        *socket
	secure   Transport // nil: there is no TLS
	answered bool      // a request has come
	first    []byte    // the beginning of what came before
}

// firstMax is how many bytes of the beginning are kept: enough for foreign.
const firstMax = 16

// Read notes how what comes begins.
func (o *opening) Read(b []byte) (int, error) {
	n, err := o.Conn.Read(b)
	if n > 0 && !o.answered && len(o.first) < firstMax {
		o.first = append(o.first, b[:min(n, firstMax-len(o.first))]...)
	}
	return n, err
}

// openings are the sockets of a listener as an HTTP server accepts them.
type openings struct {
	*acceptor
	begun chan *opening // those that had to begin with something else
	ended chan struct{} // closed when no more are accepted
}

// Accept implements net.Listener.
func (o *openings) Accept() (net.Conn, error) {
	if o.l.begins() {
		select {
		case next := <-o.begun:
			return next, nil
		case <-o.ended:
			return nil, net.ErrClosed
		}
	}
	s, err := o.accept()
	if err != nil {
		return nil, err
	}
	return &opening{Conn: s, s: s}, nil
}

// begin has each socket begin on a goroutine of its own.
func (o *openings) begin() {
	defer close(o.ended)
	for {
		s, err := o.accept()
		if err != nil {
			return
		}
		go func() {
			next := o.l.begin(s)
			if next == nil {
				return
			}
			select {
			case o.begun <- next:
			case <-o.ended:
				_ = next.Close()
			}
		}()
	}
}

// serveHTTP has an HTTP server accept sockets and read the requests for WebSockets. A
// socket has Config.ConnectTimeout from accept to CONNECT: the HTTP server sees to it until
// the request has come, the connection after that.
func serveHTTP(l *Listener, a *acceptor) {
	c := &l.network.c
	srv := &http.Server{
		Handler:                      http.HandlerFunc(l.serveRequest),
		DisableGeneralOptionsHandler: true, // OPTIONS * is answered like all else
		ReadHeaderTimeout:            c.ConnectTimeout,
		ReadTimeout:                  c.ConnectTimeout,
		WriteTimeout:                 c.ConnectTimeout,
		MaxHeaderBytes:               16 << 10,
		ErrorLog:                     l.network.httpErrorLog(),
		Protocols:                    new(http.Protocols),
		ConnContext: func(ctx context.Context, nc net.Conn) context.Context {
			return context.WithValue(ctx, openingKey{}, nc)
		},
		ConnState: func(nc net.Conn, state http.ConnState) {
			if o := nc.(*opening); state == http.StateClosed && !o.answered {
				l.noRequest(o)
			}
		},
	}
	srv.Protocols.SetHTTP1(true)
	srv.SetKeepAlivesEnabled(false) // what is no WebSocket is answered and closed
	o := &openings{acceptor: a, begun: make(chan *opening), ended: make(chan struct{})}
	if l.begins() {
		go o.begin()
	}
	go l.pings.run(l)
	_ = srv.Serve(o) // ends when the listener is closed
	_ = srv.Close()  // the connections taken over by WebSocket are not the server's any more
}

// noRequest counts and logs a socket that ended before a request could be read. One that
// sent nothing, as of a load balancer that tries the port, is not logged.
func (l *Listener) noRequest(o *opening) {
	c := &l.network.c
	late := c.Now().UnixNano()-o.s.accepted >= int64(c.ConnectTimeout)
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
	c.Notices.Info(reason, detail, "connection closed", "listener", l.String(), "remote", o.RemoteAddr().String(), "detail", detail)
}

// serveRequest answers a request: with an error before the switch of protocols,
// or with a Network Connection.
func (l *Listener) serveRequest(w http.ResponseWriter, r *http.Request) {
	o := openingOf(r)
	o.answered, o.first = true, nil
	refusal := l.checkUpgrade(r)
	if refusal == nil {
		refusal = l.takeOrigin(o.s, r)
	}
	if refusal != nil {
		l.refuseUpgrade(w, r, refusal)
		return
	}
	u := &upgrade{ResponseWriter: w, transport: newWebSocket(o)}
	ws, err := websocket.Accept(u, r, &websocket.AcceptOptions{
		Subprotocols:       l.config.Load().Subprotocols,
		CompressionMode:    websocket.CompressionDisabled,
		InsecureSkipVerify: true, // checkUpgrade has looked at the Origin
	})
	c := &l.network.c
	if err != nil { // Accept has answered
		c.Metrics.Refused("bad WebSocket request").Inc()
		c.Notices.Info("bad WebSocket request", HostOf(o.RemoteAddr()), "WebSocket request refused", "listener", l.String(), "remote", o.RemoteAddr().String(), "error", err)
		return
	}
	u.transport.start(ws)
	c.Serve(Accepted{Transport: u.transport, At: time.Unix(0, o.s.accepted), Local: l.isLocal(o.s) && !viaProxy(r)})
}
