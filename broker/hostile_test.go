package broker_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// TestHostile sends what no client should. Each case ends its own connection at
// most: a bystander goes on, nothing is left behind, and no panic is recovered
// (the harness asks when the broker stops).
func TestHostile(t *testing.T) {
	for name, test := range map[string]func(t *testing.T, s *fixture){
		"before CONNECT":        hostileBeforeConnect,
		"after CONNECT":         hostileStates,
		"strings":               hostileStrings,
		"topics and properties": hostileTopics,
	} {
		t.Run(name, func(t *testing.T) {
			timeless(t, func(t *testing.T) {
				s := newFixtureWith(t)
				bystander := s.connectV5("bystander", nil)
				bystander.subscribeOne("safe", 0)
				test(t, s)
				bystander.sendPublish(codec.Publish{Topic: codec.View("safe")})
				bystander.receive()
				for _, c := range s.conns[1:] {
					_ = c.Close()
				}
				eventually(t, "nothing is left of the others", func() bool {
					return s.metric("promptmq_connections_current") == 1 && s.metric("promptmq_sessions") == 1
				})
			})
		})
	}
}

func hostileBeforeConnect(_ *testing.T, s *fixture) {
	for typ := range 16 {
		if codec.PacketType(typ) == codec.TypeConnect {
			continue
		}
		p := s.dialAs(codec.Version5)
		p.write([]byte{byte(typ) << 4, 0}, nil)
		p.closed(codec.Success) // its version is not known, so it gets no packet
	}
	for _, claim := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x10\xFF\xFF\xFF\x7F"} { // the second claims 256 MB
		p := s.dialAs(codec.Version5)
		p.write([]byte(claim), nil)
		p.closed(codec.Success)
	}
}

// hostileStates sends every packet type to a connected session.
func hostileStates(t *testing.T, s *fixture) {
	for _, c := range []struct {
		name   string
		packet []byte
		want   codec.ReasonCode // 0: it stays open
	}{
		{"type 0", []byte{0x00, 0}, codec.MalformedPacket},
		{"second CONNECT", []byte{0x10, 14, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 0, 0, 0, 1, 'x'}, codec.ProtocolError},
		{"CONNACK", []byte{0x20, 3, 0, 0, 0}, codec.ProtocolError},
		{"PUBACK of nothing", []byte{0x40, 2, 0, 9}, 0},
		{"PUBREC of nothing", []byte{0x50, 3, 0, 9, 0x80}, 0},
		{"PUBCOMP of nothing", []byte{0x70, 2, 0, 9}, 0},
		{"SUBACK", []byte{0x90, 4, 0, 1, 0, 0}, codec.ProtocolError},
		{"UNSUBACK", []byte{0xB0, 4, 0, 1, 0, 0}, codec.ProtocolError},
		{"PINGRESP", []byte{0xD0, 0}, codec.ProtocolError},
		{"AUTH", []byte{0xF0, 0}, codec.ProtocolError},
		{"flags of PUBREL", []byte{0x60, 2, 0, 1}, codec.MalformedPacket},
		{"flags of SUBSCRIBE", []byte{0x80, 6, 0, 1, 0, 0, 1, 'a'}, codec.MalformedPacket},
		{"QoS 3", []byte{0x36, 6, 0, 1, 'a', 0, 1, 0}, codec.MalformedPacket},
		{"five length bytes", []byte{0x30, 0x80, 0x80, 0x80, 0x80, 1}, codec.MalformedPacket},
		{"a Subscription Identifier", []byte{0x30, 6, 0, 1, 'a', 2, 0x0B, 1}, codec.ProtocolError},
		{"an unknown alias", []byte{0x30, 6, 0, 0, 3, 0x23, 0, 1}, codec.ProtocolError},
		{"$share without a filter", []byte{0x82, 13, 0, 1, 0, 0, 7, '$', 's', 'h', 'a', 'r', 'e', '/', 0}, codec.ProtocolError},
		{"a filter with # inside", []byte{0x82, 9, 0, 1, 0, 0, 3, '#', '/', 'a', 0}, codec.MalformedPacket},
	} {
		p := s.connectV5("state", nil)
		p.write(c.packet, nil)
		if c.want == 0 {
			p.quiet()
			continue
		}
		p.closed(c.want, c.name)
	}
	p := s.connectV5("state", nil)
	p.ack(codec.TypePubrel, 9)
	if a := p.acked(codec.TypePubcomp); a.Reason != codec.PacketIdentifierNotFound {
		t.Errorf("PUBREL of nothing: %v", a.Reason)
	}
}

// hostileStrings puts what is no UTF-8 Encoded String into every string field.
func hostileStrings(t *testing.T, s *fixture) {
	for _, bad := range []string{"\x00", "\xff", "\xed\xa0\x80", "\xc0\xaf"} {
		for name, change := range map[string]func(*codec.Connect){
			"client id":  func(c *codec.Connect) { c.ClientID = codec.View(bad) },
			"user name":  func(c *codec.Connect) { c.HasUserName, c.UserName = true, codec.View(bad) },
			"will topic": func(c *codec.Connect) { c.HasWill, c.Will.Topic = true, codec.View(bad) },
		} {
			_, ack := s.connectAs(codec.Version5, "strings", change)
			if ack.Reason != codec.MalformedPacket {
				t.Errorf("%s %q: %v", name, bad, ack.Reason)
			}
		}
		for name, send := range map[string]func(p *peer){
			"topic": func(p *peer) { p.sendPublish(codec.Publish{Topic: codec.View(bad)}) },
			"response topic": func(p *peer) {
				p.sendPublish(codec.Publish{Topic: codec.View("a"), Forward: codec.ForwardBytes(codec.AppendResponseTopic(nil, []byte(bad)))})
			},
			"user property": func(p *peer) {
				p.sendPublish(codec.Publish{Topic: codec.View("a"), Forward: codec.ForwardBytes(codec.AppendUserProperty(nil, []byte("k"), []byte(bad)))})
			},
			"filter": func(p *peer) {
				p.write(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, []codec.Subscription{{Filter: codec.View(bad)}}, codec.Version5))
			},
		} {
			p := s.connectV5("strings", nil)
			send(p)
			p.closed(codec.MalformedPacket, fmt.Sprintf("%s %q", name, bad))
		}
	}
}

func hostileTopics(t *testing.T, s *fixture) {
	p := s.connectV5("topics", nil)
	if r := p.publish1(1, strings.Repeat("/", 60000), ""); r != codec.TopicNameInvalid {
		t.Errorf("a deep topic: %v", r)
	}
	if r := p.subscribeOne(strings.Repeat("+/", 30000)+"#", 0); r != codec.TopicFilterInvalid {
		t.Errorf("a deep filter: %v", r)
	}
	for _, name := range []string{"__proto__", "a'; DROP TABLE session; --", "../../etc/passwd", "a\nb", "[", "%s%n", "$", "$x"} {
		p.subscribeOne(name, 0)
		p.sendPublish(codec.Publish{Topic: codec.View(name), Payload: codec.View("m")})
		if m := p.receive(); string(m.Topic) != name {
			t.Errorf("%q became %q", name, m.Topic)
		}
	}
	var flood []byte
	for range 1000 {
		flood = codec.AppendUserProperty(flood, []byte("k"), []byte("v"))
	}
	p.subscribeOne("flood", 0)
	p.sendPublish(codec.Publish{Topic: codec.View("flood"), Forward: codec.ForwardBytes(bytes.Repeat(flood, 60))}) // too many: dropped
	p.sendPublish(codec.Publish{Topic: codec.View("flood"), Forward: codec.ForwardBytes(flood)})
	m := p.receive()
	if m.Forward.Len() != len(flood) {
		t.Errorf("%d of %d bytes of properties", m.Forward.Len(), len(flood))
	}
}

// TestHostileIdentifiers: whatever a Client Identifier contains, it is one
// session of its own, also after a restart.
func TestHostileIdentifiers(t *testing.T) { timeless(t, testHostileIdentifiers) }

func testHostileIdentifiers(t *testing.T) {
	s := newFixtureWith(t)
	pieces := []string{"../", "'", "\"", "\n", "[", "-", "%", "+", "#", "/", "$", "\\", " ", "é", "\u202e", "\ufeff"}
	var ids []string
	for i := range 200 {
		ids = append(ids, fmt.Sprintf("%s%d%s", pieces[i%len(pieces)], i/len(pieces)/len(pieces), pieces[i/len(pieces)%len(pieces)]))
	}
	for i, id := range ids {
		p, ack := s.connectAs(codec.Version5, id, resumed)
		if ack.SessionPresent {
			t.Errorf("%q has the session of another", id)
		}
		p.subscribeOne(fmt.Sprint("mine/", i), 1)
		_ = p.Close()
	}
	pub := s.connectV5("publisher", nil)
	for i := range ids {
		pub.publish1(1, fmt.Sprint("mine/", i), fmt.Sprint(i))
	}
	s.kill()
	s.restart()
	for i, id := range ids {
		p, ack := s.connectAs(codec.Version5, id, resumed)
		if !ack.SessionPresent {
			t.Errorf("%q: the session is gone", id)
			continue
		}
		if m := p.receive(); string(m.Payload) != fmt.Sprint(i) {
			t.Errorf("%q got %q", id, m.Payload)
		}
		p.quiet()
		_ = p.Close()
	}
}
