package session_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/x0a1b/promptmq/session"
)

// nameOf is the message's name in the script, with which its payload begins.
func nameOf(m *session.Message) string {
	name, _, _ := strings.Cut(string(m.Payload), " ")
	return name
}

func entryText(e *session.Entry) string {
	text := fmt.Sprintf("%d: %s qos=%d", e.Seq, nameOf(e.Message), e.QoS)
	if e.Share != "" {
		text += " share=" + strings.TrimPrefix(e.Share, "$share/")
	}
	return text
}

// packet is what is sent, as text.
func (w *world) packet(s *session.Send) string {
	if s.Message == nil {
		return fmt.Sprintf("PUBREL id=%d", s.PacketID)
	}
	text := fmt.Sprintf("PUBLISH %s qos=%d id=%d", nameOf(s.Message), s.QoS, s.PacketID)
	if s.Dup {
		text += " dup"
	}
	if s.Retain {
		text += " retain"
	}
	if s.SubscriptionIDs != nil {
		text += fmt.Sprintf(" subscription-ids=%d", s.SubscriptionIDs)
	}
	if seconds, ok := s.Message.RemainingExpirySeconds(w.now); ok {
		text += fmt.Sprintf(" expiry=%ds", seconds)
	}
	return text
}

// queueText is how long the Session's queue is, and what makes it full.
func queueText(s *session.Session) string {
	switch n := s.QueueLen(); s.FullBy() {
	case session.ByMessages:
		return fmt.Sprintf("queue %d, full by messages", n)
	case session.ByBytes:
		return fmt.Sprintf("queue %d, full by bytes", n)
	default:
		return fmt.Sprintf("queue %d", n)
	}
}

// tellQueue tells of the queue if it has changed.
func (w *world) tellQueue(c *client) {
	if c.s == nil {
		return
	}
	if q := queueText(c.s); q != c.queue {
		w.say("%s", q)
		c.queue = q
	}
}

// sessionText is what a Session says of itself: no more than the broker can ask.
func sessionText(s *session.Session) string {
	text := queueText(s)
	if n := s.ReceivingCount(); n > 0 {
		var ids []string
		for id := range 1 << 16 {
			if s.Receiving(uint16(id)) {
				ids = append(ids, fmt.Sprint(id))
			}
		}
		text += ", awaits PUBREL for " + strings.Join(ids, " ")
	}
	return text
}

// resume is what a Client would be sent that connects with all of the queue read,
// and how many messages it would be told are lost.
func (w *world) resume(s *session.Session, id session.ID) (text []string) {
	lost := s.TakeLost()
	var fx session.Effects
	s.Attach(65535, 0, w.now, &fx)
	for pages := 0; fx.Page && pages < 1000; pages++ {
		fx.Page = false
		from, upTo := s.PageFrom()
		messages, bytes := s.PageSize()
		s.Paged(w.readFrom(id, from, messages, bytes), upTo, w.now, &fx)
	}
	for _, send := range fx.Sends {
		text = append(text, w.packet(&send))
	}
	if fx.Page {
		text = append(text, "page wanted, forever")
	}
	if fx.Expired > 0 {
		text = append(text, fmt.Sprintf("%d expired", fx.Expired))
	}
	if lost > 0 {
		text = append(text, fmt.Sprintf("%d dropped", lost))
	}
	return text
}

// diskText is what is on disk of a Session, and what a start would make of it.
func (w *world) diskText(d *stored) (text []string, err error) {
	text = append(text, fmt.Sprintf("session %d of %s: %s", d.record.ID, d.record.ClientID, recordText(d.record, w.now)))
	if d.will != nil {
		text = append(text, willText(d.will, w.now))
	}
	for _, filter := range slices.Sorted(maps.Keys(d.subs)) {
		text = append(text, subscriptionText(d.subs[filter]))
	}
	for _, filter := range slices.Sorted(maps.Keys(d.owed)) {
		text = append(text, owedText(filter, d.owed[filter]))
	}
	for _, seq := range slices.Sorted(maps.Keys(d.entries)) {
		e := d.entries[seq]
		text = append(text, entryText(&e))
	}
	l := d.load()
	if l.HoldsKeptWill() {
		return append(text, "a start finds no session"), nil
	}
	s, err := session.Restore(l, &w.limits)
	if err != nil {
		return nil, err
	}
	text = append(text, "a start finds "+sessionText(s))
	for _, resumed := range w.resume(s, d.record.ID) {
		text = append(text, "then "+resumed)
	}
	return text, nil
}

// rowsText is what changes beside the queue and the State.
func rowsText(r *session.Rows, now time.Time) (text []string) {
	if r.Record != nil {
		text = append(text, "write session: "+recordText(r.Record, now))
	}
	if r.HasWill && r.Will == nil {
		text = append(text, "remove will")
	} else if r.HasWill {
		text = append(text, "write "+willText(r.Will, now))
	}
	for _, sub := range r.Subscriptions {
		if sub.Subscription == nil {
			text = append(text, "remove subscription "+sub.Filter)
		} else {
			text = append(text, "write "+subscriptionText(sub.Subscription))
		}
	}
	for _, o := range r.Owed {
		if o.Owed == (session.Owed{}) {
			text = append(text, "remove owed "+o.Filter)
		} else {
			text = append(text, "write "+owedText(o.Filter, o.Owed))
		}
	}
	if r.State != nil {
		text = append(text, fmt.Sprintf("write state: nothing below %d is left", r.Floor))
	}
	if r.Ended {
		text = append(text, "remove session")
	}
	return text
}

func recordText(r *session.Record, now time.Time) string {
	switch {
	case r.Connected:
		return "connected"
	case r.ExpiresAt.IsZero():
		return "disconnected, never expires"
	}
	return fmt.Sprintf("disconnected, expires in %v", r.ExpiresAt.Sub(now))
}

func willText(will *session.Will, now time.Time) string {
	text := fmt.Sprintf("will %s qos=%d", nameOf(will.Message), will.Message.QoS)
	if will.DelaySeconds > 0 {
		text += fmt.Sprintf(" delay=%ds", will.DelaySeconds)
	}
	if !will.DueAt.IsZero() {
		text += fmt.Sprintf(", due in %v", will.DueAt.Sub(now))
	}
	return text
}

func subscriptionText(sub *session.Subscription) string {
	text := fmt.Sprintf("subscription %s qos=%d", sub.Filter, sub.QoS)
	if sub.ID != 0 {
		text += fmt.Sprintf(" id=%d", sub.ID)
	}
	return text
}

func owedText(filter string, o session.Owed) string {
	return fmt.Sprintf("owed %s from %d to %d", filter, o.After+1, o.UpTo)
}
