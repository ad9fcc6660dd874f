package broker

import (
	"cmp"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime/debug"

	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/metrics"
)

// fail is the one place where an error becomes a CONNACK or DISCONNECT and a
// log line. It ends the connection. [MQTT-4.13.1-1] [MQTT-4.13.2-1]
func (c *conn) fail(err error) {
	reason, detail, known := reasonOf(err)
	switch {
	case !known:
		if err == errDisconnect || err == io.EOF {
			c.mark(finished)
		}
		if err == errDisconnect {
			return
		}
		if what, ok := err.(link.ForeignError); ok {
			c.net().Listener().RefuseForeign(c.net().RemoteAddr(), what)
			return
		}
		c.noteEnd(err)
		return // finish closes, after the Session is detached: nothing counts as sent that only a dead connection got
	case !c.marked(greeted):
		c.net().EndWith(reason)
		c.b.m.Refused(reason.String()).Inc()
		c.closeWith(c.appendRefusedConnack(nil, reason, detail))
	default:
		c.net().EndWith(reason)
		if !c.marked(identityEnded) {
			c.b.m.ProtocolErrors(reason.String()).Inc()
		}
		c.closeWith(c.appendDisconnect(nil, reason, detail))
	}
	id, code, attrs := c.logged(err)
	if !c.marked(greeted) && c.b.traces.running() {
		c.b.traceClient("refuse", id, "CONNECT: "+reason.String()+": "+detail)
	}
	c.b.notices.Info("closed: "+reason.String(), cmp.Or(id, c.host()), "connection closed", append([]any{
		slog.String("code", cmp.Or(code, trouble.Of(reason).Value.String())), "client", notice.Shown(id), "remote", c.net().RemoteAddr().String(), "reason", reason.String(), "detail", detail}, attrs...)...)
}

// countEnd counts and logs why the connection ended.
func (c *conn) countEnd(err error) {
	why := c.whyEnded(err)
	c.net().Listener().Counts().Disconnected(why)
	if c.marked(greeted) {
		c.noteDisconnected(why, err)
	}
}

func (c *conn) whyEnded(err error) metrics.Disconnect {
	reason, _, known := reasonOf(err)
	switch {
	case !c.marked(greeted):
		return metrics.BeforeConnack
	case err == errDisconnect:
		return metrics.ByClient
	case err == errTakenOver:
		return metrics.ByTakeover
	case known && reason == codec.AdministrativeAction:
		return metrics.ByAdministrator
	case known && c.marked(identityEnded):
		return metrics.ByIdentity
	case known && reason == codec.KeepAliveTimeout:
		return metrics.ByKeepAlive
	case known:
		return metrics.ByProtocolError
	case c.marked(overloaded):
		return metrics.ByOverload
	case c.marked(failed):
		return metrics.ByFailure
	case c.out.TimedOut():
		return metrics.ByWriteTimeout
	case c.b.stopping.Load():
		return metrics.ByShutdown
	}
	return metrics.ByLoss
}

// logged returns what the log says about err besides, and whose connection it is, even
// if CONNECT was refused.
func (c *conn) logged(err error) (clientID, code string, attrs []any) {
	clientID = c.clientID()
	if r, ok := errors.AsType[*refusal](err); ok {
		clientID, code, attrs = cmp.Or(clientID, r.client), r.code, r.attrs
	}
	return clientID, code, attrs
}

// noteEnd logs that the connection ended without DISCONNECT. One that never sent
// CONNECT, such as that of a load balancer which tries the port, is only counted.
func (c *conn) noteEnd(err error) {
	attrs := []any{"client", notice.Shown(c.clientID()), "remote", c.net().RemoteAddr().String(), "error", err}
	switch {
	case c.client == nil && errors.Is(err, net.ErrClosed): // it made room for another, and is counted
	case c.client == nil:
		c.b.m.Refused("no CONNECT").Inc()
	case err != errTakenOver && !errors.Is(err, net.ErrClosed) && !c.marked(greeted):
		c.b.notices.Info("ended", c.client.id, "connection ended", attrs...)
		return
	}
	c.b.log.Debug("connection ended", attrs...)
}

// noteWriteTimeout logs it if the connection was closed because the Client took nothing
// for the write timeout. No lock may be held.
func (c *conn) noteWriteTimeout() {
	if !c.out.TimedOut() {
		return
	}
	c.b.notices.Info("write timeout", cmp.Or(c.clientID(), c.host()), "connection closed: the client took nothing of what waits for it", trouble.WriteTimeout,
		"client", notice.Shown(c.clientID()), "remote", c.net().RemoteAddr().String(), "limit", c.b.o.WriteTimeout.String(), "key", "server.write-timeout")
}

// closeWith writes last and closes, in such a way that the Client can read it even if
// it goes on sending.
func (c *conn) closeWith(last []byte) {
	if len(last) > 0 && !c.out.Lingers() && c.b.network.MayLinger() {
		c.out.Linger()
	}
	c.out.Close(last)
}

// end frees what the connection held, if it has ended or panicked.
func (c *conn) end(ended bool, panicked any) {
	if panicked != nil {
		c.b.m.Panics.Inc()
		c.net().Listener().Counts().Disconnected(metrics.ByFailure)
		c.b.notices.Line(slog.LevelError, "panic", "serving", "panic", trouble.Panic, "doing", "serving a connection", "remote", c.net().RemoteAddr().String(),
			"client", notice.Shown(c.clientID()), "panic", panicked, "stack", string(debug.Stack())).Write()
		c.out.Abort()
	}
	if ended {
		c.finish()
	}
}

// finish frees what the connection held. It runs whatever ended it.
func (c *conn) finish() {
	c.work()
	defer c.b.removeConn(c)
	defer c.b.recoverPanic("ending a connection")
	defer c.hangUp()
	if c.marked(authenticates) {
		c.b.enhanced.Delete(c)
	}
	if c.client != nil {
		c.b.disconnected(c)
	}
	c.pending.flush(c.b.m)
	c.Idle()
	c.forgetUnfinished()
}

// hangUp ends the Network Connection, when it is detached from its Client. A Client that
// ended it in good order still gets the answers that await a commit.
func (c *conn) hangUp() {
	if c.marked(finished) {
		c.out.Settle()
	}
	c.noteWriteTimeout()
	c.closeWith(c.lastWord())
	if c.out.Lingers() {
		defer c.b.network.Lingered()
		defer c.out.HangUp()
		c.b.network.Linger(c.net())
	}
}
