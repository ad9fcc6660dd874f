package broker

import (
	"fmt"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// armDeadline bounds the next read: by 1.5 times the Keep Alive after the last
// packet [MQTT-3.1.2-22] and by the read timeout after the first byte of an
// unfinished one, see progress, or, before CONNECT, by the connect timeout after accept.
func (c *conn) armDeadline() error {
	c.armed = c.deadlineKind()
	err := c.net().SetReadDeadline(c.b.clock.Deadline(c.deadline()))
	if c.marked(superseded | identityEnded) {
		c.net().Wake() // the deadline has taken the place of the one that was to
	}
	return err
}

func (c *conn) deadlineKind() deadlineKind {
	switch {
	case c.unfinishedSince != 0:
		return unfinishedDeadline
	case c.params.keepAliveSeconds > 0:
		return keepAliveDeadline
	}
	return noDeadline
}

// Rearm sets the deadline if the one that is set could be too late.
func (c *conn) Rearm() error {
	if c.armed >= c.deadlineKind() {
		return nil
	}
	return c.armDeadline()
}

func (c *conn) deadline() time.Time {
	var d time.Time
	if s := c.params.keepAliveSeconds; s > 0 {
		d = c.lastPacket.time().Add(time.Duration(s) * time.Second * 3 / 2)
	}
	if c.unfinishedSince != 0 {
		if p := c.unfinishedSince.time().Add(c.packetTimeout()); d.IsZero() || p.Before(d) {
			d = p
		}
	}
	return d
}

// packetTimeout is how long an unfinished packet, or the first one, may take.
func (c *conn) packetTimeout() time.Duration {
	if c.client == nil {
		return c.b.o.ConnectTimeout
	}
	return c.b.options().ReadTimeout
}

func (c *conn) overdue(now time.Time) bool {
	d := c.deadline()
	return !d.IsZero() && !now.Before(d)
}

// refuseOverdue says what the Client has not sent in time.
func (c *conn) refuseOverdue() error {
	now := c.b.clock.Now()
	if c.unfinishedSince != 0 && !now.Before(c.unfinishedSince.time().Add(c.packetTimeout())) {
		switch {
		case c.client == nil && c.marked(authenticates):
			return refuse(codec.NotAuthorized, "no AUTH within the connect timeout", "limit", c.b.o.ConnectTimeout.String(), "key", "server.connect-timeout")
		case c.client == nil:
			return refuse(codec.ProtocolError, "no CONNECT within the connect timeout", "limit", c.b.o.ConnectTimeout.String(), "key", "server.connect-timeout")
		}
		return refuse(codec.ProtocolError, "a packet stayed behind server.read-rate-min for the read timeout", "limit", c.b.options().ReadTimeout.String(), "key", "server.read-timeout",
			"rate", c.b.options().ReadRateMin)
	}
	c.b.m.KeepAliveTimeouts.Inc()
	return refuse(codec.KeepAliveTimeout, c.silence())
}

// silence says for how long nothing came, and who wants that to be an error.
func (c *conn) silence() string {
	s := fmt.Sprintf("nothing received within one and a half times the Keep Alive of %d s", c.params.keepAliveSeconds)
	if c.params.keepAliveImposed { // [MQTT-3.1.2-21]
		s += ", which mqtt.keep-alive imposes: CONNACK said so as Server Keep Alive, which a Client must use in place of its own"
	}
	return s
}

// waited is called when the Server had to wait before it could read on. That does not
// count against the Client's Keep Alive.
func (c *conn) waited() {
	c.now = c.b.clock.Now()
	c.lastPacket = momentOf(c.now)
}

// progress notes that n bytes of an unfinished packet came. It moves the beginning of
// the packet by the time that they take at Options.ReadRateMin: so the packet may take
// as long as it needs at that rate, and the connection ends if it stays behind by the
// read timeout. In the same way it moves the last packet, for the Keep Alive: a Client
// can send nothing else before the end of this one. [MQTT-3.1.2-22]
func (c *conn) progress(n int) {
	now, took := momentOf(c.now), moment(n)*moment(time.Second)/moment(c.b.options().ReadRateMin)
	c.unfinishedSince = min(c.unfinishedSince+took, now)
	c.lastPacket = min(c.lastPacket+took, now)
}
