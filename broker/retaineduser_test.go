package broker_test

import (
	"testing"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/codec"
)

// A retainer publishes retained messages as several users, each on a connection of its own
// that lasts.
type retainer struct {
	f     *fixture
	peers map[string]*peer
	id    uint16
}

func (r *retainer) as(user string) *peer {
	p := r.peers[user]
	if p == nil {
		var change func(*codec.Connect)
		if user != "" {
			change = as(user)
		}
		p, _ = r.f.connectAs(codec.Version5, "of "+user, change)
		r.peers[user] = p
	}
	return p
}

// retain publishes a retained message of so many bytes; 0 removes it.
func (r *retainer) retain(user, topic string, qos codec.QoS, bytes int) codec.ReasonCode {
	p := r.as(user)
	r.id++
	p.sendPublish(codec.Publish{QoS: qos, PacketID: r.id, Retain: true, Topic: codec.View(topic), Payload: make([]byte, bytes)})
	if qos == 2 {
		reason := p.acked(codec.TypePubrec).Reason
		if reason < 0x80 {
			p.release(r.id)
		}
		return reason
	}
	return p.acked(codec.TypePuback).Reason
}

// TestRetainedPerUser: what one user may have retained, in messages and in bytes; what is of
// whom, also after a restart; and that removing is never refused.
func TestRetainedPerUser(t *testing.T) { timeless(t, testRetainedPerUser) }

func testRetainedPerUser(t *testing.T) {
	const no = codec.QuotaExceeded
	f := newFixtureWith(t, withUsers, func(o *broker.Options) {
		o.Limits.RetainedMessagesPerUser, o.Limits.RetainedBytesPerUser = 3, 1000
	})
	for i, part := range [][]struct {
		user, topic string
		bytes       int
		want        codec.ReasonCode
	}{
		{
			{"u", "a", 10, 0}, {"u", "b", 10, 0}, {"u", "c", 10, 0}, {"u", "d", 10, no}, // three are all
			{"u", "c", 20, 0}, {"u", "c", 800, no}, {"u", "c", 30, 0}, // replaced, but for the bytes
			{"v", "a", 10, 0}, {"u", "d", 10, 0}, {"u", "a", 10, no}, // a is v's now, and may not be taken back
			{"u", "a", 0, 0}, {"u", "b", 0, 0}, {"u", "a", 10, 0}, // what is removed counts no longer
			{"", "n1", 900, 0}, {"", "n2", 900, 0}, {"", "n3", 900, 0}, {"", "n4", 900, 0}, {"", "n5", 900, 0}, // of nobody as many as there may be
			{"v", "n1", 800, 0}, {"v", "n2", 100, no}, {"", "n1", 10, 0}, {"v", "n2", 100, 0}, // and back to nobody
		},
		{ // after a restart: a, c, d are u's, n2 is v's
			{"u", "e", 10, no}, {"v", "e", 10, 0}, {"v", "f", 10, 0}, {"v", "g", 10, no}, {"u", "c", 40, 0},
			{"u", "c", 0, 0}, {"v", "d", 0, 0}, {"u", "e", 10, 0}, {"v", "g", 10, 0}, {"u", "f", 500, 0}, {"u", "h", 1, no},
		},
	} {
		if i == 1 {
			f.stop()
			f.restart(f.settings...)
		}
		r := retainer{f: f, peers: map[string]*peer{}}
		for j, step := range part {
			if got := r.retain(step.user, step.topic, codec.QoS(1+j%2), step.bytes); got != step.want && (step.want == no || got >= 0x80) {
				t.Errorf("part %d, %d: %d bytes to %q by %q: %v", i, j, step.bytes, step.topic, step.user, got)
			}
		}
	}
}

// TestRetainedPerUserAnswers: what becomes of a message that one user has no room for: with
// QoS 0, in MQTT 3.1.1, and of a Will, which counts as its owner's.
func TestRetainedPerUserAnswers(t *testing.T) { timeless(t, testRetainedPerUserAnswers) }

func testRetainedPerUserAnswers(t *testing.T) {
	f := newFixtureWith(t, withUsers, func(o *broker.Options) { o.Limits.RetainedMessagesPerUser = 1 })
	sub, _ := f.connectAs(codec.Version5, "sub", as("s"))
	sub.subscribeOne("#", 0)
	will := func(user, topic string) {
		p, _ := f.connectAs(codec.Version5, "dying", as(user, func(c *codec.Connect) {
			c.HasWill, c.Will = true, codec.Will{Topic: codec.View(topic), Payload: codec.View("w"), Retain: true}
		}))
		_ = p.Close()
		if m := sub.receive(); string(m.Topic) != topic {
			t.Errorf("%s in place of the Will %s", m.Topic, topic)
		}
	}
	will("u", "will")
	r := retainer{f: f, peers: map[string]*peer{}}
	if got := r.retain("u", "more", 1, 1); got != codec.QuotaExceeded {
		t.Errorf("behind a Will: %v", got)
	}
	told := f.waitLog("a message was not retained: its user has as much retained as one user may")
	if told["user"] != "u" || told["topic"] != "more" || told["limit"] != float64(1) || told["key"] != "limits.retained-messages-per-user" {
		t.Errorf("logged %v", told)
	}
	will("u", "another") // not retained, and sent to who is there
	refused := f.metric(`promptmq_messages_refused_total{reason="Quota exceeded"}`)
	u := r.as("u")
	for range 5 {
		u.sendPublish(codec.Publish{Retain: true, Topic: codec.View("more"), Payload: codec.View("x")})
	}
	u.quiet() // and connected
	if n := f.metric(`promptmq_messages_refused_total{reason="Quota exceeded"}`); n != refused+5 {
		t.Errorf("%v were counted, expected %v", n, refused+5)
	}
	if n := len(f.linesOf("a message was not retained: its user has as much retained as one user may")); n != 1 {
		t.Errorf("%d lines in the log", n)
	}
	old, _ := f.connectAs(codec.Version311, "old", as("u"))
	old.sendPublish(codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View("more"), Payload: codec.View("x")})
	old.closed(codec.Success) // as for each quota: 3.1.1 has no other way to say that it was not taken
	sub.quiet()
	late, _ := f.connectAs(codec.Version5, "late", as("s"))
	late.subscribeOne("#", 0)
	if m := late.receive(); string(m.Topic) != "will" {
		t.Errorf("%s is retained", m.Topic)
	}
	late.quiet()
	if got := r.retain("u", "will", 1, 0); got != codec.Success && got != codec.NoMatchingSubscribers {
		t.Errorf("removing: %v", got)
	}
	if got := r.retain("u", "more", 1, 1); got >= 0x80 {
		t.Errorf("when there is room again: %v", got)
	}
}
