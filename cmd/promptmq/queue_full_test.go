package main

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

const (
	queueFullLog = "the queue of a session is full: messages for it are dropped"
	refusedLog   = "the queue of a session is full: messages are refused to their publishers"
	resumedLog   = "client connected; messages for its session were dropped meanwhile"
)

// droppedTold is the User Property "dropped" of a CONNACK, -1 without one.
func droppedTold(t *testing.T, ack codec.Connack) int {
	t.Helper()
	n := -1
	ack.UserProperties.Each(func(name, value codec.View) bool {
		if string(name) == "dropped" {
			var err error
			if n, err = strconv.Atoi(string(value)); err != nil {
				t.Error(err)
			}
		}
		return true
	})
	return n
}

// dying connects with a Will and is gone without a DISCONNECT.
func dying(t *testing.T, s *server, v codec.Version, qos codec.QoS, topic string) {
	t.Helper()
	p, _ := connectRaw(t, s.mqtt, v, "dying", func(c *codec.Connect) {
		c.HasWill, c.Will = true, codec.Will{Topic: codec.View(topic), Payload: codec.View("offline"), QoS: qos, Retain: true}
	})
	_ = p.Close()
}

// expectWill takes the Will at the QoS with which it was published.
func (p *raw) expectWill(topic string, qos codec.QoS) {
	p.t.Helper()
	m := p.receive()
	if string(m.Topic) != topic || m.QoS != qos {
		p.t.Errorf("%s at QoS %d, expected the Will %s at %d", m.Topic, m.QoS, topic, qos)
	}
	if qos == 1 {
		p.sendAck(codec.TypePuback, m.PacketID)
		return
	}
	p.sendAck(codec.TypePubrec, m.PacketID)
	p.ack(codec.TypePubrel)
	p.sendAck(codec.TypePubcomp, m.PacketID)
}

// TestFullQueueStopsNobody: a forgotten session that is subscribed to everything
// is full, and with the settings that hold when nothing is said everybody else
// goes on. The log names the session and its limit.
func TestFullQueueStopsNobody(t *testing.T) {
	t.Parallel()
	for yaml, want := range map[string]record{
		"mqtt: {max-queued-messages: 10}": {"key": "mqtt.max-queued-messages", "limit": 10.0},
		"mqtt: {max-queued-bytes: 2000}":  {"key": "mqtt.max-queued-bytes", "limit": 2000.0},
	} {
		t.Run(yaml, func(t *testing.T) {
			t.Parallel()
			s := start(t, yaml)
			const name = "a dashboard that nobody has looked at for months, and whose name is long enough to be cut"
			forgotten, _ := connectRaw(t, s.mqtt, codec.Version311, name, func(c *codec.Connect) { c.CleanStart = false })
			forgotten.subscribeOne("#", 1)
			forgotten.drop()
			on := v5Of(t, s, "on", nil)
			on.subscribeOne("w", 2)
			pub := v5Of(t, s, "pub", nil)
			publishRange(pub, "a", 0, 60, 200)
			old, _ := connectRaw(t, s.mqtt, codec.Version311, "old", nil)
			publishRange(old, "a", 60, 120, 200)
			if r := pub.publish2(1, "a", strings.Repeat(" ", 200), false); r != codec.Success {
				t.Errorf("PUBREC %v", r)
			}
			for v, qos := range map[codec.Version]codec.QoS{codec.Version311: 1, codec.Version5: 2} {
				dying(t, s, v, qos, "w")
				on.expectWill("w", qos)
			}
			r := s.waitLog(queueFullLog)
			if c := r.text("client"); !strings.HasPrefix(name, strings.TrimSuffix(c, "…")) || len(c) > 80 || r.text("level") != "WARN" ||
				r["key"] != want["key"] || r["limit"] != want["limit"] || r["policy"] != "drop-oldest" {
				t.Errorf("logged %v", r)
			}
			if n := s.metric("promptmq_sessions_queue_full"); n != 1 {
				t.Errorf("%v full queues", n)
			}
			dropped := s.metric(droppedOldest)
			forgotten, _ = connectRaw(t, s.mqtt, codec.Version311, name, func(c *codec.Connect) { c.CleanStart = false })
			if r := s.waitLog(resumedLog); r["dropped"] != dropped || dropped < 100 {
				t.Errorf("logged %v, %v are counted", r, dropped)
			}
			forgotten.drop()
			s.stop()
			var lines []record
			for _, r := range s.log() {
				if r.text("msg") == queueFullLog {
					lines = append(lines, r)
				}
			}
			// The second comes because the server ends, and else after a minute.
			if len(lines) != 2 || lines[1]["dropped"] != dropped {
				t.Errorf("%v were dropped, and logged %v", dropped, lines)
			}
		})
	}
}

// TestRejectSparesWills: with the policy reject a Will, and a message that removes
// a retained one, are dropped for the full queue alone. All else is refused.
func TestRejectSparesWills(t *testing.T) {
	t.Parallel()
	s := start(t, "mqtt: {queue-policy: reject, max-queued-messages: 2}")
	absent(t, s, "full", "#")
	on := v5Of(t, s, "on", nil)
	on.subscribeOne("#", 2)
	pub := v5Of(t, s, "pub", nil)
	pub.publish(codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View("kept"), Payload: codec.View("0")})
	pub.ack(codec.TypePuback)
	publishRange(pub, "a", 1, 2, 10)
	on.expectRange(0, 2)
	if r := pub.publish1(1, "a", "2"); r != codec.QuotaExceeded {
		t.Errorf("PUBACK %v", r)
	}
	r := s.waitLog(refusedLog)
	if r["client"] != "full" || r["key"] != "mqtt.max-queued-messages" || r["limit"] != 2.0 || r["refused"] != 1.0 {
		t.Errorf("logged %v", r)
	}
	if n := s.metric(droppedNewest); n != 0 {
		t.Errorf("%v dropped", n)
	}
	for v, qos := range map[codec.Version]codec.QoS{codec.Version311: 1, codec.Version5: 2} {
		dying(t, s, v, qos, "w")
		on.expectWill("w", qos)
	}
	for qos, topic := range map[codec.QoS]string{1: "kept", 2: "w"} {
		pub.publish(codec.Publish{QoS: qos, PacketID: 7, Retain: true, Topic: codec.View(topic)})
		ack := codec.TypePuback
		if qos == 2 {
			ack = codec.TypePubrec
		}
		if r := pub.ack(ack).Reason; r != codec.Success {
			t.Errorf("removing a retained message at QoS %d: %v", qos, r)
		}
		on.expectWill(topic, qos)
	}
	late := v5Of(t, s, "late", nil)
	late.subscribeOne("#", 0)
	late.quiet() // nothing is retained
	if n := s.metric(droppedNewest); n != 4 {
		t.Errorf("%v dropped", n)
	}
	s.kill()
	s.restart()
	full, ack := connectRaw(t, s.mqtt, codec.Version5, "full", resumed)
	if n := droppedTold(t, ack); n != 4 {
		t.Errorf("%d told", n)
	}
	full.expectRange(0, 2)
}

// TestWillBeyondRetained: a Will for which there is no room among the retained
// messages still reaches who is subscribed, and the log says what it is not.
func TestWillBeyondRetained(t *testing.T) {
	t.Parallel()
	s := start(t, "mqtt: {max-retained-messages: 1}")
	on := v5Of(t, s, "on", nil)
	on.subscribeOne("w/#", 2)
	pub := v5Of(t, s, "pub", nil)
	pub.publish(codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View("kept"), Payload: codec.View("x")})
	pub.ack(codec.TypePuback)
	for qos := range codec.QoS(3) {
		topic := fmt.Sprint("w/", qos)
		dying(t, s, codec.Version5, qos, topic)
		if qos > 0 {
			on.expectWill(topic, qos)
		} else if m := on.receive(); string(m.Topic) != topic {
			t.Errorf("%s in place of the Will %s", m.Topic, topic)
		}
	}
	r := s.waitLog("a Will Message was published, but not retained: mqtt.max-retained-messages or mqtt.max-retained-bytes is reached")
	if r["topic"] != "w/0" {
		t.Errorf("logged %v", r)
	}
	late := v5Of(t, s, "late", nil)
	late.subscribeOne("w/#", 0)
	late.quiet()
}

// TestDroppedIsTold: a client that resumes its session learns how many messages
// it will not get, once, and as far as it can take the answer.
func TestDroppedIsTold(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"drop-oldest", "drop-newest"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			s := start(t, fmt.Sprintf("mqtt: {queue-policy: %s, max-queued-messages: 3}", policy))
			absent(t, s, "sub", "t")
			pub := v5Of(t, s, "pub", nil)
			// resume drops n messages and connects.
			resume := func(n int, change func(*codec.Connect)) (*raw, codec.Connack) {
				t.Helper()
				publishRange(pub, "t", 0, 3+n, 10)
				p, ack := connectRaw(t, s.mqtt, codec.Version5, "sub", func(c *codec.Connect) {
					resumed(c)
					if change != nil {
						change(c)
					}
				})
				for range 3 {
					p.takeNumber()
				}
				p.drop()
				return p, ack
			}
			_, ack := resume(7, nil)
			whole := string(ack.ReasonString)
			if n := droppedTold(t, ack); n != 7 || !strings.HasPrefix(whole, "7 messages ") || ack.Reason != codec.Success || !ack.SessionPresent {
				t.Errorf("told %d, %+v", n, ack)
			}
			if _, ack = resume(0, nil); droppedTold(t, ack) != -1 || ack.HasReasonString {
				t.Errorf("told again: %+v", ack)
			}
			if _, ack = resume(2, func(c *codec.Connect) { c.RequestProblemInformation = false }); droppedTold(t, ack) != -1 || ack.HasReasonString {
				t.Errorf("told who asked for no problem information: %+v", ack)
			}
			if _, ack = resume(2, func(c *codec.Connect) { c.MaximumPacketSize = 80 }); droppedTold(t, ack) != 2 || ack.HasReasonString {
				t.Errorf("in 80 bytes: %d, %+v", droppedTold(t, ack), ack)
			}
			if _, ack = resume(2, func(c *codec.Connect) { c.MaximumPacketSize = 20 }); droppedTold(t, ack) != -1 || ack.HasReasonString {
				t.Errorf("in 20 bytes: %+v", ack)
			}
			publishRange(pub, "t", 0, 8, 10)
			s.stop()
			s.restart()
			pub = v5Of(t, s, "pub", nil)
			publishRange(pub, "t", 0, 1, 10)
			eventually(t, "the oldest is read, and dropped", func() bool { return s.metric("promptmq_queued_messages") == 3 })
			if _, ack := connectRaw(t, s.mqtt, codec.Version5, "sub", resumed); droppedTold(t, ack) != 6 {
				t.Errorf("%d over a restart", droppedTold(t, ack))
			}
			if _, ack := connectRaw(t, s.mqtt, codec.Version5, "sub", nil); droppedTold(t, ack) != -1 {
				t.Errorf("%d of a session that has ended", droppedTold(t, ack))
			}
		})
	}
}

// TestRejectWithoutMember: with reject, a message that no member of a Shared
// Subscription can get is dropped for that one alone, and all others get it.
func TestRejectWithoutMember(t *testing.T) {
	t.Parallel()
	s := start(t, "mqtt: {queue-policy: reject}")
	member := v5Of(t, s, "member", lasting)
	member.subscribeOne("$share/g/a", 0) // its Session keeps no QoS 0 messages while it is away
	member.send(codec.AppendDisconnect(nil, &codec.Disconnect{}, member.v))
	member.closed(codec.Success)
	on := v5Of(t, s, "on", nil)
	on.subscribeOne("a", 1)
	pub := v5Of(t, s, "pub", nil)
	publishRange(pub, "a", 0, 3, 10)
	on.expectRange(0, 3)
	if r := pub.publish2(7, "a", "3", false); r != codec.Success {
		t.Errorf("PUBREC %v", r)
	}
	on.expectRange(3, 4)
	pub.publish(codec.Publish{QoS: 1, PacketID: 8, Retain: true, Topic: codec.View("a"), Payload: codec.View("4")})
	if r := pub.ack(codec.TypePuback).Reason; r != codec.Success {
		t.Errorf("PUBACK of a retained message: %v", r)
	}
	on.expectRange(4, 5)
	if n := s.metric(`promptmq_messages_dropped_total{reason="no_member"}`); n != 5 {
		t.Errorf("%v dropped for want of a member", n)
	}
}
