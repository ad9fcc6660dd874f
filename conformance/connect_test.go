package conformance

import (
	"slices"
	"strings"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// Section 3.1, CONNECT.
var connectTests = slices.Concat(connectFormatTests, connackTests)

const printable = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

var connectFormatTests = []test{
	{"connect/first-packet", "3.1.0-1 3.14.0-1", "3.1.0-1 4.8.0-1", func(t *T) {
		for _, b := range [][]byte{
			codec.AppendPingreq(nil),
			frame(0x30, field(t.topic()), t.properties(), []byte("early")),
			frame(0x82, uint16Bytes(1), t.properties(), field(t.topic()), []byte{0}),
			{0xE0, 0},
		} {
			p := t.dial()
			p.send(b...)
			p.closed()
		}
	}},
	{"connect/second-connect", "3.1.0-2 3.2.0-2", "3.1.0-2 4.8.0-1", func(t *T) {
		p := t.connect()
		p.append(codec.AppendConnect(nil, &p.connect, p.version))
		p.closed(codec.ProtocolError)
	}},
	{"connect/protocol-name", "3.1.2-1 4.13.2-1", "3.1.2-1", func(t *T) {
		for _, name := range []string{"MQTX", "mqtt", "MQTTT", ""} {
			p := t.dial()
			p.send(t.rawConnectAs(name, t.level(), flagClean, field(t.clientID()))...)
			p.closedAnyhow()
		}
	}},
	{"connect/protocol-version", "3.1.2-2 3.2.2-7", "3.1.2-2 3.2.2-4 3.2.2-5", func(t *T) {
		for _, level := range []byte{0, 2, 6, 255} {
			p := t.dial()
			p.send(t.rawConnectAs("MQTT", level, flagClean, field(t.clientID()))...)
			if !t.v5() && level < 5 { // who asks for an older level is answered as 3.1.1 says
				if got := p.next(); got.typ != codec.TypeConnack || len(got.body) != 2 || got.body[1] != 1 {
					t.Errorf("level %d: %v % x, expected CONNACK with return code 1", level, got.typ, got.body)
				}
				p.end()
				continue
			}
			p.version = 0 // the answer may be in any version
			p.closedAnyhow()
		}
	}},
	{"connect/newer-protocol-version", beyond, "", func(t *T) {
		// A client of what comes after 5 knows 5, and not return code 1 of 3.1.1. The
		// highest bit is that of bridges, which do know it.
		for _, level := range []byte{6, 7, 99, 255} {
			p := t.dial()
			p.send(t.rawConnectAs("MQTT", level, flagClean, field(t.clientID()))...)
			if got := p.next(); got.typ != codec.TypeConnack || got.connack.Reason != codec.UnsupportedProtocolVersion {
				t.Errorf("level %d: %v % x, expected CONNACK with 0x84", level, got.typ, got.body)
			}
			p.end()
		}
	}},
	{"connect/reserved-flag", "3.1.2-3 3.1.4-1", "3.1.2-3 3.1.4-1 3.2.2-6", func(t *T) {
		t.refuses(t.rawConnect(flagClean|flagReserved, field(t.clientID())), codec.MalformedPacket, codec.ProtocolError)
	}},
	{"connect/fixed-header-flags", "2.1.3-1 3.1.4-1", "2.2.2-1 2.2.2-2", func(t *T) {
		for flags := byte(1); flags < 16; flags++ {
			b := t.rawConnect(flagClean, field(t.clientID()))
			b[0] |= flags
			t.refuses(b, codec.MalformedPacket, codec.ProtocolError)
		}
	}},
	{"connect/cut-short", "3.1.4-1", "3.1.4-1", func(t *T) {
		whole := t.rawConnect(flagClean|flagUserName|flagPassword, field(t.clientID()), field("user"), field("word"))[2:]
		for n := range len(whole) {
			p := t.dial()
			p.send(append([]byte{0x10, byte(n)}, whole[:n]...)...)
			p.closedAnyhow()
		}
	}},
	{"connect/too-long", "3.1.4-1", "3.1.4-1", func(t *T) {
		t.refuses(t.rawConnect(flagClean, field(t.clientID()), []byte("more")), codec.MalformedPacket, codec.ProtocolError)
	}},
	{"connect/no-will-but-flags", "3.1.2-11 3.1.2-13", "3.1.2-11 3.1.2-13 3.1.2-15", func(t *T) {
		for _, flags := range []byte{flagWillQoS1, flagWillQoS2, flagWillRetain, flagWillRetain | flagWillQoS1} {
			t.refuses(t.rawConnect(flagClean|flags, field(t.clientID())), codec.MalformedPacket, codec.ProtocolError)
		}
	}},
	{"connect/will-qos", "3.1.2-12", "3.1.2-14", func(t *T) {
		will := []([]byte){field(t.clientID()), t.properties(), field(t.topic()), field("gone")}
		t.refuses(t.rawConnect(flagClean|flagWill|flagWillQoS1|flagWillQoS2, will...), codec.MalformedPacket, codec.ProtocolError)
		for q, flags := range []byte{0, flagWillQoS1, flagWillQoS2} {
			if offered.qos >= codec.QoS(q) {
				t.accepts(t.rawConnect(flagClean|flagWill|flags, will...)).disconnect()
			}
		}
	}},
	{"connect/will-fields-missing", "3.1.2-9", "3.1.2-9", func(t *T) {
		t.refuses(t.rawConnect(flagClean|flagWill, field(t.clientID())), codec.MalformedPacket, codec.ProtocolError)
		t.refuses(t.rawConnect(flagClean|flagWill, field(t.clientID()), t.properties(), field(t.topic())), codec.MalformedPacket, codec.ProtocolError)
	}},
	{"connect/user-name-and-password-flags", "3.1.2-16 3.1.2-17 3.1.2-18 3.1.2-19", "3.1.2-18 3.1.2-19 3.1.2-20 3.1.2-21", func(t *T) {
		id := field(t.clientID())
		for _, b := range [][]byte{
			t.rawConnect(flagClean, id, field("user")),                               // a User Name without its flag
			t.rawConnect(flagClean|flagUserName, id),                                 // the flag without a User Name
			t.rawConnect(flagClean|flagUserName, id, field("user"), field("pass")),   // a Password without its flag
			t.rawConnect(flagClean|flagUserName|flagPassword, id, field("user")),     // the flag without a Password
			t.rawConnect(flagClean|flagUserName|flagPassword, id, field("user")[:3]), // cut
		} {
			t.refuses(b, codec.MalformedPacket, codec.ProtocolError)
		}
	}},
	{"connect/password-without-user-name", "", "3.1.2-22", func(t *T) {
		t.refuses(t.rawConnect(flagClean|flagPassword, field(t.clientID()), field("pass")))
	}},
	{"connect/payload-order", "3.1.3-3", "3.1.3-1 3.1.3-3", func(t *T) {
		// Will and credentials are found where they belong, behind a Client
		// Identifier that is there.
		watch := t.connect()
		topic := t.topic()
		watch.subscribe(sub(topic, 0))
		p := t.accepts(t.rawConnect(flagClean|flagWill, field(t.clientID()), t.properties(), field(topic), field("will of the third field")))
		p.drop()
		watch.expect("will of the third field")
		t.refuses(t.rawConnect(flagClean), codec.MalformedPacket, codec.ProtocolError) // no Payload at all
	}},
	{"connect/client-id-characters", "3.1.3-5", "3.1.3-5", func(t *T) {
		for n := 1; n <= 23; n++ {
			id := unique("")[:min(n, 12)]
			id += printable[len(printable)-(n-len(id)):]
			p := t.connect(func(c *codec.Connect) { c.ClientID = codec.View(id) })
			p.disconnect()
		}
		for i := range printable {
			id := printable[i:i+1] + unique("")[:11] + printable[i:min(i+5, len(printable))]
			t.connect(func(c *codec.Connect) { c.ClientID = codec.View(id) }).disconnect()
		}
	}},
	{"connect/client-id-rejected", "3.1.3-8", "3.1.3-9", func(t *T) {
		// A server may take or refuse any of these; one that refuses says so as
		// asked, and closes.
		for _, id := range []string{" ", "a/b", "a+#", "$SYS", strings.Repeat("x", 300), strings.Repeat("y", 60000), "名前"} {
			p, said := t.refused(func(c *codec.Connect) { c.ClientID = codec.View(id + unique("")) })
			if said && p.connack.Reason == 0 {
				p.disconnect()
				continue
			}
			if said && p.connack.Reason != codec.ClientIdentifierNotValid || !said && !t.v5() {
				t.Errorf("%q is refused with %v, CONNACK: %v", clip(id), p.connack.Reason, said)
			}
			p.closedAnyhow()
		}
	}},
	{"connect/empty-client-id", "3.1.3-6 3.1.3-7 3.2.2-16", "3.1.3-6", func(t *T) {
		seen := map[string]bool{}
		for range 3 {
			p := t.tryConnect(func(c *codec.Connect) { c.ClientID = codec.View("") })
			if p.connack.Reason == codec.ClientIdentifierNotValid {
				t.NotOffered("empty Client Identifiers")
			}
			if !t.v5() {
				p.quiet() // it is served; 3.1.1 has no way to tell the identifier
				continue
			}
			id := string(p.connack.AssignedClientID)
			if id == "" || seen[id] {
				t.Fatalf("Assigned Client Identifier %q, after %v", id, seen)
			}
			seen[id] = true
			// The identifier is the session's: who brings it takes the session over.
			t.connect(func(c *codec.Connect) { c.ClientID = codec.View(id) })
			p.closed(codec.SessionTakenOver)
		}
	}},
	{"connect/empty-client-id-keeps-session", "3.1.3-7", "", func(t *T) {
		first := t.tryConnect(func(c *codec.Connect) {
			c.ClientID, c.CleanStart, c.HasSessionExpiry, c.SessionExpirySeconds = codec.View(""), false, true, 300
		})
		if first.connack.Reason == codec.ClientIdentifierNotValid {
			t.NotOffered("empty Client Identifiers")
		}
		id := string(first.connack.AssignedClientID)
		first.drop()
		if again := t.connect(t.durable(id)); !again.connack.SessionPresent {
			t.Errorf("the session of the Assigned Client Identifier %q is gone", id)
		}
	}},
	{"connect/empty-client-id-durable", "", "3.1.3-8", func(t *T) {
		p := t.dial()
		p.send(t.rawConnect(0, field(""))...)
		if got := p.next(); got.typ != codec.TypeConnack || got.body[1] != 2 {
			t.Errorf("%v % x, expected return code 2", got.typ, got.body)
		}
		p.end()
	}},
	{"connect/no-data-after-refusal", "3.1.4-6", "3.1.4-5", func(t *T) {
		watch := t.connect()
		topic := t.topic()
		watch.subscribe(sub(topic, 0))
		publish := frame(0x30, field(topic), t.properties(), []byte("smuggled"))
		refused := [][]byte{
			t.rawConnectAs("MQTT", 77, flagClean, field(t.clientID())),
			t.rawConnect(flagClean|flagReserved, field(t.clientID())),
		}
		if t.v5() {
			c := t.newConnect()
			c.HasAuthenticationMethod, c.AuthenticationMethod = true, codec.View("no such method")
			b, _ := codec.AppendConnect(nil, &c, t.version)
			refused = append(refused, b)
		}
		for _, b := range refused {
			p := t.dial()
			p.send(append(b, publish...)...)
			p.closedAnyhow()
		}
		watch.quiet()
	}},
	{"connect/data-before-connack", "3.1.4-5 3.2.0-1", "3.1.4-4 3.2.0-1", func(t *T) {
		// A client need not wait for CONNACK; CONNACK comes first all the same.
		p := t.dial()
		topic := t.topic()
		c := t.newConnect()
		b, _ := codec.AppendConnect(nil, &c, t.version)
		subs := []codec.Subscription{sub(topic, 0)}
		b, _ = codec.AppendSubscribe(b, &codec.Subscribe{PacketID: 3}, subs, t.version)
		b, _ = codec.AppendPublish(b, &codec.Publish{Topic: codec.View(topic), Payload: codec.View("quick")}, t.version)
		p.connect, p.filters[topic] = c, true
		p.send(b...)
		if got := p.next(); got.typ != codec.TypeConnack || got.connack.Reason != 0 {
			t.Fatalf("%v comes first", got)
		}
		p.await(codec.TypeSuback)
		p.expect("quick")
	}},
	{"connect/authentication-method", "4.12.0-1 4.12.0-4 3.1.4-2", "", func(t *T) {
		p, said := t.refused(func(c *codec.Connect) {
			c.HasAuthenticationMethod, c.AuthenticationMethod = true, codec.View("no such method")
		})
		if said && p.connack.Reason != codec.BadAuthenticationMethod && p.connack.Reason != codec.NotAuthorized {
			t.Errorf("an unknown Authentication Method is answered with %v", p.connack.Reason)
		}
		p.closedAnyhow()
	}},
	{"connect/no-authentication-method", "4.12.0-6 4.12.0-7", "", func(t *T) {
		p := t.connect() // inspect fails on an AUTH from the broker
		if p.connack.HasAuthenticationMethod {
			t.Errorf("CONNACK has the Authentication Method %q, CONNECT had none", p.connack.AuthenticationMethod)
		}
		p.append(codec.AppendAuth(nil, &codec.Auth{Reason: codec.ReAuthenticate, HasAuthenticationMethod: true, AuthenticationMethod: codec.View("x")}, p.version))
		p.closed(codec.ProtocolError, codec.MalformedPacket, codec.ImplementationSpecificError, codec.BadAuthenticationMethod)
	}},
}

// closedAnyhow checks that the broker closes; what it says before is not looked
// at, for the peer cannot know the version of the answer.
func (p *peer) closedAnyhow() {
	p.t.Helper()
	deadline := soon()
	buf := make([]byte, 512)
	for {
		if err := p.net.SetReadDeadline(deadline); err != nil {
			return
		}
		if _, err := p.net.Read(buf); err != nil {
			if time.Now().After(deadline) {
				p.t.Fatalf("the broker leaves the connection open after %s", hex(p.sent))
			}
			return
		}
	}
}
