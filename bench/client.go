package bench

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"github.com/x0a1b/promptmq/codec"
)

// A client is one Network Connection to the broker. It keeps no state of the
// protocol: identifiers are counted and acknowledgements echoed.
type client struct {
	nc net.Conn
	v  codec.Version
	r  codec.Reader

	// From CONNACK.
	receiveMaximum int
	sessionPresent bool
}

// connecting are the settings of a connection that differ within a run.
type connecting struct {
	id      string
	lasting bool // the Session outlives the connection
	resume  bool // no Clean Start
	source  int  // which local address; negative: any
	buffer  int  // bytes; 0: small until something comes
}

// expirySeconds is the Session Expiry Interval of lasting Sessions: longer
// than a run, and short enough that what a killed run leaves goes away.
const expirySeconds = 3600

// connect opens a connection and waits for its CONNACK.
func (r *Runner) connect(ctx context.Context, o connecting) (*client, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	nc, err := r.dial(ctx, o.source)
	if err != nil {
		return nil, err
	}
	c := &client{nc: nc, v: r.version()}
	c.r.Reset(0)
	if o.buffer > 0 {
		c.r.Lend(make([]byte, o.buffer))
	}
	// The end of ctx ends the handshake; afterwards the connection stands alone.
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	err = c.handshake(r, o)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = nc.Close()
		if ctx.Err() != nil {
			err = fmt.Errorf("no answer to CONNECT: %w", context.Cause(ctx))
		}
		return nil, err
	}
	return c, nil
}

func (r *Runner) dial(ctx context.Context, source int) (net.Conn, error) {
	u, err := r.address()
	if err != nil {
		return nil, err
	}
	var d net.Dialer // TCP_NODELAY is what Go sets
	if local := r.source(source); local != nil {
		d.LocalAddr = local
	}
	config, err := r.tlsConfig()
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "unix":
		return d.DialContext(ctx, "unix", u.Path)
	case "tcp":
		return d.DialContext(ctx, "tcp", u.Host)
	case "tls":
		return (&tls.Dialer{NetDialer: &d, Config: config}).DialContext(ctx, "tcp", u.Host)
	}
	ws, _, err := websocket.Dial(ctx, r.URL, &websocket.DialOptions{
		HTTPClient:   &http.Client{Transport: &http.Transport{DialContext: d.DialContext, TLSClientConfig: config}},
		Subprotocols: []string{"mqtt"},
	})
	if err != nil {
		return nil, err
	}
	return webSocket{websocket.NetConn(context.Background(), ws, websocket.MessageBinary), ws}, nil
}

// A webSocket is closed at once: MQTT has had its DISCONNECT, and a broker that
// leaves the closing handshake unanswered must not hold up the run.
type webSocket struct {
	net.Conn
	ws *websocket.Conn
}

func (w webSocket) Close() error { return w.ws.CloseNow() }

func (c *client) handshake(r *Runner, o connecting) error {
	packet, err := codec.AppendConnect(nil, &codec.Connect{
		Version: c.v, ClientID: codec.View(o.id), CleanStart: !o.resume && (c.v == codec.Version5 || !o.lasting),
		HasSessionExpiry: o.lasting, SessionExpirySeconds: expirySeconds, ReceiveMaximum: 65535, RequestProblemInformation: true,
		HasUserName: r.UserName != "", UserName: codec.View(r.UserName), HasPassword: r.Password != "", Password: codec.View(r.Password),
	}, c.v)
	if err != nil {
		return err
	}
	if _, err := c.nc.Write(packet); err != nil {
		return err
	}
	f, err := c.await(codec.TypeConnack)
	if err != nil {
		return err
	}
	var ack codec.Connack
	if err := ack.Decode(f, c.v); err != nil {
		return fmt.Errorf("CONNACK: %w", err)
	}
	if ack.Reason >= 0x80 && r.UserName == "" {
		return fmt.Errorf("the broker refused a connection: %v; say with -u and --password-file who connects", ack.Reason)
	}
	if ack.Reason >= 0x80 {
		return fmt.Errorf("the broker refused a connection: %v", ack.Reason)
	}
	c.receiveMaximum, c.sessionPresent = 65535, ack.SessionPresent
	if ack.ReceiveMaximum > 0 {
		c.receiveMaximum = int(ack.ReceiveMaximum)
	}
	return nil
}

// next returns the next packet and reads as often as it takes.
func (c *client) next() (codec.Frame, error) {
	for {
		f, err := c.r.Next()
		if err != codec.ErrIncomplete {
			return f, err
		}
		if err := c.fill(); err != nil {
			return f, err
		}
	}
}

// fill reads once.
func (c *client) fill() error {
	n, err := c.nc.Read(c.r.Room())
	c.r.Wrote(n)
	if n > 0 {
		return nil
	}
	if err == io.EOF {
		return fmt.Errorf("the broker closed a connection")
	}
	return err
}

// await returns the next packet, which must be of type t.
func (c *client) await(t codec.PacketType) (codec.Frame, error) {
	f, err := c.next()
	if err == nil && f.Type() != t {
		err = c.unexpected(f)
	}
	return f, err
}

// unexpected says what a packet that does not belong here means.
func (c *client) unexpected(f codec.Frame) error {
	if f.Type() == codec.TypeDisconnect {
		var d codec.Disconnect
		if d.Decode(f, c.v) == nil {
			return fmt.Errorf("the broker ended a connection: %v", d.Reason)
		}
	}
	return fmt.Errorf("the broker sent %v where that does not belong", f.Type())
}

// subscribe asks for filters in one packet and waits for the SUBACK. Messages
// that come before it are counted.
func (c *client) subscribe(timeout time.Duration, qos codec.QoS, filters ...string) (early int, err error) {
	subs := make([]codec.Subscription, len(filters))
	for i, filter := range filters {
		subs[i] = codec.Subscription{Filter: codec.View(filter), QoS: qos}
	}
	packet, err := codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, subs, c.v)
	if err != nil {
		return 0, err
	}
	if err := c.nc.SetDeadline(time.Now().Add(timeout)); err != nil {
		return 0, err
	}
	if _, err := c.nc.Write(packet); err != nil {
		return 0, err
	}
	f, err := c.next()
	for ; err == nil && f.Type() == codec.TypePublish; f, err = c.next() {
		early++
	}
	if err == nil {
		err = c.granted(f, qos)
	}
	if err != nil {
		return early, fmt.Errorf("SUBSCRIBE: %w", err)
	}
	return early, c.nc.SetDeadline(time.Time{})
}

// granted checks a SUBACK.
func (c *client) granted(f codec.Frame, qos codec.QoS) error {
	if f.Type() != codec.TypeSuback {
		return c.unexpected(f)
	}
	var ack codec.Suback
	if err := ack.Decode(f, c.v); err != nil {
		return err
	}
	for _, reason := range ack.Reasons {
		if reason >= 0x80 {
			return fmt.Errorf("the broker refused a Topic Filter: %v", codec.ReasonCode(reason))
		}
		if codec.QoS(reason) < qos {
			return fmt.Errorf("the broker granted QoS %d, not %d", reason, qos)
		}
	}
	return nil
}

// leave disconnects in good order.
func (c *client) leave() {
	packet, err := codec.AppendDisconnect(nil, &codec.Disconnect{}, c.v)
	if err == nil {
		_, _ = c.nc.Write(packet) // the run is over: nothing depends on it
	}
	_ = c.nc.Close()
}
