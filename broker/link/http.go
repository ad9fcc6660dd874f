package link

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"github.com/x0a1b/promptmq/broker/trouble"
)

// openingKey is the key of a request's context for its opening.
type openingKey struct{}

func openingOf(r *http.Request) *opening { return r.Context().Value(openingKey{}).(*opening) }

// openings are the sockets of a listener as an HTTP server accepts them: when it need not wait
// for their requests.
type openings struct {
	*acceptor
	begun chan *opening
	ended chan struct{} // closed when no more are accepted
}

// Accept implements net.Listener.
func (o *openings) Accept() (net.Conn, error) {
	select {
	case next := <-o.begun:
		return next, nil
	case <-o.ended:
		return nil, net.ErrClosed
	}
}

// begin has each socket begin on a goroutine of its own, until the listener is closed.
func (o *openings) begin() {
	for {
		s, err := o.accept()
		if err != nil {
			break
		}
		go o.open(s)
	}
	close(o.ended)
	o.l.waiting.closeBeginning()
}

// open does what comes before the request.
func (o *openings) open(s *socket) {
	next := o.l.begin(s)
	switch {
	case next == nil:
	case next.secure != nil:
		go o.await(next) // a handshake takes a large stack
	default:
		o.await(next)
	}
}

// await hands on a connection whose request has come.
func (o *openings) await(next *opening) {
	if !o.l.awaitRequest(next) {
		return
	}
	next.s.state.And(^socketBeginning)
	select {
	case o.begun <- next:
	case <-o.ended:
		_ = next.Close()
	}
}

// serveHTTP has an HTTP server answer the requests for WebSockets. A socket has
// Config.ConnectTimeout for its request, which awaitRequest sees to, as it had before for a PROXY
// header; for CONNECT it has that time from accept.
func serveHTTP(l *Listener, a *acceptor) {
	c := &l.network.c
	srv := &http.Server{
		Handler:                      http.HandlerFunc(l.serveRequest),
		DisableGeneralOptionsHandler: true, // OPTIONS * is answered like all else
		ReadHeaderTimeout:            c.ConnectTimeout,
		ReadTimeout:                  c.ConnectTimeout,
		WriteTimeout:                 c.ConnectTimeout,
		MaxHeaderBytes:               headerBytesMax,
		ErrorLog:                     l.network.httpErrorLog(),
		Protocols:                    new(http.Protocols),
		ConnContext: func(ctx context.Context, nc net.Conn) context.Context {
			return context.WithValue(ctx, openingKey{}, nc)
		},
		ConnState: func(nc net.Conn, state http.ConnState) {
			if o := nc.(*opening); state == http.StateClosed && !o.answered {
				l.noRequest(o, false)
			}
		},
	}
	srv.Protocols.SetHTTP1(true)
	srv.SetKeepAlivesEnabled(false) // what is no WebSocket is answered and closed
	o := &openings{acceptor: a, begun: make(chan *opening), ended: make(chan struct{})}
	go o.begin()
	go l.pings.run(l)
	_ = srv.Serve(o) // ends when the listener is closed
	_ = srv.Close()  // the connections taken over by WebSocket are not the server's any more
}

// serveRequest answers a request: with an error before the switch of protocols,
// or with a Network Connection.
func (l *Listener) serveRequest(w http.ResponseWriter, r *http.Request) {
	o := openingOf(r)
	o.answered, o.first = true, nil
	refusal := l.takeOrigin(o.s, r)
	if refusal == nil {
		refusal = l.checkUpgrade(r)
	}
	if refusal != nil {
		l.refuseUpgrade(w, r, refusal)
		return
	}
	u := &upgrade{ResponseWriter: w, opening: o, transport: newWebSocket(o)}
	ws, err := websocket.Accept(u, r, &websocket.AcceptOptions{
		Subprotocols:       l.config.Load().Subprotocols,
		CompressionMode:    websocket.CompressionDisabled,
		InsecureSkipVerify: true, // checkUpgrade has looked at the Origin
	})
	c := &l.network.c
	if err != nil { // Accept has answered
		c.Metrics.Refused("bad WebSocket request").Inc()
		c.Notices.Info("bad WebSocket request", HostOf(o.RemoteAddr()), "WebSocket request refused", trouble.WebSocketRefused, "listener", l.String(), "remote", o.RemoteAddr().String(), "error", err)
		return
	}
	u.transport.start(ws)
	c.Serve(Accepted{Transport: u.transport, At: time.Unix(0, o.s.accepted), Local: l.isLocal(o.s) && !viaProxy(r)})
}
