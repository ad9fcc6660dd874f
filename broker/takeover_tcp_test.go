package broker_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/codec"
)

// A sessionKind is how long Sessions last and in which version.
type sessionKind struct {
	version codec.Version
	lasts   bool
}

var sessionKinds = []sessionKind{{codec.Version5, false}, {codec.Version5, true}, {codec.Version311, false}, {codec.Version311, true}}

func (k sessionKind) String() string { return fmt.Sprintf("%v, lasts %v", k.version, k.lasts) }

// connect resumes a Session of this kind, with a Will if one is given.
func (k sessionKind) connect(t *testing.T, s *fixture, id string, will *codec.Will) *peer {
	t.Helper()
	p, ack := connectTCP(t, s, k.version, id, func(c *codec.Connect) {
		c.CleanStart = !k.lasts
		if k.lasts && k.version == codec.Version5 {
			c.HasSessionExpiry, c.SessionExpirySeconds = true, 300
		}
		if will != nil {
			c.HasWill, c.Will = true, *will
		}
	})
	if ack.Reason != codec.Success {
		t.Fatalf("CONNACK %v", ack.Reason)
	}
	return p
}

// TestBeforeTakeover: what reached the Server on one connection of a Client counts,
// and comes before what the next one sends, however soon that connects.
func TestBeforeTakeover(t *testing.T) {
	s := newListening(t, func(o *broker.Options) { o.MaxRetainedMessages = 1000 })
	for _, kind := range sessionKinds {
		t.Run(kind.String(), func(t *testing.T) {
			t.Run("DISCONNECT makes the Will void", func(t *testing.T) { testDisconnectBeforeTakeover(t, s, kind) })
			t.Run("PUBLISH arrives", func(t *testing.T) { testPublishBeforeTakeover(t, s, kind) })
		})
	}
	for qos := codec.QoS(0); qos <= 1; qos++ {
		t.Run(fmt.Sprintf("QoS %d in order", qos), func(t *testing.T) { testOrderOverTakeover(t, s, qos) })
	}
}

func testDisconnectBeforeTakeover(t *testing.T, s *fixture, kind sessionKind) {
	watcher := v5OverTCP(t, s, "watcher", nil)
	watcher.subscribeOne("will/#", 1)
	for range 50 {
		p := kind.connect(t, s, "device", &codec.Will{Topic: codec.View("will/device"), Payload: codec.View("gone")})
		p.write(codec.AppendDisconnect(nil, &codec.Disconnect{}, kind.version))
		_ = p.Close()
	}
	p := kind.connect(t, s, "device", nil)
	watcher.quiet()
	_ = p.Close()
}

// testPublishBeforeTakeover: one message, and more than one read takes.
func testPublishBeforeTakeover(t *testing.T, s *fixture, kind sessionKind) {
	watcher := v5OverTCP(t, s, "watcher", nil)
	watcher.subscribeOne("sent/#", 0)
	for round, n := range []int{1, 1, 1, 1, 1, 300, 300, 300, 300, 300} {
		p := kind.connect(t, s, "device", nil)
		var b []byte
		var err error
		for i := range n {
			b, err = codec.AppendPublish(b, &codec.Publish{Topic: codec.View("sent/x"),
				Payload: codec.View(fmt.Sprint(round, " ", i, strings.Repeat(" ", 150)))}, kind.version)
		}
		p.write(b, err)
		_ = p.Close()
		kind.connect(t, s, "device", nil)
		for i := range n {
			if m := watcher.receive(); !bytes.HasPrefix(m.Payload, fmt.Append(nil, round, " ", i, " ")) {
				t.Fatalf("round %d: %.10q in place of message %d", round, m.Payload, i)
			}
		}
	}
}

// testOrderOverTakeover: nothing of the old connection comes after what the new one
// has sent.
func testOrderOverTakeover(t *testing.T, s *fixture, qos codec.QoS) {
	probe := v5OverTCP(t, s, "probe", nil)
	for round := range 30 {
		topic := fmt.Sprint("order/", qos, "/", round)
		old := v5OverTCP(t, s, "device", nil)
		var b []byte
		var err error
		for i := range 60 * (10 - 9*int(qos)) { // QoS 1 within the Receive Maximum
			b, err = codec.AppendPublish(b, &codec.Publish{Topic: codec.View(topic), Payload: codec.View("old"),
				Retain: true, QoS: qos, PacketID: uint16(i + 1)}, codec.Version5)
		}
		p := dialPeer(t, s, codec.Version5)
		connect, connectErr := codec.AppendConnect(nil, &codec.Connect{ClientID: codec.View("device"), CleanStart: true}, codec.Version5)
		next, nextErr := codec.AppendPublish(connect, &codec.Publish{Topic: codec.View(topic), Payload: codec.View("new"),
			Retain: true, QoS: 1, PacketID: 1}, codec.Version5)
		old.write(b, err)
		p.write(next, errors.Join(connectErr, nextErr))
		p.expect(codec.TypeConnack)
		p.acked(codec.TypePuback)
		old.closed(codec.SessionTakenOver)
		probe.subscribeOne(topic, 0)
		if m := probe.receive(); string(m.Payload) != "new" {
			t.Fatalf("round %d: %q is retained", round, m.Payload)
		}
	}
}
