package link

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	globs "path"
	"slices"
	"strings"

	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/broker/trouble"
)

// Subprotocols are the names of MQTT over WebSocket: that of the specification, and that
// of clients of MQTT 3.1. [MQTT-6.0.0-3] [MQTT-6.0.0-4]
var Subprotocols = []string{"mqtt", "mqttv3.1"}

// The words of ListenerConfig.Origins that are no pattern.
const (
	SameOrigin = "same"
	AnyOrigin  = "any"
)

// An upgradeRefusal is the answer to a request that is refused.
type upgradeRefusal struct {
	status int
	reason string // of promptmq_connections_refused_total
	body   string
	origin string
	away   *turningAway // nil: that is not why
}

// checkUpgrade returns how to refuse r for its origin or its sub-protocols; nil: it is not.
// It leaves in r the sub-protocol to be selected: names are compared exactly, and the answer
// is one that the client offered.
func (l *Listener) checkUpgrade(r *http.Request) *upgradeRefusal {
	c := l.config.Load()
	if c.Path != "" && r.URL.Path != c.Path {
		return &upgradeRefusal{http.StatusNotFound, "path",
			fmt.Sprintf("There is nothing at %q: the path of the listener %q is another.", notice.Shown(r.URL.Path), c.Name), "", nil}
	}
	if !slices.ContainsFunc(tokens(r.Header, "Upgrade"), func(t string) bool { return strings.EqualFold(t, "websocket") }) {
		return &upgradeRefusal{http.StatusUpgradeRequired, "no WebSocket request",
			"This port speaks MQTT over WebSocket: connect with an MQTT client, sub-protocol mqtt.", "", nil}
	}
	if origin := r.Header.Get("Origin"); origin != "" && !originAllowed(origin, r.Host, c.Origins) {
		return &upgradeRefusal{http.StatusForbidden, "origin",
			fmt.Sprintf("The Origin %q is not allowed for the host %q: %s of the broker says which are.", notice.Shown(origin), notice.Shown(r.Host), c.OriginsKey), origin, nil}
	}
	offered := tokens(r.Header, "Sec-WebSocket-Protocol")
	for _, p := range c.Subprotocols {
		if slices.Contains(offered, p) {
			r.Header["Sec-Websocket-Protocol"] = []string{p}
			return nil
		}
	}
	return &upgradeRefusal{http.StatusBadRequest, "sub-protocol",
		fmt.Sprintf("The client must offer the WebSocket sub-protocol mqtt; it offers %q.", notice.Shown(strings.Join(offered, ", "))), "", nil}
}

// takeOrigin notes where a request comes from, if a trusted proxy says so, and turns away who
// may not connect from there.
func (l *Listener) takeOrigin(s *socket, r *http.Request) *upgradeRefusal {
	c, from := l.config.Load(), addressOf(s.RemoteAddr())
	if !c.forwards(from) {
		return nil
	}
	origin, err := c.forwardedFor(r, from)
	if err != nil {
		return &upgradeRefusal{status: http.StatusBadRequest, reason: "forwarded address", body: err.Error() + "."}
	}
	if origin != nil {
		s.origin.Store(origin)
	}
	why := l.turnsAway(s.RemoteAddr(), origin == nil)
	switch {
	case why == nil:
		return nil
	case why.cause == bannedAddress:
		return &upgradeRefusal{status: http.StatusForbidden, reason: why.cause, body: "This address is banned for a while: too many logins have failed from it.", away: why}
	}
	return &upgradeRefusal{status: http.StatusTooManyRequests, reason: why.cause, body: "There are more connections a second than the broker allows.", away: why}
}

// refuseUpgrade answers and closes, counts and logs.
func (l *Listener) refuseUpgrade(w http.ResponseWriter, r *http.Request, why *upgradeRefusal) {
	if why.status == http.StatusUpgradeRequired {
		w.Header().Set("Upgrade", "websocket")
	}
	http.Error(w, why.body, why.status)
	l.network.c.Metrics.Refused(why.reason).Inc()
	remote := openingOf(r).RemoteAddr()
	key, attrs := HostOf(remote), []any{trouble.WebSocketRefused, "listener", l.String(), "remote", remote.String(), "status", why.status, "detail", why.body}
	if why.origin != "" {
		key, attrs = notice.Shown(why.origin), append(attrs, "origin", notice.Shown(why.origin), "key", l.config.Load().OriginsKey)
	}
	if why.away != nil {
		key, attrs = why.away.of, why.away.attrs(attrs...)
	}
	l.network.c.Notices.Info("WebSocket request: "+why.reason, key, "WebSocket request refused", attrs...)
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

// matches reports whether name is of a pattern of ListenerConfig.Origins.
func matches(pattern, name string) bool {
	ok, err := globs.Match(pattern, strings.ToLower(name))
	return ok && err == nil
}

// viaProxy reports whether a request was handed on by a proxy, or is for another host than
// this machine: then it does not come from here, whatever its address says.
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

// isLoopbackHost reports whether the Host of a request can only be this machine. A name
// that somebody else can make point here is not.
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

// HostOf is an address without its port.
func HostOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return "" // it is no address of a network
	}
	return host
}

// An upgrade is a ResponseWriter that gives the WebSocket library a webSocket in place of
// the socket.
type upgrade struct {
	http.ResponseWriter
	opening   *opening
	transport *webSocket
}

// Hijack takes the socket from the HTTP server, with what has come behind the request.
func (u *upgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	_, rw, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	establish(u.transport.out)
	early, _ := rw.Reader.Peek(rw.Reader.Buffered())
	u.transport.unread(slices.Concat(early, u.opening.held))
	lib := libraryConn{u.transport}
	return lib, bufio.NewReadWriter(bufio.NewReaderSize(lib, 16), bufio.NewWriterSize(lib, controlFrameMax)), nil
}
