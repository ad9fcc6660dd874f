package conformance

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/x0a1b/promptmq/codec"
)

// A target is where a broker listens.
type target struct {
	url string // tcp://host:port or ws://host:port/path: where the tests connect
	ws  string // of the WebSocket listener; empty: unknown
}

// shared is the broker that all tests use which need none of their own.
var shared *target

func parseTarget(broker, ws string) (*target, error) {
	for _, s := range []string{broker, ws} {
		u, err := url.Parse(s)
		if err != nil || s != "" && (u.Host == "" || !slices.Contains([]string{"tcp", "tls", "ws", "wss"}, u.Scheme)) {
			return nil, fmt.Errorf("%q is not tcp:// or tls://host:port, or ws:// or wss://host:port/path", s)
		}
	}
	t := &target{url: broker, ws: ws}
	if u, _ := url.Parse(broker); strings.HasPrefix(u.Scheme, "ws") {
		t.ws = broker
	}
	return t, nil
}

// open makes a Network Connection.
func open(address string) (net.Conn, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "tcp":
		return openTCP(u.Host)
	case "tls":
		return openTLS(u)
	}
	ws, err := openWebSocket(address)
	if err != nil {
		return nil, err
	}
	return webSocketConn(ws), nil
}

// restartWait is how long a broker that refuses connections may take to come
// back: one that a test has crashed may have somebody who starts it again.
const restartWait = 2 * time.Second

func openTCP(host string) (nc net.Conn, err error) {
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		nc, err = net.DialTimeout("tcp", host, answerTime)
		if err == nil || !errors.Is(err, syscall.ECONNREFUSED) || time.Since(start) > restartWait {
			return nc, err
		}
	}
}

// caFlag has the authorities of the broker's certificate.
var caFlag = flag.String("ca-file", "", "`FILE` with the authorities of the broker's certificate, for tls:// and wss://, instead of those of the system")

func tlsConfig() (*tls.Config, error) {
	if *caFlag == "" {
		return &tls.Config{}, nil
	}
	pem, err := os.ReadFile(*caFlag)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{RootCAs: x509.NewCertPool()}
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: there is no certificate in PEM in it", *caFlag)
	}
	return c, nil
}

func openTLS(u *url.URL) (net.Conn, error) {
	c, err := tlsConfig()
	if err != nil {
		return nil, err
	}
	nc, err := openTCP(u.Host)
	if err != nil {
		return nil, err
	}
	c.ServerName = u.Hostname()
	return tls.Client(nc, c), nil
}

// dialOptions are those of a WebSocket with these Sub Protocols.
func dialOptions(protocols ...string) (*websocket.DialOptions, error) {
	c, err := tlsConfig()
	return &websocket.DialOptions{HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: c}}, Subprotocols: protocols}, err
}

// webSocketConn makes a Network Connection of a WebSocket.
func webSocketConn(ws *websocket.Conn) net.Conn {
	return &wsConn{Conn: websocket.NetConn(context.Background(), ws, websocket.MessageBinary), ws: ws}
}

// A wsConn reports deadlines and closes as TCP does: websocket.NetConn returns
// the error of a cancelled context, and waits for the other side to close too.
type wsConn struct {
	net.Conn
	ws          *websocket.Conn
	read, write time.Time // deadlines
}

func (c *wsConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *wsConn) SetReadDeadline(t time.Time) error {
	c.read = t
	return c.Conn.SetReadDeadline(t)
}

func (c *wsConn) SetWriteDeadline(t time.Time) error {
	c.write = t
	return c.Conn.SetWriteDeadline(t)
}

func (c *wsConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return n, orDeadline(err, c.read)
}

func (c *wsConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, orDeadline(err, c.write)
}

func (c *wsConn) Close() error { return c.ws.CloseNow() }

func orDeadline(err error, deadline time.Time) error {
	if err != nil && tooLate(deadline) {
		return os.ErrDeadlineExceeded
	}
	return err
}

func tooLate(deadline time.Time) bool { return !deadline.IsZero() && !time.Now().Before(deadline) }

func openWebSocket(address string) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	o, err := dialOptions("mqtt")
	if err != nil {
		return nil, err
	}
	ws, _, err := websocket.Dial(ctx, address, o)
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(-1)
	return ws, nil
}

// offered is what the shared broker says it has. What only CONNACK of v5 tells
// holds for 3.1.1 too.
var offered = struct {
	v5, v311                        bool
	qos                             codec.QoS
	retain, wildcard, subIDs, share bool
	aliases                         uint16
	packetBytesMax                  uint32 // 0: no limit
}{qos: 2, retain: true, wildcard: true, subIDs: true, share: true}

// askCapabilities fills in offered.
func askCapabilities(t *testing.T) {
	t.Helper()
	served, said := false, []error(nil)
	for v := range versions() {
		ack, err := greet(v)
		if err != nil { // a broker of another version may simply close
			said = append(said, fmt.Errorf("MQTT %v: %w", v, err))
			continue
		}
		served = served || ack.Reason == 0
		if v == codec.Version311 {
			offered.v311 = ack.Reason == 0
			continue
		}
		if offered.v5 = ack.Reason == 0; !offered.v5 {
			continue
		}
		if ack.HasMaximumQoS {
			offered.qos = ack.MaximumQoS
		}
		offered.retain, offered.wildcard = !ack.RetainUnavailable, !ack.WildcardUnavailable
		offered.subIDs, offered.share = !ack.SubscriptionIDsUnavailable, !ack.SharedUnavailable
		offered.aliases = ack.TopicAliasMaximum
		offered.packetBytesMax = ack.MaximumPacketSize
	}
	if !served {
		t.Fatalf("no client is served at %s: %v", shared.url, errors.Join(said...))
	}
}

// greet connects once, outside of any test.
func greet(v codec.Version) (ack codec.Connack, err error) {
	nc, err := open(shared.url)
	if err != nil {
		return ack, err
	}
	defer nc.Close()
	c := codec.Connect{ClientID: codec.View(unique("c")), CleanStart: true, KeepAliveSeconds: 60, RequestProblemInformation: true, ReceiveMaximum: 65535}
	b, err := codec.AppendConnect(nil, &c, v)
	if err != nil {
		return ack, err
	}
	if err := nc.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return ack, err
	}
	if _, err := nc.Write(b); err != nil {
		return ack, err
	}
	var r codec.Reader
	r.Reset(0)
	for {
		f, err := r.Next()
		if err == nil {
			if f.Type() != codec.TypeConnack {
				return ack, fmt.Errorf("%v instead of CONNACK", f.Type())
			}
			return ack, ack.Decode(f, v)
		}
		if err != codec.ErrIncomplete {
			return ack, err
		}
		n, err := nc.Read(r.Room())
		if err != nil {
			return ack, fmt.Errorf("waiting for CONNACK: %w", err)
		}
		r.Wrote(n)
	}
}

func (t *T) needQoS(q codec.QoS) {
	t.Helper()
	if offered.qos < q {
		t.NotOffered(fmt.Sprintf("QoS %d", q))
	}
}

func (t *T) needRetain() {
	t.Helper()
	if !offered.retain {
		t.NotOffered("retained messages")
	}
}

func (t *T) needWildcard() {
	t.Helper()
	if !offered.wildcard {
		t.NotOffered("wildcard subscriptions")
	}
}

func (t *T) needSubscriptionIDs() {
	t.Helper()
	if !offered.subIDs {
		t.NotOffered("Subscription Identifiers")
	}
}

func (t *T) needShared() {
	t.Helper()
	if !offered.share {
		t.NotOffered("shared subscriptions")
	}
}

// needAliases ends the test if the broker takes fewer Topic Aliases than n.
func (t *T) needAliases(n uint16) {
	t.Helper()
	if offered.aliases < n {
		t.NotOffered(fmt.Sprintf("%d Topic Aliases", n))
	}
}
