package broker_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// TestWrongStates311 sends each packet type to a connection of 3.1.1 and of 3.1:
// before CONNECT and after. No DISCONNECT exists for the broker to send.
func TestWrongStates311(t *testing.T) { timeless(t, testWrongStates311) }

func testWrongStates311(t *testing.T) {
	s := newFixtureWith(t)
	connect := []byte{0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, 1, 'x'}
	for _, c := range []struct {
		packet []byte
		stays  bool
	}{
		{connect, false},
		{[]byte{0x20, 2, 0, 0}, false},
		{[]byte{0x30, 3, 0, 1, 'a'}, true},
		{[]byte{0x40, 2, 0, 1}, true},
		{[]byte{0x50, 2, 0, 1}, true},
		{[]byte{0x62, 2, 0, 1}, true},
		{[]byte{0x70, 2, 0, 1}, true},
		{[]byte{0x82, 6, 0, 1, 0, 1, 'a', 0}, true},
		{[]byte{0x90, 3, 0, 1, 0}, false},
		{[]byte{0xA2, 5, 0, 1, 0, 1, 'a'}, true},
		{[]byte{0xB0, 2, 0, 1}, false},
		{[]byte{0xC0, 0}, true},
		{[]byte{0xD0, 0}, false},
		{[]byte{0xE0, 0}, false},
		{[]byte{0xF0, 0}, false},
	} {
		typ := codec.PacketType(c.packet[0] >> 4)
		for _, v := range []codec.Version{codec.Version311, codec.Version31} {
			what := fmt.Sprintf("%v to %v", typ, v)
			if typ != codec.TypeConnect {
				early := s.dialAs(v)
				early.write(c.packet, nil)
				early.closed(codec.Success, what)
			}
			p, _ := s.connectAs(v, "states", nil)
			p.write(c.packet, nil)
			if !c.stays {
				p.closed(codec.Success, what)
				continue
			}
			p.write(codec.AppendPingreq(nil), nil)
			for answered := false; !answered; {
				f, err := p.next()
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				answered = f.Type() == codec.TypePingresp
			}
		}
	}
}

// TestEveryCut sends each packet cut at each byte and goes away; and each in
// single bytes, which must be as good as whole.
func TestEveryCut(t *testing.T) { timeless(t, testEveryCut) }

func testEveryCut(t *testing.T) {
	s := newFixtureWith(t)
	var packets [][]byte
	add := func(b []byte, err error) {
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, b)
	}
	add(codec.AppendPublish(nil, &codec.Publish{QoS: 2, PacketID: 7, Topic: codec.View("cut/a"), Payload: codec.View("x"), Retain: true,
		Forward: codec.ForwardBytes(codec.AppendUserProperty(codec.AppendContentType(nil, []byte("c")), []byte("k"), []byte("v")))}, codec.Version5))
	add(codec.AppendAck(nil, &codec.Ack{Type: codec.TypePubrel, PacketID: 7}, codec.Version5))
	add(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1, SubscriptionID: 5}, []codec.Subscription{{Filter: codec.View("cut/#"), QoS: 1}}, codec.Version5))
	add(codec.AppendUnsubscribe(nil, &codec.Unsubscribe{PacketID: 2}, []codec.View{codec.View("cut/#")}, codec.Version5))
	add(codec.AppendPingreq(nil), nil)
	add(codec.AppendDisconnect(nil, &codec.Disconnect{Reason: codec.DisconnectWithWill, HasSessionExpiry: true}, codec.Version5))
	all := bytes.Join(packets, nil)
	connect, err := codec.AppendConnect(nil, &codec.Connect{ClientID: codec.View("cut"), CleanStart: true, RequestProblemInformation: true,
		HasWill: true, Will: codec.Will{Topic: codec.View("w"), Payload: codec.View("p")}, HasUserName: true, UserName: codec.View("u")}, codec.Version5)
	if err != nil {
		t.Fatal(err)
	}
	for cut := 1; cut < len(connect)+len(all); cut++ {
		p := s.dialAs(codec.Version5)
		b := append(bytes.Clone(connect), all...)[:cut]
		p.write(b, nil)
		_ = p.Close()
	}
	eventually(t, "the cut ones have come and are gone", func() bool {
		return s.metric("promptmq_connections_total") == float64(len(connect)+len(all)-1) && s.metric("promptmq_connections_current") == 0
	})
	p := s.dialAs(codec.Version5)
	bye := len(all) - len(packets[len(packets)-1])
	for _, b := range append(bytes.Clone(connect), all[:bye]...) {
		p.write([]byte{b}, nil)
	}
	var got []codec.PacketType
	for {
		f, err := p.next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("after %v: the connection stays open", got)
		}
		if err != nil {
			break
		}
		got = append(got, f.Type())
		if len(got) == 7 { // six answers and the retained message
			p.write(all[bye:], nil)
		}
	}
	count := make(map[codec.PacketType]int)
	for _, typ := range got {
		count[typ]++
	}
	for _, typ := range []codec.PacketType{codec.TypeConnack, codec.TypePubrec, codec.TypePubcomp, codec.TypeSuback, codec.TypeUnsuback, codec.TypePingresp} {
		if count[typ] != 1 {
			t.Errorf("%d %v in %v", count[typ], typ, got)
		}
	}
	eventually(t, "all is gone", func() bool {
		return s.metric("promptmq_connections_current") == 0 && s.metric("promptmq_sessions") == 0
	})
}

// TestHostileFields: string fields that TestHostile leaves out.
func TestHostileFields(t *testing.T) { timeless(t, testHostileFields) }

func testHostileFields(t *testing.T) {
	s := newFixtureWith(t)
	bystander := s.connectV5("bystander", nil)
	forward := func(b []byte) codec.Forward { return codec.ForwardBytes(b) }
	for _, bad := range []string{"\x00", "a\x00b", "\xff", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf4\x90\x80\x80", "\xc0\x80", "\xe2\x82"} {
		// The codec does not encode some of them, so they go over a good packet.
		marker := bytes.Repeat([]byte("Z"), len(bad))
		marked := codec.MakeUserProperties(codec.AppendUserProperty(nil, []byte("k"), marker))
		p := s.dialAs(codec.Version5)
		b, err := codec.AppendConnect(nil, &codec.Connect{ClientID: codec.View("fields"), CleanStart: true,
			RequestProblemInformation: true, UserProperties: marked}, codec.Version5)
		p.write(bytes.ReplaceAll(b, marker, []byte(bad)), err)
		p.closed(codec.MalformedPacket)
		for name, change := range map[string]func(*codec.Connect){
			"authentication method": func(c *codec.Connect) { c.HasAuthenticationMethod, c.AuthenticationMethod = true, codec.View(bad) },
			"will content type": func(c *codec.Connect) {
				c.HasWill, c.Will = true, codec.Will{Topic: codec.View("w"), Forward: forward(codec.AppendContentType(nil, []byte(bad)))}
			},
			"will response topic": func(c *codec.Connect) {
				c.HasWill, c.Will = true, codec.Will{Topic: codec.View("w"), Forward: forward(codec.AppendResponseTopic(nil, []byte(bad)))}
			},
			"will user property": func(c *codec.Connect) {
				c.HasWill, c.Will = true, codec.Will{Topic: codec.View("w"), Forward: forward(codec.AppendUserProperty(nil, []byte(bad), nil))}
			},
		} {
			if _, ack := s.connectAs(codec.Version5, "fields", change); ack.Reason != codec.MalformedPacket {
				t.Errorf("%s %q: %v", name, bad, ack.Reason)
			}
		}
		for name, send := range map[string]func(p *peer){
			"content type": func(p *peer) {
				p.sendPublish(codec.Publish{Topic: codec.View("a"), Forward: forward(codec.AppendContentType(nil, []byte(bad)))})
			},
			"name of a user property": func(p *peer) {
				p.sendPublish(codec.Publish{Topic: codec.View("a"), Forward: forward(codec.AppendUserProperty(nil, []byte(bad), nil))})
			},
			"user property of SUBSCRIBE": func(p *peer) {
				b, err := codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1, UserProperties: marked}, []codec.Subscription{{Filter: codec.View("a")}}, codec.Version5)
				p.write(bytes.ReplaceAll(b, marker, []byte(bad)), err)
			},
			"filter of UNSUBSCRIBE": func(p *peer) {
				p.write(codec.AppendUnsubscribe(nil, &codec.Unsubscribe{PacketID: 1}, []codec.View{codec.View(bad)}, codec.Version5))
			},
			"a share's filter": func(p *peer) {
				p.write(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, []codec.Subscription{{Filter: codec.View("$share/g/" + bad)}}, codec.Version5))
			},
			"reason string": func(p *peer) { // PUBACK 1 with a Reason String
				p.write(append([]byte{0x40, byte(7 + len(bad)), 0, 1, 0, byte(3 + len(bad)), 0x1F, 0, byte(len(bad))}, bad...), nil)
			},
		} {
			p := s.connectV5("fields", nil)
			send(p)
			p.closed(codec.MalformedPacket, fmt.Sprintf("%s %q", name, bad))
		}
		// Payloads, passwords and correlation data are any bytes.
		_, ack := s.connectAs(codec.Version5, "fields", func(c *codec.Connect) {
			c.HasUserName, c.HasPassword, c.Password = true, true, codec.View(bad)
			c.HasWill, c.Will = true, codec.Will{Topic: codec.View("w"), Payload: codec.View(bad)}
		})
		if ack.Reason != codec.Success {
			t.Errorf("password %q: %v", bad, ack.Reason)
		}
	}
	bystander.quiet()
}

// TestMalformedShares: a name without a filter, a filter without a name.
func TestMalformedShares(t *testing.T) { timeless(t, testMalformedShares) }

func testMalformedShares(t *testing.T) {
	s := newFixtureWith(t)
	for filter, want := range map[string]codec.ReasonCode{
		"$share":         codec.Success, // no share without the separator
		"$share/":        codec.ProtocolError,
		"$share//":       codec.ProtocolError,
		"$share//a":      codec.ProtocolError,
		"$share/g":       codec.ProtocolError,
		"$share/g/":      codec.ProtocolError,
		"$share/+/a":     codec.ProtocolError,
		"$share/g#/a":    codec.ProtocolError,
		"$share/g/a#":    codec.MalformedPacket,
		"$share/g/a+/b":  codec.MalformedPacket,
		"$share/g/#/b":   codec.MalformedPacket,
		"$share/g//a":    codec.Success, // the filter is "/a"
		"$share/g/+/#":   codec.Success,
		"$shared/g":      codec.Success, // no share at all
		"$SHARE/g/a":     codec.Success,
		"$share/ ' [/a":  codec.Success,
		"x/$share/g/a":   codec.Success,
		"$share/g/$SYS/": codec.Success,
	} {
		p := s.connectV5("shares", nil)
		if want != codec.Success {
			p.subscribe(1, filter, 0)
			p.closed(want, filter)
		} else if r := p.subscribeOne(filter, 0); r != want {
			t.Errorf("%s: %v", filter, r)
		}
	}
	p := s.connectV5("shares", nil)
	p.write(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, []codec.Subscription{{Filter: codec.View("$share/g/a"), NoLocal: true}}, codec.Version5))
	p.closed(codec.ProtocolError) // [MQTT-3.8.3-4]
}

// TestThousandIdentifiers: hostile Client Identifiers stay sessions of their
// own, with their own subscription and queue, also after a crash. The race
// detector sees some of them.
func TestThousandIdentifiers(t *testing.T) { timeless(t, testThousandIdentifiers) }

func testThousandIdentifiers(t *testing.T) {
	s := newFixtureWith(t)
	pieces := []string{"../", "..\\", "'", "\"", "\n", "\r", "\t", "[", "]", "{", "%00", "%", "+", "#", "/", "$", "\\", " ", "é", "e\u0301", "\u202e", "\ufeff", "auto-", "*", "?", ";--", "''", "\U0001F600", "a", "A", "1", "01"}
	const many = 1000 / raceSlowdown
	ids := make([]string, 0, many)
	for i := range many {
		ids = append(ids, pieces[i%32]+pieces[i/32%32])
	}
	ids[many-1] = strings.Repeat("x", 65535)
	seen := make(map[string]bool)
	for i, id := range ids {
		if seen[id] { // "''" is "'" twice
			ids[i] += "-"
			id = ids[i]
		}
		seen[id] = true
		p, ack := s.connectAs(codec.Version5, id, resumed)
		if ack.SessionPresent || ack.Reason != codec.Success {
			t.Errorf("%.30q: session present %v, %v", id, ack.SessionPresent, ack.Reason)
		}
		p.subscribeOne(fmt.Sprint("own/", i), 1)
		_ = p.Close()
	}
	pub := s.connectV5("the publisher", nil)
	for i := range ids {
		pub.publish1(1, fmt.Sprint("own/", i), fmt.Sprint(i))
	}
	s.kill()
	s.restart()
	if n := s.metric("promptmq_sessions"); n != many {
		t.Errorf("%v sessions", n)
	}
	for i, id := range ids {
		p, ack := s.connectAs(codec.Version5, id, resumed)
		if !ack.SessionPresent {
			t.Fatalf("%.30q: the session is gone", id)
		}
		m := p.receive()
		if string(m.Payload) != fmt.Sprint(i) {
			t.Errorf("%.30q got %q", id, m.Payload)
		}
		p.ack(codec.TypePuback, m.PacketID)
		p.quiet()
		_ = p.Close()
	}
}
