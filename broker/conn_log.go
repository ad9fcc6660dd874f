package broker

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/metrics"
)

// connLinesMax is how many lines about connections that come and go are written in a second.
// A storm of reconnects needs more; what is left out is counted.
const connLinesMax = 1000

// A pace limits lines in a second.
type pace struct {
	mu      sync.Mutex // guards the following; a leaf
	second  int64
	lines   int
	leftOut int
}

// admit reports whether a line may be written, and how many were not since the last.
func (p *pace) admit(now time.Time) (ok bool, leftOut int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := now.Unix(); s != p.second {
		p.second, p.lines = s, 0
	}
	if p.lines >= connLinesMax {
		p.leftOut++
		return false, 0
	}
	p.lines++
	leftOut, p.leftOut = p.leftOut, 0
	return true, leftOut
}

// connLine returns the line about a connection that came or went; ok is false if it is left
// out.
func (b *Broker) connLine(msg string, attrs func() []any) (line notice.Line, ok bool) {
	if !b.log.Enabled(b.ctx, slog.LevelInfo) {
		return line, false
	}
	ok, leftOut := b.connLines.admit(b.clock.Now())
	if !ok {
		b.m.NoticesLeftOut("connections").Inc()
		return line, false
	}
	all := attrs()
	if leftOut > 0 {
		all = append(all, "left_out", leftOut)
	}
	return b.notices.Unlimited(slog.LevelInfo, msg, all...), true
}

// noteConnected logs and traces that CONNECT was accepted. Any lock may be held.
//
//go:noinline
func (c *conn) noteConnected(p *codec.Connect, who *principal, sessionPresent bool) {
	line, ok := c.b.connLine("client connected", func() []any {
		return []any{
			"client", notice.Shown(c.client.id), "user", notice.Shown(who.user()), "remote", c.net().RemoteAddr().String(), "listener", c.net().Listener().String(),
			"version", c.version.String(), "clean_start", p.CleanStart, "session_present", sessionPresent, "keep_alive", c.params.keepAliveSeconds,
			"session_expiry", c.params.sessionExpirySeconds, "will", p.HasWill,
		}
	})
	if ok {
		c.pending.say(line)
	}
	if c.b.log.Enabled(c.b.ctx, slog.LevelDebug) {
		c.pending.say(c.b.notices.Unlimited(slog.LevelDebug, "what the client takes", "client", notice.Shown(c.client.id),
			"receive_maximum", c.params.receiveMaximum, "maximum_packet_size", c.params.packetBytesMax, "topic_alias_maximum", p.TopicAliasMaximum))
	}
	if c.b.traces.running() {
		c.b.traceClient("connect", c.client.id, c.net().RemoteAddr().String())
	}
}

// noteDisconnected logs and traces the end of a connection that was greeted. No lock may be
// held.
//
//go:noinline
func (c *conn) noteDisconnected(why metrics.Disconnect, err error) {
	line, ok := c.b.connLine("client disconnected", func() []any {
		attrs := []any{"client", notice.Shown(c.client.id), "remote", c.net().RemoteAddr().String(), "listener", c.net().Listener().String(), "reason", why.String()}
		if t := c.out.Traffic(); !t.ConnectedAt.IsZero() {
			attrs = append(attrs, "after", c.b.clock.Now().Sub(t.ConnectedAt).Round(time.Millisecond).String(),
				"messages_in", t.MessagesIn, "messages_out", t.MessagesOut, "bytes_in", t.BytesIn, "bytes_out", t.BytesOut)
		}
		if who := c.client.who.Load(); who != nil && who.conn == c {
			attrs = append(attrs, "user", notice.Shown(who.user()))
		}
		if text := whatEnded(err); text != "" {
			attrs = append(attrs, "detail", text)
		}
		return attrs
	})
	if ok {
		line.Write()
	}
	if c.b.traces.running() {
		c.b.traceClient("disconnect", c.client.id, why.String())
	}
}

// whatEnded is what the log says about an error that ended a connection; "": nothing, as it
// is not said what went wrong.
func whatEnded(err error) string {
	switch {
	case err == nil, err == errDisconnect, err == errTakenOver, err == io.EOF, errors.Is(err, net.ErrClosed):
		return ""
	}
	if reason, detail, known := reasonOf(err); known {
		return reason.String() + ": " + detail
	}
	return err.Error()
}

const (
	// fightFrom is how many takeovers from another address within fightWithin are a fight of
	// two devices over one Client Identifier, and fightsMax how many are watched at a time.
	fightFrom   = 3
	fightWithin = time.Minute
	fightsMax   = 1000
)

// A fight is takeovers of one Session in turn.
type fight struct {
	began time.Time
	n     int
}

// fights are those of the last minute, by Client Identifier.
type fights struct {
	mu sync.Mutex // guards the following; a leaf
	of map[string]*fight
}

// takenOver notes that a connection from another address has taken the Session, and returns
// how often that was lately.
func (f *fights) takenOver(id string, now time.Time) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of == nil {
		f.of = make(map[string]*fight)
	}
	one := f.of[id]
	if one == nil || now.Sub(one.began) > fightWithin {
		if len(f.of) >= fightsMax {
			f.forgetLocked(now)
		}
		if len(f.of) >= fightsMax {
			return 0
		}
		one = &fight{began: now}
		f.of[id] = one
	}
	one.n++
	return one.n
}

// forgetLocked forgets those that are over.
func (f *fights) forgetLocked(now time.Time) {
	for id, one := range f.of {
		if now.Sub(one.began) > fightWithin {
			delete(f.of, id)
		}
	}
}

// noteFight warns if devices take the Session from each other.
func (c *conn) noteFight(id string, from net.Addr) {
	by := c.net().RemoteAddr()
	if link.HostOf(from) == link.HostOf(by) {
		return
	}
	if n := c.b.fights.takenOver(id, c.now); n >= fightFrom {
		c.pending.say(c.b.notices.Line(slog.LevelWarn, "fight over a client identifier", id,
			"clients at two addresses take the session from each other: a client identifier is for one device only", trouble.ClientIDShared,
			"client", notice.Shown(id), "addresses", []string{from.String(), by.String()}, "takeovers", n, "within", fightWithin.String()))
	}
}
