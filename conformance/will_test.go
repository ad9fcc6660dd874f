package conformance

import (
	"fmt"
	"slices"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// will gives a CONNECT a Will Message; changes may alter it.
func will(topic, payload string, changes ...func(*codec.Will)) func(*codec.Connect) {
	return func(c *codec.Connect) {
		c.HasWill, c.Will = true, codec.Will{Topic: codec.View(topic), Payload: codec.View(payload)}
		for _, change := range changes {
			change(&c.Will)
		}
	}
}

// keepsSession makes a CONNECT ask for a session that outlives the connection
// for that many seconds, so that a Will Delay Interval can pass.
func keepsSession(id string, seconds uint32) func(*codec.Connect) {
	return func(c *codec.Connect) {
		c.ClientID, c.HasSessionExpiry, c.SessionExpirySeconds = codec.View(id), true, seconds
	}
}

// Will Messages, sections 3.1.2.5 to 3.1.2.7, 3.1.3.2 and 3.14.4.
var willTests = []test{
	{"will/network-drops", "3.1.2-7 3.1.2-8", "3.1.2-8", func(t *T) {
		watch, topic := t.watch(0)
		t.connect(will(topic, "gone")).drop()
		watch.expect("gone")
	}},
	{"will/each-qos", "3.1.2-12", "3.1.2-14", func(t *T) {
		t.needQoS(2)
		watch, topic := t.watch(2)
		for q := range codec.QoS(3) {
			t.connect(will(topic, fmt.Sprint(q), func(w *codec.Will) { w.QoS = q })).drop()
			if m := watch.expect(fmt.Sprint(q)); m.qos != q {
				t.Errorf("%v, the Will has QoS %d", m, q)
			}
		}
	}},
	{"will/protocol-error", "3.1.2-8", "3.1.2-8", func(t *T) {
		watch, topic := t.watch(0)
		p := t.connect(will(topic, "broke the protocol"))
		p.append(codec.AppendConnect(nil, &p.connect, p.version))
		p.closed()
		watch.expect("broke the protocol")
	}},
	{"will/takeover", "3.1.2-8", "3.1.2-8", func(t *T) {
		watch, topic := t.watch(0)
		id := t.clientID()
		as := func(c *codec.Connect) { c.ClientID = codec.View(id) }
		t.connect(as, will(topic, "taken over"))
		t.connect(as)
		watch.expect("taken over")
	}},
	{"will/disconnect-with-will", "3.1.2-8", "", func(t *T) {
		watch, topic := t.watch(0)
		t.connect(will(topic, "asked for")).disconnect(func(d *codec.Disconnect) { d.Reason = codec.DisconnectWithWill })
		watch.expect("asked for")
	}},
	{"will/normal-disconnect", "3.14.4-3 3.1.2-10", "3.14.4-3 3.1.2-10", func(t *T) {
		watch, topic := t.watch(0)
		t.connect(will(topic, "must not come")).disconnect()
		watch.quiet()
	}},
	{"will/once", "3.1.2-10", "3.1.2-10", func(t *T) {
		watch, topic := t.watch(0)
		id := t.clientID()
		t.connect(t.durable(id), will(topic, "once")).drop()
		watch.expect("once")
		t.connect(t.durable(id)).drop() // the same session, without a Will
		watch.quiet()
		t.connect(t.durable(id)).disconnect()
		watch.quiet()
	}},
	{"will/none", "3.1.2-8", "3.1.2-12", func(t *T) {
		// The Will of an earlier connection, which was thrown away, is not that of
		// a later one without.
		watch, topic := t.watch(0)
		id := t.clientID()
		t.connect(t.durable(id), will(topic, "of the first")).disconnect()
		t.connect(t.durable(id)).drop()
		t.connect(t.durable(id)).isOpen() // the drop is processed
		watch.quiet()
	}},
	{"will/not-retained", "3.1.2-14", "3.1.2-16", func(t *T) {
		watch, topic := t.watch(0)
		t.connect(will(topic, "not kept")).drop()
		watch.expect("not kept")
		late := t.connect()
		late.subscribe(sub(topic, 0))
		late.quiet()
	}},
	{"will/retained", "3.1.2-15", "3.1.2-17", func(t *T) {
		t.needRetain()
		watch, topic := t.watch(0)
		t.Cleanup(func() { t.unretain(topic) })
		t.connect(will(topic, "kept", func(w *codec.Will) { w.Retain = true })).drop()
		watch.expect("kept")
		late := t.connect()
		late.subscribe(sub(topic, 0))
		if m := late.expect("kept"); !m.retain {
			t.Errorf("%v", m)
		}
	}},
	{"will/properties", "3.1.3-10 3.3.2-4 3.3.2-15 3.3.2-16 3.3.2-20", "", func(t *T) {
		watch, topic := t.watch(0)
		want := rich()
		t.connect(will(topic, "rich", func(w *codec.Will) { w.Forward = want.forward() })).drop()
		want.compare(t, watch.expect("rich"))
	}},
	{"will/delay", "3.1.2-8", "", func(t *T) {
		t.inTime(func(seconds uint32) bool {
			watch, topic := t.watch(0)
			p, other := t.connect(keepsSession(t.clientID(), 300), will(topic, "delayed", func(w *codec.Will) { w.DelaySeconds = seconds })),
				t.connect(keepsSession(t.clientID(), 300), will(topic, "at once"))
			dropped := time.Now()
			p.drop()
			other.drop()
			for _, want := range []string{"at once", "delayed"} {
				got, waited := watch.take(), time.Since(dropped)
				if got.payload == "delayed" && waited < lifetime(seconds) {
					t.Fatalf("a Will with a delay of %d seconds comes after %v", seconds, waited)
				}
				if got.payload != want {
					return false
				}
			}
			return true
		})
	}},
	{"will/delay-until-session-ends", "3.1.2-8", "", func(t *T) {
		watch, topic := t.watch(0)
		t.connect(keepsSession(t.clientID(), 1), will(topic, "session over", func(w *codec.Will) { w.DelaySeconds = 3600 })).drop()
		watch.expect("session over")
		// A session that ends with its connection does not wait either.
		t.connect(will(topic, "no session", func(w *codec.Will) { w.DelaySeconds = 3600 })).drop()
		watch.expect("no session")
		// Clean Start ends the session, and the wait with it.
		id := t.clientID()
		t.connect(keepsSession(id, 60), will(topic, "clean", func(w *codec.Will) { w.DelaySeconds = 3600 })).drop()
		t.connect(keepsSession(id, 60), clean).disconnect(func(d *codec.Disconnect) { d.HasSessionExpiry = true })
		watch.expect("clean")
	}},
	{"will/back-before-delay", "3.1.3-9", "", func(t *T) {
		t.inTime(func(seconds uint32) bool {
			watch, topic := t.watch(0)
			id := t.clientID()
			p := t.connect(keepsSession(id, 300), will(topic, "must not come", func(w *codec.Will) { w.DelaySeconds = seconds }))
			dropped := time.Now()
			p.drop()
			p = t.connect(keepsSession(id, 300), will(topic, "second", func(w *codec.Will) { w.DelaySeconds = seconds + 1 }), resume)
			defer t.forget(id)
			if time.Since(dropped) >= lifetime(seconds) {
				return false
			}
			p.drop()
			watch.expect("second") // due a second after the first was
			return true
		})
	}},
	{"will/takeover-with-delay", "3.1.3-9", "", func(t *T) {
		watch, topic := t.watch(0)
		id := t.clientID()
		first := t.connect(keepsSession(id, 60), will(topic, "must not come", func(w *codec.Will) { w.DelaySeconds = 1 }))
		second := t.connect(keepsSession(id, 60), resume)
		first.closed(codec.SessionTakenOver)
		mark := t.connect(keepsSession(t.clientID(), 60), will(topic, "mark", func(w *codec.Will) { w.DelaySeconds = 2 }))
		mark.drop()
		watch.expect("mark")
		second.disconnect()
		t.forget(id)
	}},
	{"will/topic-with-wildcard", "3.1.4-2 3.3.2-2", "3.2.2-6 3.3.2-2", func(t *T) {
		for _, topic := range []string{"conformance/+", "conformance/#", "#"} {
			t.refusesWill(topic)
		}
	}},
	{"will/empty-topic", "4.7.3-1", "3.2.2-6 4.7.3-1", func(t *T) {
		t.refusesWill("")
	}},
}

// refusesWill checks that the broker does not accept a Will on that topic; before
// MQTT 5 no return code tells why.
func (t *T) refusesWill(topic string) {
	t.Helper()
	t.refuses(t.rawConnect(flagClean|flagWill, field(t.clientID()), t.properties(), field(topic), field("x")),
		codec.TopicNameInvalid, codec.MalformedPacket, codec.ProtocolError)
}

// resume makes a CONNECT take up the session it finds.
func resume(c *codec.Connect) { c.CleanStart = false }

// watch connects a subscriber to a new topic, on which Wills are to come.
func (t *T) watch(qos codec.QoS) (*peer, string) {
	t.Helper()
	p, topic := t.connect(), t.topic()
	p.subscribe(sub(topic, qos))
	return p, topic
}

// properties that a server must hand on as they are.
type forwarded struct {
	format                             byte
	contentType, response, correlation string
	user                               [][2]string
}

// rich has every one of them, with what a server could be tempted to change:
// names twice, out of order, empty, and a U+FEFF in front.
func rich() forwarded {
	return forwarded{1, "text/plain; charset=utf-8", "conformance/answer/\uFEFFhere", "\x00\x01\xFF binary", [][2]string{
		{"z", "1"}, {"a", "2"}, {"z", "3"}, {"", ""}, {"a", "2"}, {"\uFEFFname", "\uFEFFvalue"}, {"名", "前"},
	}}
}

func (f forwarded) forward() codec.Forward {
	b := codec.AppendPayloadFormat(nil, f.format)
	b = codec.AppendContentType(b, []byte(f.contentType))
	b = codec.AppendResponseTopic(b, []byte(f.response))
	b = codec.AppendCorrelationData(b, []byte(f.correlation))
	for _, u := range f.user {
		b = codec.AppendUserProperty(b, []byte(u[0]), []byte(u[1]))
	}
	return codec.ForwardBytes(b)
}

func (f forwarded) compare(t *T, m *message) {
	t.Helper()
	if m.format != int(f.format) {
		t.Errorf("Payload Format Indicator %d, was %d", m.format, f.format) // [MQTT-3.3.2-4]
	}
	if string(m.contentType) != f.contentType {
		t.Errorf("Content Type %q, was %q", m.contentType, f.contentType) // [MQTT-3.3.2-20]
	}
	if string(m.responseTopic) != f.response {
		t.Errorf("Response Topic %q, was %q", m.responseTopic, f.response) // [MQTT-3.3.2-15]
	}
	if string(m.correlation) != f.correlation {
		t.Errorf("Correlation Data %q, was %q", m.correlation, f.correlation) // [MQTT-3.3.2-16]
	}
	if !slices.Equal(m.user, f.user) {
		t.Errorf("User Properties %q, were %q", m.user, f.user) // [MQTT-3.3.2-17] [MQTT-3.3.2-18]
	}
}
