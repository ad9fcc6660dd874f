package main

import (
	"fmt"
	"strings"

	"github.com/x0a1b/promptmq/codec"
)

// A scene is what a Mosquitto was told before it ended (TestOutsideImportState tells one),
// and what a broker has to say after the import.
type scene struct{ retained, sessions int }

// sceneExpiry is a Message and a Session Expiry Interval of more than a century, so that the
// files of testdata last.
const sceneExpiry = 4_000_000_000

// sceneInflight is max_inflight_messages of the Mosquitto.
const sceneInflight = 20

// A sceneMessage is a message as a client gets it.
type sceneMessage struct {
	topic, payload string
	qos            codec.QoS
	retain, dup    bool
	id             uint16 // 0: any
	subID          uint32
	forward        string // the properties, encoded
	expires        bool
}

// sceneProperties are of every fourth message.
func sceneProperties(i int) (forward []byte, expires bool) {
	if i%4 == 0 {
		forward = codec.AppendUserProperty(forward, []byte("n"), fmt.Append(nil, i))
		forward = codec.AppendContentType(forward, []byte("text/plain"))
		forward = codec.AppendCorrelationData(forward, []byte{0, 1, 0xFF, byte(i)})
		forward = codec.AppendResponseTopic(forward, []byte("answer/here"))
		forward = codec.AppendPayloadFormat(forward, 1)
	}
	return forward, i%5 == 0
}

// kept is the retained message i.
func (scene) kept(i int) sceneMessage {
	forward, expires := sceneProperties(i)
	return sceneMessage{
		topic: fmt.Sprintf("kept/%d/%d", i%10, i), payload: strings.Repeat("retained ", i%50+1), qos: codec.QoS(i % 3), retain: true,
		forward: string(forward), expires: expires,
	}
}

// A sceneClient is a client of the scene: a kind of session.
type sceneClient struct {
	id, user string
	version  codec.Version
	expiry   uint32 // of v5
	sub      codec.Subscription
	subID    uint32
	sent     int       // messages that it has got and not acknowledged
	released int       // of these it has sent PUBREC for
	sentQoS  codec.QoS // of these
	waiting  int       // messages queued while it was away
	arrives  bool      // it has sent a QoS 2 message, and no PUBREL
	gone     bool      // its session ends with its connection
}

func (c *sceneClient) topic() string { return "q/" + c.id }

// arrivalTopic is of what a client has sent without PUBREL; sceneReader reads it.
func (c *sceneClient) arrivalTopic() string { return "in/" + c.id }

const sceneReader = "client-007"

// client is the client i.
func (scene) client(i int) *sceneClient {
	c := &sceneClient{id: fmt.Sprintf("client-%03d", i), version: codec.Version5, expiry: sceneExpiry, waiting: 5}
	c.sub = codec.Subscription{QoS: 2}
	switch i % 10 {
	case 0:
		c.user, c.subID = "ann", uint32(100+i)
	case 1:
		c.version, c.sub.QoS = codec.Version311, 1
	case 2:
		c.version = codec.Version31
	case 3:
		c.expiry, c.sub.NoLocal, c.sub.RetainAsPublished, c.sub.RetainHandling = 0xFFFFFFFF, true, true, 2
	case 4:
		c.user, c.sent, c.sentQoS, c.waiting, c.sub.QoS = "bob", 3, 1, 2, 1
	case 5:
		c.sent, c.sentQoS, c.released = 4, 2, 2
	case 6:
		c.arrives, c.waiting = true, 1
	case 7:
		c.user, c.version = "eve", codec.Version311
	case 8:
		c.sent, c.sentQoS, c.waiting = sceneInflight, 2, 10
	case 9:
		c.gone, c.expiry, c.waiting = true, 0, 0
		if i%20 == 9 {
			c.version = codec.Version311
		}
	}
	c.sub.Filter = codec.View(c.topic())
	return c
}

// message is the message n for a client, as it gets it.
func (c *sceneClient) message(n int) sceneMessage {
	forward, expires := sceneProperties(n)
	if c.version != codec.Version5 {
		forward, expires = nil, false
	}
	return sceneMessage{
		topic: c.topic(), payload: fmt.Sprintf("%s:%d", c.id, n), qos: c.sub.QoS, forward: string(forward), expires: expires, subID: c.subID,
	}
}

// owed is what a client gets after the import: PUBREL for these, and then these messages.
func (s scene) owed(c *sceneClient) (released int, messages []sceneMessage) {
	for n := c.released; n < c.sent+c.waiting; n++ {
		m := c.message(n)
		if n < c.sent {
			m.dup, m.id = true, uint16(n+1)
		}
		messages = append(messages, m)
	}
	if c.id == sceneReader {
		for i := range s.sessions {
			if from := s.client(i); from.arrives {
				messages = append(messages, sceneMessage{topic: from.arrivalTopic(), payload: "from " + from.id, qos: 2})
			}
		}
	}
	return c.released, messages
}

// all are the retained messages, by Topic Name.
func (s scene) all() map[string]sceneMessage {
	all := make(map[string]sceneMessage)
	for i := range s.retained {
		m := s.kept(i)
		all[m.topic] = m
	}
	for i := range s.sessions {
		if c := s.client(i); c.arrives {
			all[c.arrivalTopic()] = sceneMessage{topic: c.arrivalTopic(), payload: "from " + c.id, qos: 2, retain: true}
		}
	}
	return all
}

// got is a message as it came.
func got(p *codec.Publish) sceneMessage {
	m := sceneMessage{
		topic: string(p.Topic), payload: string(p.Payload), qos: p.QoS, retain: p.Retain, dup: p.Dup, id: p.PacketID,
		forward: string(p.Forward.AppendTo(nil)), expires: p.HasMessageExpiry && p.MessageExpirySeconds > sceneExpiry-2_000_000_000,
	}
	if len(p.SubscriptionIDs) > 0 {
		m.subID = p.SubscriptionIDs[0]
	}
	return m
}

// connect is the CONNECT of a client.
func (c *sceneClient) connect(clean bool) func(*codec.Connect) {
	return func(p *codec.Connect) {
		p.CleanStart = clean
		p.HasUserName, p.UserName = c.user != "", codec.View(c.user)
		p.HasSessionExpiry, p.SessionExpirySeconds = c.version == codec.Version5, c.expiry
	}
}
