package broker

import (
	"crypto/rand"

	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/broker/memory"
	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// handleConnect takes the first packet of a connection. Section 3.1.4.
func (c *conn) handleConnect(f codec.Frame) (err error) {
	var p codec.Connect
	defer func() { nameRefused(err, p.ClientID) }()
	c.b.network.Connected(c.net())
	c.b.connects.Add(1)
	err = p.Decode(f)
	c.version = p.Version
	c.reader.SetVersion(p.Version)
	if err != nil { // [MQTT-3.1.4-1]
		c.params.packetBytesMax = control.Unless(control.LimitOfBadConnectIgnored, p.MaximumPacketSize)
		if p.LimitUnknown && !control.Broken(control.LimitOfBadConnectIgnored) {
			c.params.packetBytesMax = connackBytesMin
		}
		return err
	}
	c.params = connectParams{
		receiveMaximum: p.ReceiveMaximum,
		packetBytesMax: p.MaximumPacketSize,
	}
	if c.version != codec.Version5 {
		c.params.receiveMaximum = 65535
	}
	if c.b.overload.is(memory.Refusing) {
		return refuse(codec.QuotaExceeded, "the Server is short of memory", "key", "limits.memory")
	}
	if err := c.checkProperties(&p); err != nil {
		return err
	}
	if err := c.checkConnect(&p); err != nil { // [MQTT-3.1.4-2]
		return err
	}
	ack := codec.Connack{}
	id := string(p.ClientID)
	if id == "" { // [MQTT-3.1.3-6] [MQTT-3.2.2-16]
		id = c.b.newClientID()
		ack.AssignedClientID, ack.HasAssignedClientID = codec.View(id), c.version == codec.Version5
	}
	if p.HasAuthenticationMethod {
		return c.beginAuthentication(f, &p, id)
	}
	who, err := c.authenticate(&p, id)
	if err != nil {
		return err
	}
	return c.accept(&p, id, who, &ack)
}

// accept takes the CONNECT of a Client of which it is known who it is, and answers.
func (c *conn) accept(p *codec.Connect, id string, who *principal, ack *codec.Connack) error {
	if err := c.checkWill(p, id, who); err != nil {
		return err
	}
	keepAlive := p.KeepAliveSeconds
	if limit := c.b.options().KeepAliveSeconds; c.version == codec.Version5 && limit > 0 && (keepAlive == 0 || keepAlive > limit) {
		keepAlive = limit // [MQTT-3.1.2-21] [MQTT-3.2.2-22]
		ack.ServerKeepAliveSeconds, ack.HasServerKeepAlive = limit, true
		c.params.keepAliveImposed = true
	}
	c.params.keepAliveSeconds, c.armed = keepAlive, mustArm
	c.params.sessionExpirySeconds = sessionExpiry(p)
	if limit := c.b.options().MaxSessionExpirySeconds; c.params.sessionExpirySeconds > limit {
		c.params.sessionExpirySeconds = limit
		ack.SessionExpirySeconds, ack.HasSessionExpiry = limit, c.version == codec.Version5 // section 3.2.2.3.2
	}
	c.params.endsWithConnection = p.Version == codec.Version5 && p.SessionExpirySeconds == 0
	c.params.breakRules()
	aliasMaximum := min(p.TopicAliasMaximum, c.b.o.TopicAliasMaximum)
	if control.Broken(control.AliasInvented) {
		aliasMaximum = 100
	}
	c.limitRates()
	c.out.SetClient(c.version, aliasMaximum, c.params.packetBytesMax, c.now)
	c.fillConnack(ack)
	if !c.fits(ack) { // before anything is done: the Client could not be told
		return refuse(codec.PacketTooLarge, "CONNACK exceeds the Maximum Packet Size of the Client", "limit", p.MaximumPacketSize)
	}
	return c.attach(p, id, who, ack)
}

// checkConnect refuses what this Server does not do or does not allow.
func (c *conn) checkConnect(p *codec.Connect) error {
	switch {
	case len(p.ClientID) == 0 && p.Version == codec.Version31:
		return refuse(codec.ClientIdentifierNotValid, "MQTT 3.1 needs a Client Identifier")
	case len(p.ClientID) == 0 && p.Version == codec.Version311 && !p.CleanStart: // [MQTT-3.1.3-8]
		return refuse(codec.ClientIdentifierNotValid, "an empty Client Identifier needs a clean session")
	case c.b.stopping.Load():
		return refuse(codec.ServerUnavailable, "the Server is shutting down")
	}
	return nil
}

// checkWill refuses a Will that this Server does not take, or not from this Client.
func (c *conn) checkWill(p *codec.Connect, id string, who *principal) error {
	if !p.HasWill {
		return nil
	}
	o := &c.b.o
	switch w := &p.Will; {
	case w.QoS > o.MaxQoS: // [MQTT-3.2.2-12]
		return refuse(codec.QoSNotSupported, "the Will QoS exceeds the Maximum QoS", "qos", w.QoS, "key", "mqtt.max-qos")
	case w.Retain && !o.RetainAvailable: // [MQTT-3.2.2-13]
		return refuse(codec.RetainNotSupported, "retained messages are not available", "key", "mqtt.retain-available")
	}
	topic := p.Will.Topic
	switch reason := c.checkTopicName(topic); reason {
	case codec.Success:
		if !c.b.mayHaveWill(who, id, &p.Will) {
			return refuse(codec.NotAuthorized, "the Client may not publish its Will Message", "topic", notice.Shown(topic))
		}
		return nil
	case codec.TopicNameInvalid:
		return refuse(reason, "the Will Topic is not a valid Topic Name", "topic", notice.Shown(topic), "levels_limit", o.MaxTopicLevels)
	default:
		return refuse(reason, "the Will Topic may not be published to", "topic", notice.Shown(topic))
	}
}

// newClientID returns a Client Identifier that no Session has.
func (b *Broker) newClientID() string {
	for {
		id := "auto-" + rand.Text()
		if !b.registry.has(id) {
			return id
		}
	}
}

// attach gives the connection its Session, waits until what CONNACK promises is
// on disk, and answers. [MQTT-3.1.4-5]
func (c *conn) attach(p *codec.Connect, id string, who *principal, ack *codec.Connack) error {
	group, err := c.takeSession(p, id, who, ack)
	if err != nil {
		return err
	}
	c.pending.flush(c.b.m)
	if control.Broken(control.ConnackBeforeCommit) {
		group = 0
	}
	if err := c.b.commits.Wait(group); err != nil {
		return refuse(codec.ServerUnavailable, "the Server is shutting down")
	}
	b, cl := c.b, c.client
	b.commits.Enter()
	defer b.leave(&c.pending)
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.conn != c {
		return errTakenOver
	}
	c.tellLostLocked(ack, p.RequestProblemInformation)
	c.mark(greeted)
	c.out.Queue(&c.pending.Pending, func(dst []byte) []byte {
		dst, _ = codec.AppendConnack(dst, ack, c.version) // cannot fail: the fields are in range
		return dst
	})
	cl.hints.setConnected(true)
	c.pending.fx.Reset()
	cl.sess.Attach(c.params.receiveMaximum, c.params.packetBytesMax, c.now, &c.pending.fx)
	cl.applyLocked(c.now, &c.pending)
	cl.startFeedLocked()
	c.waited()
	c.noteConnected(p, who, ack.SessionPresent)
	return nil
}

// sessionExpiry is the Session Expiry Interval that the Client asks for; that of
// a 3.x Session without the clean session flag has no limit.
func sessionExpiry(p *codec.Connect) uint32 {
	if control.Broken(control.SessionExpiryIgnored) && p.SessionExpirySeconds > 0 {
		return session.NeverExpires
	}
	if p.Version == codec.Version5 {
		return p.SessionExpirySeconds
	}
	if p.CleanStart {
		return 0
	}
	return session.NeverExpires
}

// breakRules forgets limits of the Client where a build with -tags control is to.
func (p *connectParams) breakRules() {
	switch {
	case control.Broken(control.ReceiveMaximumIgnored):
		p.receiveMaximum = 65535
	case control.Broken(control.MaximumPacketSizeIgnored):
		p.packetBytesMax = 0
	case control.Broken(control.KeepAliveIgnored):
		p.keepAliveSeconds = 0
	}
}
