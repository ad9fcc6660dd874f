package broker_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/codec"
)

// What the settings tests of cmd/promptmq leave out: both sides of each limit, and
// limits that stand in the way of each other.

// limitTests are on a broker each.
var limitTests = map[string]struct {
	settings func(*broker.Options)
	test     func(t *testing.T, s *fixture)
}{
	"max-qos 0": {func(o *broker.Options) { o.MaxQoS = 0 }, func(t *testing.T, s *fixture) {
		p, ack := s.connectAs(codec.Version5, "p", nil)
		if !ack.HasMaximumQoS || ack.MaximumQoS != 0 {
			t.Errorf("Maximum QoS %d, %v", ack.MaximumQoS, ack.HasMaximumQoS)
		}
		if r := p.subscribeOne("t", 2); r != codec.Success {
			t.Errorf("granted %v", r)
		}
		old, _ := s.connectAs(codec.Version311, "old", nil)
		if r := old.subscribeOne("t", 1); r != codec.Success {
			t.Errorf("granted to 3.1.1: %v", r)
		}
		old.sendPublish(codec.Publish{QoS: 1, PacketID: 1, Topic: codec.View("t")})
		old.closed(codec.Success)
		p.quiet() // it was not routed
	}},
	"max-qos 2": {func(*broker.Options) {}, func(t *testing.T, s *fixture) {
		if _, ack := s.connectAs(codec.Version5, "p", nil); ack.HasMaximumQoS { // [MQTT-3.2.2-9]
			t.Errorf("Maximum QoS %d is sent", ack.MaximumQoS)
		}
	}},
	"max-connections and takeover": {func(o *broker.Options) { o.MaxConnections = 1 }, func(t *testing.T, s *fixture) {
		p := s.connectV5("p", lasting)
		q := s.connectV5("p", resumed) // in the place of the first
		p.closed(codec.SessionTakenOver)
		q.quiet()
		if _, ack := s.connectAs(codec.Version31, "q", nil); ack.Reason != codec.ServerUnavailable {
			t.Errorf("another with 3.1: %v", ack.Reason)
		}
	}},
	"max-inflight over the client's": {func(o *broker.Options) { o.MaxInflight = 3 }, func(t *testing.T, s *fixture) {
		for i, room := range map[uint16]int{1: 1, 2: 2, 3: 3, 65535: 3} {
			id := fmt.Sprint("sub", i)
			sub := s.connectV5(id, func(c *codec.Connect) { c.ReceiveMaximum = i })
			sub.subscribeOne(id, 2)
			pub := s.connectV5("pub", nil)
			for j := range uint16(5) {
				pub.publish2(1+j, id, "m", false)
				pub.release(1 + j)
			}
			first := sub.receive()
			for range room - 1 {
				sub.receive()
			}
			sub.quiet()
			sub.ack(codec.TypePubrec, first.PacketID) // PUBREC frees nothing, PUBCOMP does
			sub.acked(codec.TypePubrel)
			sub.quiet()
			sub.ack(codec.TypePubcomp, first.PacketID)
			sub.receive()
			sub.quiet()
		}
	}},
	"receive-maximum of mixed QoS": {func(o *broker.Options) { o.ReceiveMaximum = 3 }, func(t *testing.T, s *fixture) {
		p := s.connectV5("p", nil)
		p.publish2(1, "t", "m", false)
		p.publish2(2, "t", "m", false)
		for i := range uint16(10) { // an acknowledged QoS 1 message leaves room
			p.publish1(3+i, "t", "m")
		}
		for range 5 { // QoS 0 is not counted
			p.sendPublish(codec.Publish{Topic: codec.View("t")})
		}
		p.publish2(20, "t", "m", false)
		p.sendPublish(codec.Publish{QoS: 1, PacketID: 21, Topic: codec.View("t")})
		p.closed(codec.ReceiveMaximumExceeded)
	}},
	"keep-alive, asked for less": {func(o *broker.Options) { o.KeepAliveSeconds = 100 }, func(t *testing.T, s *fixture) {
		for ask, given := range map[uint16]bool{0: true, 1: false, 100: false, 101: true} {
			_, ack := s.connectAs(codec.Version5, fmt.Sprint(ask), func(c *codec.Connect) { c.KeepAliveSeconds = ask })
			if ack.HasServerKeepAlive != given || (given && ack.ServerKeepAliveSeconds != 100) {
				t.Errorf("asked for %d: given %v, %d", ask, ack.HasServerKeepAlive, ack.ServerKeepAliveSeconds)
			}
		}
	}},
	"no keep-alive": {func(*broker.Options) {}, func(t *testing.T, s *fixture) { // the default: a device that sleeps is not closed
		for _, ask := range []uint16{0, 61, 600, 65535} {
			if _, ack := s.connectAs(codec.Version5, "p", func(c *codec.Connect) { c.KeepAliveSeconds = ask }); ack.HasServerKeepAlive {
				t.Errorf("Server Keep Alive %d", ack.ServerKeepAliveSeconds)
			}
		}
		s.connectV5("silent", func(c *codec.Connect) { c.KeepAliveSeconds = 1 }).closed(codec.KeepAliveTimeout)
		if detail := s.waitLog("connection closed").text("detail"); !strings.HasSuffix(detail, "the Keep Alive of 1 s") {
			t.Errorf("logged %q", detail)
		}
	}},
	"retain-available and Wills": {func(o *broker.Options) { o.RetainAvailable = false }, func(t *testing.T, s *fixture) {
		_, ack := s.connectAs(codec.Version5, "p", func(c *codec.Connect) {
			c.HasWill, c.Will = true, codec.Will{Topic: codec.View("w"), Retain: true}
		})
		if ack.Reason != codec.RetainNotSupported { // [MQTT-3.2.2-13]
			t.Errorf("CONNACK %v", ack.Reason)
		}
		old, _ := s.connectAs(codec.Version311, "old", nil)
		old.sendPublish(codec.Publish{Topic: codec.View("t"), Retain: true})
		old.closed(codec.Success)
		if n := s.metric("promptmq_retained_messages"); n != 0 {
			t.Errorf("%v retained", n)
		}
	}},
	"wildcard-available and shares": {func(o *broker.Options) { o.WildcardAvailable = false }, func(t *testing.T, s *fixture) {
		p := s.connectV5("p", nil)
		for filter, want := range map[string]codec.ReasonCode{
			"#": codec.WildcardSubscriptionsNotSupported, "$share/g/a/#": codec.WildcardSubscriptionsNotSupported,
			"$share/g/a": codec.Success, "a": codec.Success,
		} {
			if r := p.subscribeOne(filter, 0); r != want {
				t.Errorf("%s: %v", filter, r)
			}
		}
		old, _ := s.connectAs(codec.Version311, "old", nil)
		if r := old.subscribeOne("a/+", 0); r != codec.UnspecifiedError { // 0x80, the only one of 3.1.1
			t.Errorf("3.1.1: %v", r)
		}
	}},
	"max-packet-size, exactly": {func(o *broker.Options) { o.MaxPacketSize = 2048 }, func(t *testing.T, s *fixture) {
		p := s.connectV5("p", nil)
		p.subscribeOne("t", 0)
		fits := codec.Publish{Topic: codec.View("t"), Payload: make([]byte, 2048-3-3-1)}
		if n := codec.PublishSize(&fits, codec.Version5); n != 2048 {
			t.Fatalf("%d bytes", n)
		}
		p.sendPublish(fits)
		p.receive()
		fits.Payload = make([]byte, len(fits.Payload)+1)
		p.sendPublish(fits)
		p.closed(codec.PacketTooLarge)
		big := s.dialAs(codec.Version5) // CONNECT too
		big.write(codec.AppendConnect(nil, &codec.Connect{ClientID: make(codec.View, 3000), CleanStart: true}, codec.Version5))
		big.closed(codec.Success)
	}},
	"topic-alias-maximum 0": {func(o *broker.Options) { o.TopicAliasMaximum = 0 }, func(t *testing.T, s *fixture) {
		p, ack := s.connectAs(codec.Version5, "p", func(c *codec.Connect) { c.TopicAliasMaximum = 10 })
		if ack.TopicAliasMaximum != 0 {
			t.Errorf("Topic Alias Maximum %d", ack.TopicAliasMaximum)
		}
		p.subscribeOne("t", 0)
		for range 2 {
			p.sendPublish(codec.Publish{Topic: codec.View("t")})
			if m := p.receive(); m.TopicAlias != 0 || len(m.Topic) == 0 {
				t.Errorf("alias %d", m.TopicAlias)
			}
		}
		p.sendPublish(codec.Publish{Topic: codec.View("t"), TopicAlias: 1})
		p.closed(codec.TopicAliasInvalid)
	}},
	"topic-alias-maximum outbound": {func(o *broker.Options) { o.TopicAliasMaximum = 2 }, func(t *testing.T, s *fixture) {
		p := s.connectV5("p", func(c *codec.Connect) { c.TopicAliasMaximum = 10 })
		p.subscribeOne("t/#", 0)
		for i, want := range []uint16{1, 2, 0, 0} {
			p.sendPublish(codec.Publish{Topic: codec.View(fmt.Sprint("t/", i))})
			if m := p.receive(); m.TopicAlias != want {
				t.Errorf("topic %d: alias %d", i, m.TopicAlias)
			}
		}
	}},
	"max-topic-levels everywhere": {func(o *broker.Options) { o.MaxTopicLevels = 3 }, func(t *testing.T, s *fixture) {
		_, ack := s.connectAs(codec.Version5, "w", func(c *codec.Connect) { c.HasWill, c.Will.Topic = true, codec.View("a/b/c/d") })
		if ack.Reason != codec.TopicNameInvalid {
			t.Errorf("a Will: %v", ack.Reason)
		}
		p := s.connectV5("p", nil)
		if r := p.subscribeOne("$share/g/a/b/c", 0); r != codec.Success { // the levels of the filter in it
			t.Errorf("a share of three: %v", r)
		}
		if r := p.subscribeOne("$share/g/a/b/c/d", 0); r != codec.TopicFilterInvalid {
			t.Errorf("a share of four: %v", r)
		}
		if r := p.publish2(1, "///", "", false); r != codec.TopicNameInvalid { // empty levels count
			t.Errorf("PUBREC %v", r)
		}
		old, _ := s.connectAs(codec.Version311, "old", nil)
		if r := old.subscribeOne("a/b/c/d", 0); r != codec.UnspecifiedError {
			t.Errorf("SUBACK of 3.1.1: %v", r)
		}
		old.sendPublish(codec.Publish{QoS: 1, PacketID: 1, Topic: codec.View("a/b/c/d")})
		old.closed(codec.Success)
	}},
	"max-subscriptions, removed and shared": {func(o *broker.Options) { o.MaxSubscriptions = 2 }, func(t *testing.T, s *fixture) {
		p := s.connectV5("p", lasting)
		p.subscribed(codec.Subscription{Filter: codec.View("a")}, codec.Subscription{Filter: codec.View("$share/g/a")})
		if r := p.subscribeOne("b", 0); r != codec.QuotaExceeded {
			t.Errorf("a third: %v", r)
		}
		_ = p.Close()
		p = s.connectV5("p", resumed)
		if r := p.subscribeOne("b", 0); r != codec.QuotaExceeded {
			t.Errorf("a third on another connection: %v", r)
		}
		p.write(codec.AppendUnsubscribe(nil, &codec.Unsubscribe{PacketID: 3}, []codec.View{codec.View("$share/g/a")}, codec.Version5))
		p.expect(codec.TypeUnsuback)
		if r := p.subscribeOne("b", 0); r != codec.Success {
			t.Errorf("in the place of one: %v", r)
		}
		if n := s.metric("promptmq_subscriptions"); n != 2 {
			t.Errorf("%v counted", n)
		}
		q := s.connectV5("q", nil) // each session has its own
		if r := q.subscribeOne("b", 0); r != codec.Success {
			t.Errorf("another session: %v", r)
		}
	}},
	"max-sessions, connected ones too": {func(o *broker.Options) { o.MaxSessions = 2 }, func(t *testing.T, s *fixture) {
		s.connectV5("a", nil)
		b := s.connectV5("b", nil)
		if _, ack := s.connectAs(codec.Version5, "c", nil); ack.Reason != codec.QuotaExceeded {
			t.Errorf("a third: %v", ack.Reason)
		}
		_ = b.Close()
		eventually(t, "there is room again", func() bool {
			_, ack := s.connectAs(codec.Version5, "c", nil)
			return ack.Reason == codec.Success
		})
	}},
	"max-queued-messages at QoS 2": {func(o *broker.Options) { o.QueuePolicy = "reject"; o.MaxQueuedMessages = 2 }, func(t *testing.T, s *fixture) {
		sub := s.connectV5("sub", lasting)
		sub.subscribeOne("t", 2)
		sub.drop()
		other := s.connectV5("other", nil)
		other.subscribeOne("t", 1)
		pub := s.connectV5("pub", lasting)
		for i := range uint16(2) {
			if r := pub.publish2(1+i, "t", "m", false); r != codec.Success {
				t.Errorf("PUBREC %v", r)
			}
			pub.release(1 + i)
			other.ack(codec.TypePuback, other.receive().PacketID)
		}
		if r := pub.publish2(9, "t", "refused", false); r != codec.QuotaExceeded {
			t.Errorf("PUBREC %v", r)
		}
		if r := pub.publish1(9, "t", "refused"); r != codec.QuotaExceeded { // the identifier is free again
			t.Errorf("PUBACK %v", r)
		}
		other.quiet() // nobody got it
		pub.sendPublish(codec.Publish{Topic: codec.View("t"), Payload: codec.View("QoS 0")})
		if m := other.receive(); string(m.Payload) != "QoS 0" {
			t.Errorf("%q", m.Payload)
		}
		s.kill() // full still after a restart
		s.restart()
		pub = s.connectV5("pub", resumed)
		if r := pub.publish1(9, "t", "refused"); r != codec.QuotaExceeded {
			t.Errorf("PUBACK after a restart: %v", r)
		}
		sub = s.connectV5("sub", resumed)
		for range 2 {
			sub.ack(codec.TypePubrec, sub.receive().PacketID)
		}
		for range 2 {
			sub.ack(codec.TypePubcomp, sub.acked(codec.TypePubrel).PacketID)
		}
		sub.quiet()
		if r := pub.publish2(9, "t", "taken", false); r != codec.Success {
			t.Errorf("PUBREC after draining: %v", r)
		}
	}},
	"max-queued-bytes of a session that ends with its connection": {func(o *broker.Options) { o.QueuePolicy = "reject"; o.MaxQueuedBytes = 65536; o.MaxInflight = 100 }, func(t *testing.T, s *fixture) {
		sub := s.connectV5("sub", nil) // it acknowledges nothing
		sub.subscribeOne("t", 1)
		pub := s.connectV5("pub", nil)
		taken := 0
		for taken < 100 && pub.publish1(1, "t", strings.Repeat("x", 2000)) == codec.Success {
			taken++
		}
		if taken < 30 || taken > 33 { // 65,536 bytes with about 100 for each message beside its payload
			t.Errorf("%d messages of 2,000 bytes were taken", taken)
		}
	}},
	"max-retained-bytes with properties": {func(o *broker.Options) { o.MaxRetainedBytes = 10000 }, func(t *testing.T, s *fixture) {
		p := s.connectV5("p", nil)
		property := codec.ForwardBytes(codec.AppendUserProperty(nil, []byte("k"), bytes.Repeat([]byte("v"), 12000)))
		p.sendPublish(codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View("t"), Payload: codec.View("x"), Forward: property})
		if r := p.acked(codec.TypePuback).Reason; r != codec.QuotaExceeded {
			t.Errorf("12,000 bytes of properties: %v", r)
		}
		p.sendPublish(codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View("t"), Payload: codec.View("x")})
		p.acked(codec.TypePuback)
		p.sendPublish(codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View("t"), Payload: codec.View("x"), Forward: property})
		if r := p.acked(codec.TypePuback).Reason; r != codec.QuotaExceeded {
			t.Errorf("in the place of a small one: %v", r)
		}
		if n := s.metric("promptmq_retained_bytes"); n == 0 || n > 10000 {
			t.Errorf("%v bytes retained", n)
		}
		s.kill() // counted alike after a restart
		s.restart()
		before := s.metric("promptmq_retained_bytes")
		if before == 0 || before > 10000 || s.metric("promptmq_retained_messages") != 1 {
			t.Errorf("%v bytes retained after a restart", before)
		}
	}},
	"max-retained-messages, expired": {func(o *broker.Options) { o.MaxRetainedMessages = 1 }, func(t *testing.T, s *fixture) {
		p := s.connectV5("p", nil)
		keep := func(topic string, seconds uint32) codec.ReasonCode {
			p.sendPublish(codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View(topic), Payload: codec.View("x"),
				HasMessageExpiry: seconds > 0, MessageExpirySeconds: seconds})
			return p.acked(codec.TypePuback).Reason
		}
		if r := keep("a", 100); r != codec.Success {
			t.Errorf("PUBACK %v", r)
		}
		time.Sleep(99 * time.Second)
		if r := keep("b", 0); r != codec.QuotaExceeded {
			t.Errorf("a second, while the first is there: %v", r)
		}
		time.Sleep(2 * time.Second)
		if r := keep("b", 0); r != codec.Success {
			t.Errorf("a second, in the place of the first: %v", r)
		}
	}},
	"write-timeout keeps what is queued": {func(o *broker.Options) { o.WriteTimeout = 300 * time.Millisecond }, func(t *testing.T, s *fixture) {
		stuck := s.dial() // which takes nothing that is not read
		stuck.sendConnect("stuck")
		stuck.expect(codec.TypeConnack)
		stuck.subscribed(codec.Subscription{Filter: codec.View("flood")}, codec.Subscription{Filter: codec.View("kept"), QoS: 1})
		pub := s.connectV5("pub", nil)
		payload := make([]byte, 64<<10)
		eventually(t, "the peer that takes nothing is closed", func() bool {
			for range 50 {
				pub.sendPublish(codec.Publish{Topic: codec.View("flood"), Payload: payload})
			}
			pub.quiet()
			return s.metric("promptmq_sessions_connected") == 1
		})
		if r := pub.publish1(1, "kept", "for later"); r != codec.Success {
			t.Errorf("PUBACK %v", r)
		}
		again := s.connectV5("stuck", resumed)
		if m := again.receive(); string(m.Payload) != "for later" {
			t.Errorf("%.30q", m.Payload)
		}
		again.quiet()
	}},
	// A packet over a slow link takes several times the read timeout, and its client's
	// Keep Alive, and has all the time.
	"read-timeout of a slow link": {func(o *broker.Options) { o.ReadTimeout = 3 * time.Second; o.ReadRateMin = 100 }, func(t *testing.T, s *fixture) {
		sub := s.connectV5("sub", nil)
		sub.subscribeOne("t", 0)
		p, _ := s.connectAs(codec.Version5, "slow", func(c *codec.Connect) { c.KeepAliveSeconds = 2 })
		packet, err := codec.AppendPublish(nil, &codec.Publish{QoS: 1, PacketID: 1, Topic: codec.View("t"), Payload: make([]byte, 40_000)}, codec.Version5)
		if err != nil {
			t.Fatal(err)
		}
		for ; len(packet) > 500; packet = packet[500:] {
			p.write(packet[:500], nil)
			time.Sleep(100 * time.Millisecond) // the link
		}
		p.write(packet, nil)
		p.expect(codec.TypePuback)
		if m := sub.receive(); len(m.Payload) != 40_000 {
			t.Errorf("%d bytes", len(m.Payload))
		}
	}},
	"read-timeout drop by drop": {func(o *broker.Options) { o.ReadTimeout = 3 * time.Second }, func(t *testing.T, s *fixture) {
		p := s.connectV5("p", nil)
		began := time.Now()
		p.write([]byte{0x30, 0x90, 3}, nil) // 400 bytes, one in 50 ms: 20 s in all
		for range 55 {
			time.Sleep(50 * time.Millisecond)
			p.write([]byte{0}, nil)
		}
		p.closed(codec.ProtocolError)
		if d := time.Since(began); d < 3*time.Second || d > 4*time.Second {
			t.Errorf("ended after %v", d)
		}
	}},
}

func TestLimits(t *testing.T) {
	for name, l := range limitTests {
		t.Run(name, func(t *testing.T) {
			timeless(t, func(t *testing.T) { l.test(t, newFixtureWith(t, l.settings)) })
		})
	}
}
