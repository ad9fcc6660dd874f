package broker

import (
	"log/slog"

	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/codec"
)

// userPropertyBytesMin is the size of a User Property whose name and value are empty.
const userPropertyBytesMin = 5

// tooManyProperties reports whether f has more User Properties than are allowed. That is a
// limit that the operator has set, so the Reason Code for it is 0x97: 0x95 is about the size
// of a packet in bytes. Section 4.13.2.
func (c *conn) tooManyProperties(f *codec.Forward) bool {
	limit := c.b.options().MaxUserProperties
	if limit <= 0 || f.Len() <= limit*userPropertyBytesMin { // as nearly always
		return false
	}
	return moreThan(limit, f.EachUserProperty)
}

// tooMany is tooManyProperties for packets that are not forwarded.
func (c *conn) tooMany(u codec.UserProperties) bool {
	limit := c.b.options().MaxUserProperties
	return limit > 0 && moreThan(limit, u.Each)
}

// moreThan reports whether each calls its argument for more than limit User Properties. It
// stops at the first that is too many.
func moreThan(limit int, each func(func(name, value codec.View) bool)) bool {
	n := 0
	each(func(_, _ codec.View) bool {
		n++
		return n <= limit
	})
	return n > limit
}

// checkProperties refuses a CONNECT with too many User Properties.
func (c *conn) checkProperties(p *codec.Connect) error {
	if c.tooMany(p.UserProperties) || p.HasWill && c.tooManyProperties(&p.Will.Forward) {
		return refuse(codec.QuotaExceeded, "too many User Properties", "limit", c.b.options().MaxUserProperties, "key", "mqtt.max-user-properties")
	}
	return nil
}

// refuseProperties refuses a PUBLISH with too many User Properties.
func (c *conn) refuseProperties(p *codec.Publish) error {
	c.pending.say(c.b.notices.Line(slog.LevelInfo, "too many user properties", c.client.id, "a PUBLISH has too many user properties", trouble.UserProperties,
		"client", notice.Shown(c.client.id), "topic", notice.Shown(p.Topic), "limit", c.b.options().MaxUserProperties, "key", "mqtt.max-user-properties"))
	return c.refusePublish(p, codec.QuotaExceeded)
}
