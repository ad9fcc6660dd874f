package broker

import (
	"time"

	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/broker/memory"
	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/broker/rate"
	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/metrics"
)

// A publisher is what is remembered of a connection that publishes.
type publisher struct {
	aliases  aliasNames
	messages meter
	bytes    meter
}

// A meter counts against one of the rates that held at CONNECT.
type meter struct {
	limit rate.Limit
	rate.Meter
	pause time.Duration // for how long not to read; 0: go on
}

func (m *meter) count(n int, now time.Time) { m.pause = m.Count(m.limit, n, now.UnixNano()) }

// publisherOf returns c.publisher, made if there is none.
func (c *conn) publisherOf() *publisher {
	if c.publisher == nil {
		c.publisher = new(publisher)
	}
	return c.publisher
}

// limitRates has the packets of the Client counted, if there are limits.
func (c *conn) limitRates() {
	l := &c.b.options().Limits
	if l.MessageRate <= 0 && l.ByteRate <= 0 {
		return
	}
	p := c.publisherOf()
	p.messages.limit, p.bytes.limit = l.MessageRate, l.ByteRate
}

// countBytes counts bytes that were read.
func (c *conn) countBytes(n int) {
	if p := c.publisher; p != nil && p.bytes.limit > 0 {
		p.bytes.count(n, c.now)
	}
}

// countMessage counts a PUBLISH. It reports whether the next packet must wait: see
// awaitTurn.
func (c *conn) countMessage() (wait bool) {
	p := c.publisher // not nil
	if p.messages.limit <= 0 {
		return false
	}
	p.messages.count(1, c.now)
	return p.messages.pause > 0 && !c.marked(superseded)
}

// pausedReadBytes is how much is read at once of a connection while memory is short, in
// bytes.
const pausedReadBytes = 4096

// roomMax is how many bytes to read at most.
func (c *conn) roomMax() int {
	n := c.b.o.ReadBuffer
	if c.b.overload.is(memory.Pausing) {
		n = min(n, pausedReadBytes)
	}
	if p := c.publisher; p != nil && p.bytes.limit > 0 {
		n = int(min(int64(n), int64(p.bytes.limit))) // so no pause is longer than a second
	}
	return n
}

// awaitLeave blocks until the connection may be read on.
func (c *conn) awaitLeave() {
	blocked := c.awaitRoom()
	if c.awaitTurn() || blocked {
		c.waited() // the Client may have sent while it was not read
		if c.unfinishedSince != 0 {
			c.unfinishedSince = c.lastPacket
		}
	}
}

// awaitTurn blocks while the Client is over its rates or, if it publishes, memory is short: it
// is not read meanwhile, so that TCP makes it wait too. It does not if another connection
// waits for the Session. It reports whether it blocked.
func (c *conn) awaitTurn() (blocked bool) {
	if c.client == nil || c.marked(superseded) {
		return false
	}
	if p := c.publisher; p != nil {
		blocked = c.pause(&p.messages, metrics.PauseMessageRate, "limits.message-rate")
		blocked = c.pause(&p.bytes, metrics.PauseByteRate, "limits.byte-rate") || blocked
	}
	if c.published || c.publishes() {
		c.published = false
		blocked = c.awaitMemory() || blocked
	}
	return blocked
}

// publishes reports whether the beginning of a PUBLISH has come.
func (c *conn) publishes() bool {
	t, ok := c.reader.PeekType()
	return ok && t == codec.TypePublish
}

// pause blocks for as long as a meter says.
func (c *conn) pause(m *meter, cause metrics.Pause, key string) bool {
	if m.pause <= 0 {
		return false
	}
	c.notePause(cause, "limit", int64(m.limit), "key", key)
	late := time.NewTimer(m.pause)
	m.pause = 0
	defer late.Stop()
	for {
		woken := c.out.Woken()
		if woken == nil {
			return true
		}
		select {
		case <-late.C:
			return true
		case <-woken:
		}
	}
}

// awaitMemory blocks while memory is short. The read buffer is given back meanwhile.
func (c *conn) awaitMemory() (blocked bool) {
	for calm := c.b.overload.calm(); calm != nil; calm = c.b.overload.calm() {
		woken := c.out.Woken()
		if woken == nil {
			break
		}
		if !blocked {
			blocked = true
			c.notePause(metrics.PauseMemory, "key", "limits.memory")
			if buf := c.reader.Reclaim(); buf != nil {
				link.ReadBuffers.Put(buf)
			}
		}
		select {
		case <-calm:
		case <-woken:
		}
	}
	return blocked
}

func (c *conn) notePause(cause metrics.Pause, attrs ...any) {
	c.b.m.Paused[cause].Inc()
	c.b.notices.Info("paused: "+cause.String(), c.client.id, "a client that publishes is not read for a while",
		append([]any{trouble.PublisherPaused, "client", notice.Shown(c.client.id), "cause", cause.String()}, attrs...)...)
}
