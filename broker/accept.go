package broker

import (
	"net"

	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/codec"
)

// ServeConn serves one Network Connection until it ends, over any ordered and
// lossless stream.
func (b *Broker) ServeConn(nc net.Conn) {
	b.begin(b.newConn(link.Accepted{Transport: b.network.Transport(nc), At: b.clock.Now(), Local: link.IsLocal(nc.RemoteAddr())}))
}

// accepted has a Network Connection of a listener served.
func (b *Broker) accepted(a link.Accepted) {
	c := b.newConn(a)
	c.movesOn = true
	select {
	case b.opening <- c:
	default:
		go b.open(c)
	}
}

// openersMax is how many goroutines wait for a new connection.
const openersMax = 16

// open serves a connection until that has ended or another goroutine goes on, and then others.
// Its stack has grown to what CONNECT needs; to grow a new one for each takes a tenth of the time
// of one that is refused.
func (b *Broker) open(c *conn) {
	for c != nil {
		b.begin(c)
		c = b.nextToOpen()
	}
}

// nextToOpen waits for a new connection; nil: enough others do, or the broker stops.
func (b *Broker) nextToOpen() *conn {
	defer b.openers.Add(-1)
	if b.openers.Add(1) > openersMax {
		return nil
	}
	select {
	case c := <-b.opening:
		return c
	case <-b.serving.Done():
		return nil
	}
}

func (b *Broker) newConn(a link.Accepted) *conn {
	c := &conn{b: b, local: a.Local}
	c.out.Init(&b.outboxes, a.Transport)
	c.lastPacket = momentOf(a.At)
	c.unfinishedSince = c.lastPacket
	return c
}

// begin serves c, if there is room for it.
func (b *Broker) begin(c *conn) {
	if !b.addConn(c) {
		reason := "too many connections"
		if b.stopping.Load() {
			reason = codec.ServerShuttingDown.String()
			c.net().EndWith(codec.ServerShuttingDown)
		}
		b.m.Refused(reason).Inc()
		_ = c.net().Close()
		return
	}
	c.serve()
}

// addConn registers a connection and reports whether there is room for it, which
// a listener has made sure of for its own.
func (b *Broker) addConn(c *conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopping.Load() || (!c.net().Listener().Accepts() && int64(len(b.conns)) >= b.network.SocketsMax()) {
		return false
	}
	b.conns[c] = struct{}{}
	b.background.Add(1)
	b.m.ConnectionsTotal.Inc()
	b.m.ConnectionsCurrent.Inc()
	c.net().Listener().Counts().Connected()
	return true
}

func (b *Broker) removeConn(c *conn) {
	b.mu.Lock()
	delete(b.conns, c)
	b.mu.Unlock()
	b.m.ConnectionsCurrent.Dec()
	b.background.Done()
}
