package broker

import (
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// A shortage is what the full queue of a Client has cost since its Session began
// or was last resumed: messages dropped, and messages refused to publishers.
type shortage struct {
	dropped, refused total
	mentions         atomic.Int64
	mentionedAt      atomic.Int64 // Unix nanoseconds
}

// A total is logged as what it is when the line is written, which may be later
// than what the line is about.
type total struct{ atomic.Int64 }

// LogValue implements slog.LogValuer.
func (t *total) LogValue() slog.Value { return slog.Int64Value(t.Load()) }

// mentionEvery bounds how often a full queue is mentioned to the limiter of log
// lines from the third time on, so that not each message costs the making of a line.
const mentionEvery = time.Second

// noteShortage counts what a full queue has cost, and says so: with the first
// message, and then as often as the limiter lets it. Locks may be held.
func (b *Broker) noteShortage(cl *Client, by session.Limit, dropped, refused int, now time.Time, pend *pending) {
	v, ok := b.shortages.Load(cl)
	if !ok {
		v, _ = b.shortages.LoadOrStore(cl, new(shortage))
	}
	s := v.(*shortage)
	s.dropped.Add(int64(dropped))
	s.refused.Add(int64(refused))
	if s.mentions.Load() >= 2 && now.UnixNano()-s.mentionedAt.Load() < int64(mentionEvery) {
		return
	}
	s.mentions.Add(1)
	s.mentionedAt.Store(now.UnixNano())
	msg, what, count := "the queue of a session is full: messages for it are dropped", "dropped", &s.dropped
	if refused > 0 {
		msg, what, count = "the queue of a session is full: messages are refused to their publishers", "refused", &s.refused
	}
	key, limit := "mqtt.max-queued-messages", int64(b.o.MaxQueuedMessages)
	if by == session.ByBytes {
		key, limit = "mqtt.max-queued-bytes", b.o.MaxQueuedBytes
	}
	pend.say(b.notices.Line(slog.LevelWarn, "queue full", cl.id, msg, trouble.QueueFull,
		"client", notice.Shown(cl.id), "key", key, "limit", limit, "policy", b.o.QueuePolicy, what, count))
}

// noteDroppedLocked counts what the Session dropped from its queue, and says what a
// full queue made it drop. A copy that was not queued is counted where that is decided.
func (cl *Client) noteDroppedLocked(d *session.Dropped, now time.Time, pend *pending) {
	was := &pend.outcomes.fromQueue
	was[expired] += d.Expired
	was[tooLarge] += d.TooLarge
	was[tooOld] += d.TooOld
	was[queueFullOldest] += d.DroppedOldest
	if n := d.Expired + d.TooLarge + d.TooOld + d.DroppedOldest; n > 0 {
		cl.noteQueueDropsLocked(n, &pend.fx.LastDropped, now)
	}
	n := d.DroppedNewest + d.DroppedOldest
	if n == 0 {
		return
	}
	by := cl.sess.FullBy()
	if by == session.NoLimit { // it made room
		by = cl.hints.full()
	}
	cl.b.noteShortage(cl, by, n, 0, now, pend)
}

// fullFor is how long a queue counts as full after it was: one that made room by
// dropping its oldest messages may be a little below its limits.
const fullFor = time.Minute

// tellLostLocked says in CONNACK and in the log how many messages for the
// Session were dropped since its Client was last told.
func (c *conn) tellLostLocked(ack *codec.Connack, permitted bool) {
	cl := c.client
	lost := cl.sess.TakeLost()
	cl.b.shortages.Delete(cl)
	if lost == 0 {
		return
	}
	c.pending.say(cl.b.notices.Line(slog.LevelInfo, "messages lost", cl.id, "client connected; messages for its session were dropped meanwhile", trouble.MessagesDropped,
		"client", notice.Shown(cl.id), "remote", c.net().RemoteAddr().String(), "dropped", lost))
	if c.version != codec.Version5 || !permitted {
		return
	}
	user := codec.MakeUserProperties(codec.AppendUserProperty(nil, []byte("dropped"), strconv.AppendUint(nil, lost, 10)))
	reason := codec.View(fmt.Sprintf("%d messages for this session were dropped: its queue was full, or they were too old", lost))
	bare := *ack
	for _, r := range []codec.View{reason, nil} { // [MQTT-3.2.2-19] [MQTT-3.2.2-20]
		ack.UserProperties, ack.ReasonString, ack.HasReasonString = user, r, r != nil
		if c.fits(ack) {
			return
		}
	}
	*ack = bare
}
