package broker

import (
	"context"
	"time"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/codec"
)

// An enhanced is what a connection knows of its enhanced authentication: that before CONNACK,
// and those that the Client asks for later. Section 4.12. The reader owns it.
type enhanced struct {
	method   string
	id       string // the Client Identifier
	user     string // who the Client is, after CONNACK
	exchange access.Exchange
	steps    int    // of exchange, which is nil if none is under way
	asked    uint64 // the last revocation before it began
	// connect is the CONNECT that the first exchange is about, until it has ended.
	connect codec.Frame
	// spare is how many re-authentications may begin at once; it grows by one a second
	// since counted.
	spare   int
	counted moment
}

const (
	// authStepsMax is the most packets of the Client in one exchange.
	authStepsMax = 8
	// authDataMax is the most Authentication Data, in bytes, that an Exchange is given.
	authDataMax = 16 << 10
	// reauthenticationsMax is how many re-authentications may come at once, before there is
	// only one a second.
	reauthenticationsMax = 10
)

// beginAuthentication begins the exchange that a CONNECT with an Authentication Method asks
// for. Until it has ended nothing is known, or done, of the Client.
func (c *conn) beginAuthentication(f codec.Frame, p *codec.Connect, id string) error {
	x := &enhanced{method: p.AuthenticationMethod.String(), id: id, spare: reauthenticationsMax, counted: momentOf(c.now)}
	if c.beginExchange(x, c.attempt(p, id)); x.exchange == nil { // [MQTT-4.12.0-1]
		return refuse(codec.BadAuthenticationMethod, "the Authentication Method is not supported")
	}
	x.connect = codec.Frame{First: f.First, Body: f.Body.Clone()}
	defer clear(p.Password)  // the read buffer goes to other connections
	c.b.enhanced.Store(c, x) // and not in conn, of which most need none
	c.mark(authenticates)
	return c.authenticateFirst(x, p.AuthenticationData)
}

// enhanced is what is known of the authentication of c; nil: CONNECT had no Authentication
// Method.
func (c *conn) enhanced() *enhanced {
	if !c.marked(authenticates) {
		return nil
	}
	x, _ := c.b.enhanced.Load(c)
	return x.(*enhanced)
}

// beginExchange leaves x without an exchange if there is no such method.
func (c *conn) beginExchange(x *enhanced, a *access.Attempt) {
	x.asked = c.b.revocations.now()
	if authenticator := *c.b.authenticator.Load(); authenticator != nil {
		x.exchange = authenticator.Exchange(x.method, a)
	}
}

// handleBeforeConnack takes what follows a CONNECT with an Authentication Method.
func (c *conn) handleBeforeConnack(f codec.Frame) (err error) {
	x := c.enhanced()
	defer func() { nameRefused(err, codec.View(x.id)) }()
	switch f.Type() {
	case codec.TypeDisconnect:
		if err := c.packets.disconnect.Decode(f, c.version); err != nil {
			return err
		}
		return errDisconnect
	case codec.TypeAuth:
		p, err := c.decodeAuth(x, f)
		if err == nil && p.Reason != codec.ContinueAuthentication { // [MQTT-4.12.0-3]
			err = refuse(codec.ProtocolError, "an AUTH before CONNACK that does not continue the authentication")
		}
		if err != nil {
			return err
		}
		return c.authenticateFirst(x, p.AuthenticationData)
	}
	return refuse(codec.ProtocolError, f.Type().String()+" before CONNACK") // [MQTT-3.1.2-30]
}

// authenticateFirst takes a step of the exchange before CONNACK. When that is over, the
// CONNECT is handled as any other.
func (c *conn) authenticateFirst(x *enhanced, data codec.View) error {
	reply, who, err := c.nextStep(x, data)
	if err != nil { // [MQTT-4.12.0-4]
		return err
	}
	if who == nil {
		if err := c.queueAuth(x, codec.ContinueAuthentication, reply); err != nil { // [MQTT-4.12.0-2]
			return err
		}
		c.unfinishedSince = momentOf(c.now) // the next one has the connect timeout too
		return nil
	}
	var p codec.Connect
	if err := p.Decode(x.connect); err != nil {
		return err
	}
	x.connect, x.user = codec.Frame{}, who.User
	ack := codec.Connack{HasAuthenticationMethod: true, AuthenticationMethod: codec.View(x.method)} // [MQTT-4.12.0-5]
	ack.AuthenticationData, ack.HasAuthenticationData = reply, len(reply) > 0
	if len(p.ClientID) == 0 { // [MQTT-3.1.3-6] [MQTT-3.2.2-16]
		ack.AssignedClientID, ack.HasAssignedClientID = codec.View(x.id), true
	}
	return c.accept(&p, x.id, who, &ack)
}

// handleAuth takes an AUTH after CONNACK: a re-authentication. Section 4.12.1.
func (c *conn) handleAuth(f codec.Frame) error {
	x := c.enhanced()
	if x == nil {
		return refuse(codec.ProtocolError, "AUTH without an Authentication Method in CONNECT") // [MQTT-4.12.0-7]
	}
	p, err := c.decodeAuth(x, f)
	if err != nil {
		return err
	}
	switch {
	case p.Reason == codec.ReAuthenticate && x.exchange == nil:
		if !x.mayBegin(c.now) {
			return refuse(codec.MessageRateTooHigh, "too many re-authentications")
		}
		if c.beginExchange(x, c.attempt(&codec.Connect{}, x.id)); x.exchange == nil {
			return refuse(codec.NotAuthorized, "the Authentication Method is no longer supported")
		}
	case p.Reason == codec.ContinueAuthentication && x.exchange != nil:
	default:
		return refuse(codec.ProtocolError, "an AUTH that neither begins a re-authentication nor continues one")
	}
	reply, who, err := c.nextStep(x, p.AuthenticationData)
	switch {
	case err != nil && control.Broken(control.ReauthenticationNotNeeded):
		return nil
	case err != nil: // [MQTT-4.12.1-2]
		return duringConnection(err)
	case who == nil:
		return c.queueAuth(x, codec.ContinueAuthentication, reply) // [MQTT-4.12.0-2]
	case who.User != x.user:
		return refuse(codec.NotAuthorized, "a re-authentication as another user")
	}
	if err := c.become(who); err != nil {
		return err
	}
	return c.queueAuth(x, codec.Success, reply)
}

// become makes who the principal of the connection from now on.
func (c *conn) become(who *principal) error {
	cl := c.client
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.conn != c {
		return errTakenOver
	}
	if err := c.b.revocations.check(who); err != nil {
		return err
	}
	cl.leaveWhoLocked()
	cl.enterWhoLocked(who)
	c.route.cache = nil // it remembers what somebody else might publish
	return nil
}

// decodeAuth decodes an AUTH, which must have the Authentication Method of CONNECT. What it
// returns is valid until the next packet.
func (c *conn) decodeAuth(x *enhanced, f codec.Frame) (p codec.Auth, err error) {
	if err := p.Decode(f, c.version); err != nil {
		return p, err
	}
	if string(p.AuthenticationMethod) != x.method { // [MQTT-4.12.0-5] [MQTT-4.12.1-1]
		return p, refuse(codec.ProtocolError, "AUTH with another Authentication Method than CONNECT")
	}
	return p, nil
}

// nextStep hands data to the exchange, which may block until the connect timeout. No lock is
// held, and what is written to the Client goes on; what it sends waits. After the last step
// there is no exchange.
func (c *conn) nextStep(x *enhanced, data codec.View) (reply []byte, who *principal, err error) {
	defer func() {
		if err != nil || who != nil {
			x.exchange, x.steps = nil, 0
		}
	}()
	if x.steps++; x.steps > authStepsMax {
		return nil, nil, refuse(codec.NotAuthorized, "an authentication that takes too many steps", "limit", authStepsMax)
	}
	if len(data) > authDataMax {
		return nil, nil, refuse(codec.NotAuthorized, "too much Authentication Data", "size", len(data), "limit", authDataMax)
	}
	ctx, cancel := context.WithTimeout(c.b.serving, c.b.o.ConnectTimeout)
	defer cancel()
	reply, id, err := x.exchange.Next(ctx, data)
	c.waited()
	switch {
	case c.b.stopping.Load():
		return nil, nil, refuse(codec.ServerUnavailable, "the Server is shutting down")
	case err != nil:
		return nil, nil, refuseIdentity(err)
	case id == nil:
		return reply, nil, nil
	case ended(id, c.now):
		return nil, nil, refuse(codec.NotAuthorized, "what says who the Client is has ended")
	}
	if id.Rules != nil {
		c.b.mindRules()
	}
	return reply, &principal{Identity: id, conn: c, asked: x.asked}, nil
}

// queueAuth sends an AUTH. [MQTT-4.12.0-5] [MQTT-4.12.0-6]
func (c *conn) queueAuth(x *enhanced, reason codec.ReasonCode, data []byte) error {
	p := codec.Auth{
		Reason: reason, HasAuthenticationMethod: true, AuthenticationMethod: codec.View(x.method),
		HasAuthenticationData: len(data) > 0, AuthenticationData: data,
	}
	if control.Broken(control.AuthenticationMethodLost) {
		p.AuthenticationMethod = codec.View("another")
	}
	b, err := codec.AppendAuth(nil, &p, c.version)
	if err != nil {
		return refuse(codec.ImplementationSpecificError, "the Authentication Data cannot be sent")
	}
	if !c.params.fits(len(b)) { // [MQTT-3.1.2-24]
		return refuse(codec.PacketTooLarge, "AUTH exceeds the Maximum Packet Size of the Client", "limit", c.params.packetBytesMax)
	}
	c.out.Queue(&c.pending.Pending, func(dst []byte) []byte { return append(dst, b...) })
	return nil
}

// mayBegin counts a re-authentication, and reports whether there were not too many.
func (x *enhanced) mayBegin(now time.Time) bool {
	if passed := (momentOf(now) - x.counted) / moment(time.Second); passed > 0 {
		x.counted += passed * moment(time.Second)
		x.spare = int(min(moment(x.spare)+passed, reauthenticationsMax))
	}
	if x.spare == 0 {
		return false
	}
	x.spare--
	return true
}

// duringConnection is err with a Reason Code that DISCONNECT may have, where that of CONNACK
// is none.
func duringConnection(err error) error {
	if r, ok := err.(*refusal); ok && !r.reason.ValidIn(codec.TypeDisconnect) {
		r.reason = codec.NotAuthorized
	}
	return err
}
