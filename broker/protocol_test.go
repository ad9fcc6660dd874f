package broker_test

import (
	"fmt"
	"testing"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/codec"
)

// TestManyUnderWay: a client that keeps no count of its messages is told no
// Receive Maximum and served, and what it has under way survives a kill: each
// message is known again, whichever identifiers the client takes.
func TestManyUnderWay(t *testing.T) { timeless(t, testManyUnderWay) }

func testManyUnderWay(t *testing.T) {
	const n = 3000
	s := newFixtureWith(t)
	watch := s.connectV5("watch", func(c *codec.Connect) { lasting(c); c.ReceiveMaximum = 1 })
	watch.subscribeOne("under/way", 1)
	_ = watch.Close()
	for how, id := range map[string]func(int) uint16{
		"counting":   func(i int) uint16 { return uint16(60_000+i)%65535 + 1 },
		"every 21st": func(i int) uint16 { return uint16(21*i) + 1 },
	} {
		p, ack := s.connectAs(codec.Version5, how, lasting)
		if ack.ReceiveMaximum != 0 {
			t.Fatalf("CONNACK has the Receive Maximum %d", ack.ReceiveMaximum)
		}
		burst := func(dup bool) {
			var b []byte
			for i := range n {
				var err error
				b, err = codec.AppendPublish(b, &codec.Publish{QoS: 2, Dup: dup, PacketID: id(i), Topic: codec.View("under/way"), Payload: codec.View(how)}, p.v)
				if err != nil {
					t.Fatal(err)
				}
			}
			go func() { _, _ = p.Write(b) }() // what it answers is read meanwhile
			for i := range n {
				if ack := p.acked(codec.TypePubrec); ack.PacketID != id(i) || ack.Reason >= 0x80 {
					t.Fatalf("%s: PUBREC %d of %d is for %d, %v", how, i, n, ack.PacketID, ack.Reason)
				}
			}
		}
		burst(false)
		s.kill()
		s.restart()
		p = s.connectV5(how, resumed)
		burst(true) // the same messages
		for i := range n {
			p.ack(codec.TypePubrel, id(i))
		}
		for i := range n {
			if ack := p.acked(codec.TypePubcomp); ack.PacketID != id(i) || ack.Reason != codec.Success {
				t.Fatalf("%s: PUBCOMP %d of %d is for %d, %v", how, i, n, ack.PacketID, ack.Reason)
			}
		}
	}
	if got := s.metric("promptmq_queued_messages"); got != 2*n {
		t.Errorf("%v messages are queued, of %d that were published once each", got, 2*n)
	}
}

// TestReceiveMaximumIsNamed: where a limit is set, the log says which client does
// not keep to it and what to change, once however often it comes back.
func TestReceiveMaximumIsNamed(t *testing.T) { timeless(t, testReceiveMaximumIsNamed) }

func testReceiveMaximumIsNamed(t *testing.T) {
	s := newFixtureWith(t, func(o *broker.Options) { o.ReceiveMaximum = 3 })
	for range 3 {
		p := s.connectV5("careless", nil)
		for i := range uint16(4) {
			p.sendPublish(codec.Publish{QoS: 2, PacketID: 1 + i, Topic: codec.View("t")})
		}
		p.closed(codec.ReceiveMaximumExceeded)
	}
	s.stop()
	var lines []string
	for _, r := range s.journal.all() {
		if r.text("key") == "mqtt.receive-maximum" && r["left_out"] == nil {
			lines = append(lines, fmt.Sprint(r.text("level"), " ", r.text("client"), " ", r["receive_maximum"]))
		}
	}
	if len(lines) != 1 || lines[0] != "WARN careless 3" {
		t.Errorf("the log has %q", lines)
	}
}

// TestInvalidAliasIsNamed: the log says which client uses which alias, for some
// send what only an alias names again after each reconnect.
func TestInvalidAliasIsNamed(t *testing.T) { timeless(t, testInvalidAliasIsNamed) }

func testInvalidAliasIsNamed(t *testing.T) {
	s := newFixtureWith(t, func(o *broker.Options) { o.TopicAliasMaximum = 8 })
	for id, c := range map[string]struct {
		alias  uint16
		topic  string
		reason codec.ReasonCode
	}{
		"paho": {7, "", codec.ProtocolError},
		"high": {9, "t", codec.TopicAliasInvalid},
	} {
		p := s.connectV5(id, nil)
		p.sendPublish(codec.Publish{QoS: 1, PacketID: 1, Dup: true, Topic: codec.View(c.topic), TopicAlias: c.alias})
		p.closed(c.reason)
	}
	s.stop()
	said := map[string]string{}
	for _, r := range s.journal.all() {
		if r.text("msg") == "connection closed" {
			said[r.text("client")] = r.text("detail")
		}
	}
	if said["paho"] != "the Topic Alias 7 is not set on this connection" || said["high"] != "the Topic Alias 9 exceeds the Topic Alias Maximum of 8" {
		t.Errorf("the log says %q", said)
	}
}
