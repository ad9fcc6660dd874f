package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// TestHostile sends what no client should. Each case ends its own connection at
// most: a bystander goes on, nothing is left behind, and no panic is recovered
// (the harness asks when the broker stops).
func TestHostile(t *testing.T) {
	s := start(t, "")
	bystander := v5Of(t, s, "bystander", nil)
	bystander.subscribeOne("safe", 0)
	goroutines := s.metric("promptmq_system_goroutines")

	t.Run("before CONNECT", func(t *testing.T) {
		for typ := range 16 {
			if codec.PacketType(typ) == codec.TypeConnect {
				continue
			}
			p := dialRaw(t, s.mqtt, codec.Version5)
			p.send([]byte{byte(typ) << 4, 0}, nil)
			p.closed(codec.Success) // its version is not known, so it gets no packet
		}
		p := dialRaw(t, s.mqtt, codec.Version5)
		p.send([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), nil)
		p.closed(codec.Success)
	})
	t.Run("after CONNECT", func(t *testing.T) { hostileStates(t, s) })
	t.Run("strings", func(t *testing.T) { hostileStrings(t, s) })
	t.Run("claimed lengths", func(t *testing.T) {
		before := s.metric("promptmq_system_memory_usage")
		var peers []*raw
		for i := range 200 {
			p := dialRaw(t, s.mqtt, codec.Version5)
			if i%2 == 0 {
				p.send([]byte{0x10, 0xFF, 0xFF, 0x3F, 0, 4, 'M', 'Q', 'T', 'T'}, nil) // within the Maximum Packet Size
			} else {
				p.send([]byte{0x10, 0xFF, 0xFF, 0xFF, 0x7F}, nil)
				p.closed(codec.Success)
			}
			peers = append(peers, p)
		}
		bystander.quiet()
		if grown := s.metric("promptmq_system_memory_usage") - before; grown > 16<<20 {
			t.Errorf("%.0f bytes more for 200 claims", grown)
		}
		for _, p := range peers {
			_ = p.Close()
		}
	})
	t.Run("topics and properties", func(t *testing.T) { hostileTopics(t, s) })

	bystander.publish(codec.Publish{Topic: codec.View("safe")})
	bystander.receive()
	eventually(t, "nothing is left of the others", func() bool {
		return s.metric("promptmq_connections_current") == 1 && s.metric("promptmq_sessions") == 1 &&
			s.metric("promptmq_system_goroutines") <= goroutines+5 // idle connections of this test's HTTP client
	})
}

// hostileStates sends every packet type to a connected session.
func hostileStates(t *testing.T, s *server) {
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
		p := v5Of(t, s, "state", nil)
		p.send(c.packet, nil)
		if c.want == 0 {
			p.quiet()
			continue
		}
		t.Run(c.name, func(t *testing.T) { p.t = t; p.closed(c.want) })
	}
	p := v5Of(t, s, "state", nil)
	p.sendAck(codec.TypePubrel, 9)
	if a := p.ack(codec.TypePubcomp); a.Reason != codec.PacketIdentifierNotFound {
		t.Errorf("PUBREL of nothing: %v", a.Reason)
	}
}

// hostileStrings puts what is no UTF-8 Encoded String into every string field.
func hostileStrings(t *testing.T, s *server) {
	for _, bad := range []string{"\x00", "\xff", "\xed\xa0\x80", "\xc0\xaf"} {
		for name, change := range map[string]func(*codec.Connect){
			"client id":  func(c *codec.Connect) { c.ClientID = codec.View(bad) },
			"user name":  func(c *codec.Connect) { c.HasUserName, c.UserName = true, codec.View(bad) },
			"will topic": func(c *codec.Connect) { c.HasWill, c.Will.Topic = true, codec.View(bad) },
		} {
			_, ack := connectRaw(t, s.mqtt, codec.Version5, "strings", change)
			if ack.Reason != codec.MalformedPacket {
				t.Errorf("%s %q: %v", name, bad, ack.Reason)
			}
		}
		for name, send := range map[string]func(p *raw){
			"topic": func(p *raw) { p.publish(codec.Publish{Topic: codec.View(bad)}) },
			"response topic": func(p *raw) {
				p.publish(codec.Publish{Topic: codec.View("a"), Forward: codec.ForwardBytes(codec.AppendResponseTopic(nil, []byte(bad)))})
			},
			"user property": func(p *raw) {
				p.publish(codec.Publish{Topic: codec.View("a"), Forward: codec.ForwardBytes(codec.AppendUserProperty(nil, []byte("k"), []byte(bad)))})
			},
			"filter": func(p *raw) {
				p.send(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, []codec.Subscription{{Filter: codec.View(bad)}}, codec.Version5))
			},
		} {
			p := v5Of(t, s, "strings", nil)
			send(p)
			t.Run(fmt.Sprintf("%s %q", name, bad), func(t *testing.T) { p.t = t; p.closed(codec.MalformedPacket) })
		}
	}
}

func hostileTopics(t *testing.T, s *server) {
	p := v5Of(t, s, "topics", nil)
	if r := p.publish1(1, strings.Repeat("/", 60000), ""); r != codec.TopicNameInvalid {
		t.Errorf("a deep topic: %v", r)
	}
	if r := p.subscribeOne(strings.Repeat("+/", 30000)+"#", 0); r != codec.TopicFilterInvalid {
		t.Errorf("a deep filter: %v", r)
	}
	for _, name := range []string{"__proto__", "a'; DROP TABLE session; --", "../../etc/passwd", "a\nb", "[", "%s%n", "$", "$x"} {
		p.subscribeOne(name, 0)
		p.publish(codec.Publish{Topic: codec.View(name), Payload: codec.View("m")})
		if m := p.receive(); string(m.Topic) != name {
			t.Errorf("%q became %q", name, m.Topic)
		}
	}
	var flood []byte
	for range 60000 {
		flood = codec.AppendUserProperty(flood, []byte("k"), []byte("v"))
	}
	p.subscribeOne("flood", 0)
	p.publish(codec.Publish{Topic: codec.View("flood"), Forward: codec.ForwardBytes(flood)})
	m := p.receive()
	if m.Forward.Len() != len(flood) {
		t.Errorf("%d of %d bytes of properties", m.Forward.Len(), len(flood))
	}
}

// TestHostileIdentifiers: whatever a Client Identifier contains, it is one
// session of its own, also after a restart.
func TestHostileIdentifiers(t *testing.T) {
	s := start(t, "")
	pieces := []string{"../", "'", "\"", "\n", "[", "-", "%", "+", "#", "/", "$", "\\", " ", "é", "\u202e", "\ufeff"}
	var ids []string
	for i := range 200 {
		ids = append(ids, fmt.Sprintf("%s%d%s", pieces[i%len(pieces)], i/len(pieces)/len(pieces), pieces[i/len(pieces)%len(pieces)]))
	}
	for i, id := range ids {
		p, ack := connectRaw(t, s.mqtt, codec.Version5, id, func(c *codec.Connect) { lasting(c); c.CleanStart = false })
		if ack.SessionPresent {
			t.Errorf("%q has the session of another", id)
		}
		p.subscribeOne(fmt.Sprint("mine/", i), 1)
		_ = p.Close()
	}
	pub := v5Of(t, s, "publisher", nil)
	for i := range ids {
		pub.publish1(1, fmt.Sprint("mine/", i), fmt.Sprint(i))
	}
	s.kill()
	s.restart()
	for i, id := range ids {
		p, ack := connectRaw(t, s.mqtt, codec.Version5, id, func(c *codec.Connect) { lasting(c); c.CleanStart = false })
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

// TestPanicEndsOneConnection: a fault in the broker itself is counted and logged,
// and costs the connection that met it.
func TestPanicEndsOneConnection(t *testing.T) {
	s := startBinary(t, controlBinary(t), []string{"BREAK_RULES=panic-on-publish"}, "")
	bystander := v5Of(t, s, "bystander", nil)
	p := v5Of(t, s, "unlucky", nil)
	p.publish(codec.Publish{Topic: codec.View("t")})
	p.closed(codec.Success)
	bystander.quiet()
	again := v5Of(t, s, "unlucky", nil)
	again.quiet()
	if n := s.metric("promptmq_panics_total"); n != 1 {
		t.Errorf("%v panics counted", n)
	}
	if s.waitLog("panic").text("client") != "unlucky" {
		t.Error("the log does not say whose")
	}
	s.kill() // stop would complain of the panic
}
