package broker

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	globs "path"
	"slices"
	"strings"

	"github.com/coder/websocket"

	"github.com/x0a1b/promptmq/broker/notice"
)

// subprotocols are the names that clients give MQTT over WebSocket, the one that
// the specification has first; the other is that of clients of MQTT 3.1.
// [MQTT-6.0.0-3] [MQTT-6.0.0-4]
var subprotocols = []string{"mqtt", "mqttv3.1"}

// The words of Options.WSOrigins that are no pattern.
const (
	SameOrigin = "same"
	AnyOrigin  = "any"
)

// socketKey is the key of a request's context for its socket.
type socketKey struct{}

// listenWebSocket serves MQTT over WebSocket at any path. Section 6.
//
// A socket has Options.ConnectTimeout from accept to CONNECT: the HTTP server
// counts it until the request is there, and answers what is no WebSocket and
// closes; then the connection does.
func (b *Broker) listenWebSocket(ln *acceptor) {
	srv := &http.Server{
		Handler:                      http.HandlerFunc(b.serveWebSocket),
		DisableGeneralOptionsHandler: true, // OPTIONS * is answered like all else
		ReadHeaderTimeout:            b.o.ConnectTimeout,
		ReadTimeout:                  b.o.ConnectTimeout,
		WriteTimeout:                 b.o.ConnectTimeout,
		MaxHeaderBytes:               16 << 10,
		ErrorLog:                     b.httpErrorLog(),
		Protocols:                    new(http.Protocols),
		ConnContext:                  func(ctx context.Context, nc net.Conn) context.Context { return context.WithValue(ctx, socketKey{}, nc) },
		ConnState: func(nc net.Conn, state http.ConnState) {
			if s := nc.(*socket); state == http.StateClosed && !s.answered {
				b.noRequest(s)
			}
		},
	}
	srv.Protocols.SetHTTP1(true)
	srv.SetKeepAlivesEnabled(false) // what is no WebSocket is answered and closed
	b.addListener(&listener{kind: webSocketListener, addr: ln.Addr(), close: func() {
		_ = ln.Close()
		_ = srv.Close() // the connections taken over by WebSocket are not the server's any more
	}})
	go func() { _ = srv.Serve(ln) }() // ends when ln is closed
}

// noRequest counts a socket that ended without a request that could be read. Who
// sent nothing, such as a load balancer that tries the port, is counted only.
func (b *Broker) noRequest(s *socket) {
	late := !b.clock.Now().Before(s.accepted.time().Add(b.o.ConnectTimeout))
	switch {
	case s.counted.Load(): // it made room for another
		return
	case len(s.first) == 0:
		b.m.Refused("no CONNECT").Inc()
		return
	}
	if what := foreign(s.first, webSocketListener); what != "" {
		b.refuseForeign(webSocketListener, s.RemoteAddr(), what)
		return
	}
	reason, detail := "no WebSocket request", "what came is no HTTP request"
	if late {
		detail = "no whole request within server.connect-timeout"
	}
	b.m.Refused(reason).Inc()
	b.notices.Info(reason, detail, "connection closed", "listener", webSocketListener.String(), "remote", s.RemoteAddr().String(), "detail", detail)
}

// serveWebSocket answers a request: with an error before the switch of protocols,
// or with a Network Connection.
func (b *Broker) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	s := r.Context().Value(socketKey{}).(*socket)
	s.answered, s.first = true, nil
	if refusal := b.checkUpgrade(r); refusal != nil {
		b.refuseUpgrade(w, r, refusal)
		return
	}
	u := &upgrade{ResponseWriter: w, transport: newWebSocketTransport(s)}
	ws, err := websocket.Accept(u, r, &websocket.AcceptOptions{
		Subprotocols:       subprotocols,
		CompressionMode:    websocket.CompressionDisabled,
		InsecureSkipVerify: true, // checkUpgrade has looked at the Origin
	})
	if err != nil { // Accept has answered
		b.m.Refused("bad WebSocket request").Inc()
		b.notices.Info("bad WebSocket request", hostOf(s.RemoteAddr()), "WebSocket request refused", "remote", s.RemoteAddr().String(), "error", err)
		return
	}
	u.transport.start(ws)
	c := b.newConn(u.transport, webSocketListener)
	c.lastPacket, c.partial = s.accepted, s.accepted
	c.local = c.local && !viaProxy(r)
	c.handOver = true
	go b.begin(c) // not on the stack of the HTTP server
}

// An upgradeRefusal is an answer to a request in place of 101.
type upgradeRefusal struct {
	status int
	reason string // of promptmq_connections_refused_total
	body   string
	origin string
}

// checkUpgrade returns how to refuse r, nil if it may become a WebSocket as far
// as its origin and its sub-protocols go. It leaves in r the one to be selected:
// names are compared exactly, and the answer is one that the client offered.
func (b *Broker) checkUpgrade(r *http.Request) *upgradeRefusal {
	if !slices.ContainsFunc(tokens(r.Header, "Upgrade"), func(t string) bool { return strings.EqualFold(t, "websocket") }) {
		return &upgradeRefusal{http.StatusUpgradeRequired, "no WebSocket request",
			"This port speaks MQTT over WebSocket: connect with an MQTT client, sub-protocol mqtt.", ""}
	}
	if origin := r.Header.Get("Origin"); origin != "" && !originAllowed(origin, r.Host, b.o.WSOrigins) {
		return &upgradeRefusal{http.StatusForbidden, "origin",
			fmt.Sprintf("The Origin %q is not allowed for the host %q: server.ws-origins of the broker says which are.", notice.Shown(origin), notice.Shown(r.Host)), origin}
	}
	offered := tokens(r.Header, "Sec-WebSocket-Protocol")
	for _, p := range subprotocols {
		if slices.Contains(offered, p) {
			r.Header["Sec-Websocket-Protocol"] = []string{p}
			return nil
		}
	}
	return &upgradeRefusal{http.StatusBadRequest, "sub-protocol",
		fmt.Sprintf("The client must offer the WebSocket sub-protocol mqtt; it offers %q.", notice.Shown(strings.Join(offered, ", "))), ""}
}

// refuseUpgrade answers and closes, counts and logs.
func (b *Broker) refuseUpgrade(w http.ResponseWriter, r *http.Request, why *upgradeRefusal) {
	if why.status == http.StatusUpgradeRequired {
		w.Header().Set("Upgrade", "websocket")
	}
	http.Error(w, why.body, why.status)
	b.m.Refused(why.reason).Inc()
	key, attrs := hostOf(remoteOf(r)), []any{"remote", r.RemoteAddr, "status", why.status, "detail", why.body}
	if why.origin != "" {
		key, attrs = notice.Shown(why.origin), append(attrs, "origin", notice.Shown(why.origin), "key", "server.ws-origins")
	}
	b.notices.Info("WebSocket request: "+why.reason, key, "WebSocket request refused", attrs...)
}

// originAllowed reports whether a page of origin may connect to host.
func originAllowed(origin, host, allowed string) bool {
	u, err := url.Parse(origin)
	for entry := range strings.SplitSeq(allowed, ",") {
		switch entry = strings.ToLower(strings.TrimSpace(entry)); {
		case entry == AnyOrigin, strings.EqualFold(entry, origin):
			return true
		case err != nil || u.Host == "": // "null": a file, or a page that is to have no origin
		case entry == SameOrigin:
			if strings.EqualFold(u.Host, host) {
				return true
			}
		case strings.Contains(entry, "://"):
			if matches(entry, u.Scheme+"://"+u.Host) {
				return true
			}
		case matches(entry, u.Host) || matches(entry, u.Hostname()):
			return true
		}
	}
	return false
}

// matches reports whether name is of a pattern of Options.WSOrigins.
func matches(pattern, name string) bool {
	ok, err := globs.Match(pattern, strings.ToLower(name))
	return ok && err == nil
}

// viaProxy reports whether a request was handed on by a proxy, or is meant for
// another host than this machine: then it does not come from here, whatever
// address it comes from.
func viaProxy(r *http.Request) bool {
	for name := range r.Header {
		switch name {
		case "Forwarded", "Via", "X-Real-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "X-Original-Forwarded-For":
			return true
		}
		if strings.HasPrefix(name, "X-Forwarded") {
			return true
		}
	}
	return !isLoopbackHost(r.Host)
}

// isLoopbackHost reports whether the Host of a request names this machine by
// itself. A name that somebody else can make point here does not.
func isLoopbackHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// tokens returns what stands between the commas of a header, in order.
func tokens(h http.Header, name string) []string {
	var list []string
	for _, line := range h.Values(name) {
		for token := range strings.SplitSeq(line, ",") {
			if token = strings.TrimSpace(token); token != "" {
				list = append(list, token)
			}
		}
	}
	return list
}

func remoteOf(r *http.Request) net.Addr {
	return r.Context().Value(socketKey{}).(*socket).RemoteAddr()
}

// hostOf is an address without its port.
func hostOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return "" // it is no address of a network
	}
	return host
}

// An upgrade is a ResponseWriter that gives the WebSocket library a transport in
// place of the socket.
type upgrade struct {
	http.ResponseWriter
	transport *webSocketTransport
}

// Hijack takes the socket from the HTTP server, with what it has read too much.
func (u *upgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	_, rw, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	early, _ := rw.Reader.Peek(rw.Reader.Buffered())
	u.transport.unread(early)
	lib := libraryConn{u.transport}
	return lib, bufio.NewReadWriter(bufio.NewReaderSize(lib, 16), bufio.NewWriterSize(lib, controlFrameMax)), nil
}
