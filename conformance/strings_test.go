package conformance

import (
	"strings"

	"github.com/x0a1b/promptmq/codec"
)

// illFormed are strings that are no UTF-8 Encoded Strings of MQTT.
var illFormed = []string{
	"conformance/\xFF", "\x80", "a\xC0\xAFb", "\xE0\x80\x80", "\xF0\x80\x80\x80", "\xF4\x90\x80\x80", "\xC3",
	"\xED\xA0\x80", "\xED\xBF\xBF", "\xED\xA0\xBD\xED\xB8\x80", // surrogates, alone and in pairs
	"conformance/\x00", "\x00", // U+0000
}

// Sections 1.5 and 2: strings, integers, flags.
var stringTests = []test{
	{"string/topic-name", "1.5.4-1 1.5.4-2 3.3.2-1 4.7.3-2", "1.5.3-1 1.5.3-2 3.3.2-1 4.7.3-2", func(t *T) {
		for _, s := range illFormed {
			p := t.connect()
			p.send(frame(0x30, field(s), t.properties(), []byte("x"))...)
			p.closed(codec.MalformedPacket, codec.ProtocolError, codec.TopicNameInvalid)
		}
	}},
	{"string/topic-filter-null", "4.7.3-2 1.5.4-2", "4.7.3-2 1.5.3-2", func(t *T) {
		p := t.connect()
		p.send(frame(0x82, uint16Bytes(1), t.properties(), field("conformance/\x00/#"), []byte{0})...)
		p.closed(codec.MalformedPacket, codec.ProtocolError, codec.TopicFilterInvalid)
	}},
	{"string/client-id", "3.1.3-4 1.5.4-1 1.5.4-2", "3.1.3-4 1.5.3-1 1.5.3-2", func(t *T) {
		for _, s := range illFormed {
			t.refuses(t.rawConnect(flagClean, field(s)), codec.MalformedPacket, codec.ClientIdentifierNotValid, codec.ProtocolError)
		}
	}},
	{"string/will-topic", "3.1.3-11", "3.1.3-10", func(t *T) {
		for _, s := range illFormed {
			t.refuses(t.rawConnect(flagClean|flagWill, field(t.clientID()), t.properties(), field(s), field("x")), codec.MalformedPacket, codec.TopicNameInvalid, codec.ProtocolError)
		}
	}},
	{"string/user-name", "3.1.3-12", "3.1.3-11", func(t *T) {
		for _, s := range illFormed {
			t.refuses(t.rawConnect(flagClean|flagUserName, field(t.clientID()), field(s)), codec.MalformedPacket, codec.BadUserNameOrPassword, codec.ProtocolError)
		}
	}},
	{"string/user-property", "1.5.7-1", "", func(t *T) {
		for _, s := range illFormed {
			for _, property := range [][]byte{append(field(s), field("v")...), append(field("k"), field(s)...)} {
				p := t.connect()
				p.send(frame(0x30, field(t.topic()), t.properties([]byte{0x26}, property), []byte("x"))...)
				p.closed(codec.MalformedPacket, codec.ProtocolError)
			}
		}
	}},
	{"string/zero-width-no-break-space", "1.5.4-3", "1.5.3-3", func(t *T) {
		p := t.connect()
		topic := t.topic()
		p.subscribe(sub(topic+"/\uFEFFx", 0), sub("\uFEFF"+topic, 0))
		p.publish(topic+"/x", "without", 0)
		p.publish(topic, "without", 0)
		p.publish(topic+"/\uFEFFx", "inside", 0)
		p.publish("\uFEFF"+topic, "in front", 0)
		for _, m := range p.expectAll("inside", "in front") {
			if m.topic != map[string]string{"inside": topic + "/\uFEFFx", "in front": "\uFEFF" + topic}[m.payload] {
				t.Errorf("%v", m)
			}
		}
		p.quiet()
	}},
	{"string/client-id-zero-width-no-break-space", "1.5.4-3 3.1.3-2", "1.5.3-3 3.1.3-2", func(t *T) {
		id := t.clientID()
		p := t.tryConnect(t.durable(id))
		p.drop()
		q := t.tryConnect(t.durable("\uFEFF" + id))
		if q.connack.Reason == 0 && q.connack.SessionPresent {
			t.Errorf("%q and %q have the same session", id, "\uFEFF"+id)
		}
		if again := t.connect(t.durable(id)); !again.connack.SessionPresent {
			t.Errorf("the session of %q is gone", id)
		}
	}},
	{"integer/not-the-shortest-form", "1.5.5-1", "", func(t *T) {
		p := t.connect()
		p.send(0xC0, 0x80, 0x00) // Remaining Length 0 in two bytes
		p.closedOrServed()
		q := t.connect()
		body := append(field(t.topic()), 0x80, 0x00, 'x') // Property Length 0 in two bytes
		q.send(frame(0x30, body)...)
		q.closedOrServed()
	}},
	{"integer/own-are-the-shortest", "1.5.5-1 2.2.2-1", "", func(t *T) {
		p := t.connect()
		topic := t.topic()
		p.subscribe(sub(topic, 0))
		for _, n := range []int{0, 100, 127, 128, 129, 16000, 16383, 16384, 16385} {
			if limit := offered.packetBytesMax; limit == 0 || n+100 < int(limit) {
				p.publish(topic, strings.Repeat("x", n), 0) // the reader refuses a longer form
				p.expect(strings.Repeat("x", n))
			}
		}
	}},
	{"integer/too-long", "4.13.1-1", "4.8.0-1", func(t *T) {
		p := t.connect()
		p.send(0xC0, 0x80, 0x80, 0x80, 0x80, 0x01)
		p.closed(codec.MalformedPacket, codec.ProtocolError, codec.PacketTooLarge)
	}},
	{"packet/reserved-type-0", "4.13.1-1", "4.8.0-1", func(t *T) {
		p := t.connect()
		p.send(0x00, 0)
		p.closed(codec.MalformedPacket, codec.ProtocolError)
	}},
	{"packet/only-servers-send", "4.13.1-1", "4.8.0-1", func(t *T) {
		for _, b := range [][]byte{
			append([]byte{0x20}, append([]byte{byte(2 + len(t.properties()))}, append([]byte{0, 0}, t.properties()...)...)...),
			frame(0x90, uint16Bytes(1), t.properties(), []byte{0}),
			frame(0xB0, uint16Bytes(1), t.properties()),
			{0xD0, 0},
		} {
			p := t.connect()
			p.send(b...)
			p.closed(codec.MalformedPacket, codec.ProtocolError)
		}
	}},
	{"packet/auth-flags", "3.15.1-1 2.1.3-1", "", func(t *T) {
		for flags := byte(1); flags < 16; flags++ { // malformed, and no error of the protocol as AUTH itself would be
			p := t.connect()
			p.send(0xF0|flags, 0)
			p.closed(codec.MalformedPacket)
		}
	}},
	{"packet/auth-before-v5", "", "2.2.2-2 4.8.0-1", func(t *T) {
		p := t.connect()
		p.send(0xF0, 0)
		p.closed()
	}},
}

// closedOrServed checks that the broker either closes or goes on; nothing in
// between. A statement that binds the sender leaves that to the receiver.
func (p *peer) closedOrServed() {
	p.t.Helper()
	p.append(codec.AppendPingreq(nil), nil)
	for {
		got, err := p.read(soon())
		if err != nil {
			if p.why(err).Error() == "no answer" {
				p.t.Errorf("neither closed nor served")
			}
			return
		}
		if got.typ == codec.TypePingresp {
			return
		}
	}
}
