package broker_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/broker"
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
func (f *fixture) dying(v codec.Version, qos codec.QoS, topic string) {
	f.t.Helper()
	p, _ := f.connectAs(v, "dying", func(c *codec.Connect) {
		c.HasWill, c.Will = true, codec.Will{Topic: codec.View(topic), Payload: codec.View("offline"), QoS: qos, Retain: true}
	})
	_ = p.Close()
}

// expectWill takes the Will at the QoS with which it was published.
func (p *peer) expectWill(topic string, qos codec.QoS) {
	p.t.Helper()
	m := p.receive()
	if string(m.Topic) != topic || m.QoS != qos {
		p.t.Errorf("%s at QoS %d, expected the Will %s at %d", m.Topic, m.QoS, topic, qos)
	}
	if qos == 1 {
		p.ack(codec.TypePuback, m.PacketID)
	} else {
		p.ack(codec.TypePubrec, m.PacketID)
		p.acked(codec.TypePubrel)
		p.ack(codec.TypePubcomp, m.PacketID)
	}
	p.quiet() // the acknowledgement has come
}

// TestFullQueueStopsNobody: a forgotten session that is subscribed to everything
// is full, and with the settings that hold when nothing is said everybody else
// goes on. The log names the session and its limit.
func TestFullQueueStopsNobody(t *testing.T) {
	for key, c := range map[string]struct {
		limit float64
		set   func(*broker.Options)
	}{
		"mqtt.max-queued-messages": {10, func(o *broker.Options) { o.MaxQueuedMessages = 10 }},
		"mqtt.max-queued-bytes":    {2000, func(o *broker.Options) { o.MaxQueuedBytes = 2000 }},
	} {
		t.Run(key, func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				s := newFixtureWith(t, c.set)
				const name = "a dashboard that nobody has looked at for months, and whose name is long enough to be cut"
				forgotten, _ := s.connectAs(codec.Version311, name, func(c *codec.Connect) { c.CleanStart = false })
				forgotten.subscribeOne("#", 1)
				forgotten.drop()
				on := s.connectV5("on", nil)
				on.subscribeOne("w", 2)
				pub := s.connectV5("pub", nil)
				pub.publishRange("a", 0, 60, 200)
				old, _ := s.connectAs(codec.Version311, "old", nil)
				old.publishRange("a", 60, 120, 200)
				if r := pub.publish2(1, "a", strings.Repeat(" ", 200), false); r != codec.Success {
					t.Errorf("PUBREC %v", r)
				}
				for v, qos := range map[codec.Version]codec.QoS{codec.Version311: 1, codec.Version5: 2} {
					s.dying(v, qos, "w")
					on.expectWill("w", qos)
				}
				r := s.waitLog(queueFullLog)
				if client := r.text("client"); !strings.HasPrefix(name, strings.TrimSuffix(client, "…")) || len(client) > 80 || r.text("level") != "WARN" ||
					r["key"] != key || r["limit"] != c.limit || r["policy"] != "drop-oldest" {
					t.Errorf("logged %v", r)
				}
				if n := s.metric("promptmq_sessions_queue_full"); n != 1 {
					t.Errorf("%v full queues", n)
				}
				dropped := s.metric(droppedOldest)
				forgotten, _ = s.connectAs(codec.Version311, name, func(c *codec.Connect) { c.CleanStart = false })
				if r := s.waitLog(resumedLog); r["dropped"] != dropped || dropped < 100 {
					t.Errorf("logged %v, %v are counted", r, dropped)
				}
				forgotten.drop()
				s.stop()
				lines := s.linesOf(queueFullLog)
				// The second comes because the server ends, and else after a minute.
				if len(lines) != 2 || lines[1]["dropped"] != dropped {
					t.Errorf("%v were dropped, and logged %v", dropped, lines)
				}
			})
		})
	}
}

// TestRejectSparesWills: with the policy reject a Will, and a message that removes
// a retained one, are dropped for the full queue alone. All else is refused.
func TestRejectSparesWills(t *testing.T) { timeless(t, testRejectSparesWills) }

func testRejectSparesWills(t *testing.T) {
	s := newFixtureWith(t, func(o *broker.Options) { o.QueuePolicy = "reject"; o.MaxQueuedMessages = 2 })
	s.absent("full", "#")
	on := s.connectV5("on", nil)
	on.subscribeOne("#", 2)
	pub := s.connectV5("pub", nil)
	pub.sendPublish(codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View("kept"), Payload: codec.View("0")})
	pub.acked(codec.TypePuback)
	pub.publishRange("a", 1, 2, 10)
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
		s.dying(v, qos, "w")
		on.expectWill("w", qos)
	}
	for qos, topic := range map[codec.QoS]string{1: "kept", 2: "w"} {
		pub.sendPublish(codec.Publish{QoS: qos, PacketID: 7, Retain: true, Topic: codec.View(topic)})
		ack := codec.TypePuback
		if qos == 2 {
			ack = codec.TypePubrec
		}
		if r := pub.acked(ack).Reason; r != codec.Success {
			t.Errorf("removing a retained message at QoS %d: %v", qos, r)
		}
		on.expectWill(topic, qos)
	}
	late := s.connectV5("late", nil)
	late.subscribeOne("#", 0)
	late.quiet() // nothing is retained
	if n := s.metric(droppedNewest); n != 4 {
		t.Errorf("%v dropped", n)
	}
	s.kill()
	s.restart()
	full, ack := s.connectAs(codec.Version5, "full", resumed)
	if n := droppedTold(t, ack); n != 4 {
		t.Errorf("%d told", n)
	}
	full.expectRange(0, 2)
}

// TestWillBeyondRetained: a Will for which there is no room among the retained
// messages still reaches who is subscribed, and the log says what it is not.
func TestWillBeyondRetained(t *testing.T) { timeless(t, testWillBeyondRetained) }

func testWillBeyondRetained(t *testing.T) {
	s := newFixtureWith(t, func(o *broker.Options) { o.MaxRetainedMessages = 1 })
	on := s.connectV5("on", nil)
	on.subscribeOne("w/#", 2)
	pub := s.connectV5("pub", nil)
	pub.sendPublish(codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View("kept"), Payload: codec.View("x")})
	pub.acked(codec.TypePuback)
	for qos := range codec.QoS(3) {
		topic := fmt.Sprint("w/", qos)
		s.dying(codec.Version5, qos, topic)
		if qos > 0 {
			on.expectWill(topic, qos)
		} else if m := on.receive(); string(m.Topic) != topic {
			t.Errorf("%s in place of the Will %s", m.Topic, topic)
		}
	}
	r := s.waitLog("a Will Message was published, but not retained: a limit of retained messages is reached")
	if r["topic"] != "w/0" {
		t.Errorf("logged %v", r)
	}
	late := s.connectV5("late", nil)
	late.subscribeOne("w/#", 0)
	late.quiet()
}

// TestDroppedIsTold: a client that resumes its session learns how many messages
// it will not get, once, and as far as it can take the answer.
func TestDroppedIsTold(t *testing.T) {
	for _, policy := range []string{"drop-oldest", "drop-newest"} {
		t.Run(policy, func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				s := newFixtureWith(t, func(o *broker.Options) { o.QueuePolicy, o.MaxQueuedMessages = policy, 3 })
				s.absent("sub", "t")
				pub := s.connectV5("pub", nil)
				// resume drops n messages and connects.
				resume := func(n int, change func(*codec.Connect)) (*peer, codec.Connack) {
					t.Helper()
					pub.publishRange("t", 0, 3+n, 10)
					p, ack := s.connectAs(codec.Version5, "sub", func(c *codec.Connect) {
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
				pub.publishRange("t", 0, 8, 10)
				s.stop()
				s.restart()
				pub = s.connectV5("pub", nil)
				pub.publishRange("t", 0, 1, 10)
				eventually(t, "the oldest is read, and dropped", func() bool { return s.metric("promptmq_queued_messages") == 3 })
				if _, ack := s.connectAs(codec.Version5, "sub", resumed); droppedTold(t, ack) != 6 {
					t.Errorf("%d over a restart", droppedTold(t, ack))
				}
				if _, ack := s.connectAs(codec.Version5, "sub", nil); droppedTold(t, ack) != -1 {
					t.Errorf("%d of a session that has ended", droppedTold(t, ack))
				}
			})
		})
	}
}

// TestRejectWithoutMember: with reject, a message that no member of a Shared
// Subscription can get is dropped for that one alone, and all others get it.
func TestRejectWithoutMember(t *testing.T) { timeless(t, testRejectWithoutMember) }

func testRejectWithoutMember(t *testing.T) {
	s := newFixtureWith(t, func(o *broker.Options) { o.QueuePolicy = "reject" })
	member := s.connectV5("member", lasting)
	member.subscribeOne("$share/g/a", 0) // its Session keeps no QoS 0 messages while it is away
	member.leave(nil)
	on := s.connectV5("on", nil)
	on.subscribeOne("a", 1)
	pub := s.connectV5("pub", nil)
	pub.publishRange("a", 0, 3, 10)
	on.expectRange(0, 3)
	if r := pub.publish2(7, "a", "3", false); r != codec.Success {
		t.Errorf("PUBREC %v", r)
	}
	on.expectRange(3, 4)
	pub.sendPublish(codec.Publish{QoS: 1, PacketID: 8, Retain: true, Topic: codec.View("a"), Payload: codec.View("4")})
	if r := pub.acked(codec.TypePuback).Reason; r != codec.Success {
		t.Errorf("PUBACK of a retained message: %v", r)
	}
	on.expectRange(4, 5)
	if n := s.metric(`promptmq_messages_dropped_total{reason="no_member"}`); n != 5 {
		t.Errorf("%v dropped for want of a member", n)
	}
}
