package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

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
func (k sessionKind) connect(t *testing.T, s *server, id string, will *codec.Will) *raw {
	t.Helper()
	p, ack := connectRaw(t, s.mqtt, k.version, id, func(c *codec.Connect) {
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

// reset closes the connection so that the server gets an error.
func (p *raw) reset() {
	_ = p.Conn.(*net.TCPConn).SetLinger(0)
	_ = p.Close()
}

// TestBeforeTakeover: what reached the Server on one connection of a Client counts,
// and comes before what the next one sends, however soon that connects.
func TestBeforeTakeover(t *testing.T) {
	s := start(t, "mqtt: {max-retained-messages: 1000}")
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

func testDisconnectBeforeTakeover(t *testing.T, s *server, kind sessionKind) {
	watcher := v5Of(t, s, "watcher", nil)
	watcher.subscribeOne("will/#", 1)
	for range 50 {
		p := kind.connect(t, s, "device", &codec.Will{Topic: codec.View("will/device"), Payload: codec.View("gone")})
		p.send(codec.AppendDisconnect(nil, &codec.Disconnect{}, kind.version))
		_ = p.Close()
	}
	p := kind.connect(t, s, "device", nil)
	watcher.quiet()
	_ = p.Close()
}

// testPublishBeforeTakeover: one message, and more than one read takes.
func testPublishBeforeTakeover(t *testing.T, s *server, kind sessionKind) {
	watcher := v5Of(t, s, "watcher", nil)
	watcher.subscribeOne("sent/#", 0)
	for round, n := range []int{1, 1, 1, 1, 1, 300, 300, 300, 300, 300} {
		p := kind.connect(t, s, "device", nil)
		var b []byte
		var err error
		for i := range n {
			b, err = codec.AppendPublish(b, &codec.Publish{Topic: codec.View("sent/x"),
				Payload: codec.View(fmt.Sprint(round, " ", i, strings.Repeat(" ", 150)))}, kind.version)
		}
		p.send(b, err)
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
func testOrderOverTakeover(t *testing.T, s *server, qos codec.QoS) {
	probe := v5Of(t, s, "probe", nil)
	for round := range 30 {
		topic := fmt.Sprint("order/", qos, "/", round)
		old := v5Of(t, s, "device", nil)
		var b []byte
		var err error
		for i := range 60 * (10 - 9*int(qos)) { // QoS 1 within the Receive Maximum
			b, err = codec.AppendPublish(b, &codec.Publish{Topic: codec.View(topic), Payload: codec.View("old"),
				Retain: true, QoS: qos, PacketID: uint16(i + 1)}, codec.Version5)
		}
		p := dialRaw(t, s.mqtt, codec.Version5)
		connect, connectErr := codec.AppendConnect(nil, &codec.Connect{ClientID: codec.View("device"), CleanStart: true}, codec.Version5)
		next, nextErr := codec.AppendPublish(connect, &codec.Publish{Topic: codec.View(topic), Payload: codec.View("new"),
			Retain: true, QoS: 1, PacketID: 1}, codec.Version5)
		old.send(b, err)
		p.send(next, errors.Join(connectErr, nextErr))
		p.expect(codec.TypeConnack, func(codec.Frame) error { return nil })
		p.ack(codec.TypePuback)
		old.closed(codec.SessionTakenOver)
		probe.subscribeOne(topic, 0)
		if m := probe.receive(); string(m.Payload) != "new" {
			t.Fatalf("round %d: %q is retained", round, m.Payload)
		}
	}
}

// TestWillBeforeReturn: the Will of a connection is published before the next
// CONNECT of its Client is accepted, however long that takes and whatever ended the
// connection: a device that is back at once has the last word.
func TestWillBeforeReturn(t *testing.T) {
	s := startBinary(t, controlBinary(t), []string{"BREAK_RULES=will-late"}, "")
	watcher := v5Of(t, s, "watcher", nil)
	watcher.subscribeOne("status/#", 1)
	for name, end := range map[string]func(p *raw){
		"closed":         func(p *raw) { _ = p.Close() },
		"half closed":    func(p *raw) { _ = p.Conn.(*net.TCPConn).CloseWrite() },
		"reset":          (*raw).reset,
		"protocol error": func(p *raw) { p.send(codec.AppendPingresp(nil), nil) },
		"DISCONNECT with Will": func(p *raw) {
			p.send(codec.AppendDisconnect(nil, &codec.Disconnect{Reason: codec.DisconnectWithWill}, codec.Version5))
		},
		"taken over": func(*raw) {},
		"Session expired": func(p *raw) {
			p.send(codec.AppendDisconnect(nil, &codec.Disconnect{
				Reason: codec.DisconnectWithWill, HasSessionExpiry: true, SessionExpirySeconds: 0}, codec.Version5))
		},
	} {
		for _, lasts := range []bool{false, true} {
			kind := sessionKind{codec.Version5, lasts}
			topic := codec.View(fmt.Sprint("status/", name, " ", lasts))
			p := kind.connect(t, s, "device", &codec.Will{Topic: topic, Payload: codec.View("offline"), QoS: 1, Retain: true})
			end(p)
			if name != "taken over" {
				eventually(t, "the connection ends", func() bool { return s.metric("promptmq_sessions_connected") == 1 })
			}
			p = kind.connect(t, s, "device", nil)
			p.publish(codec.Publish{Topic: topic, Payload: codec.View("online"), QoS: 1, PacketID: 1, Retain: true})
			p.ack(codec.TypePuback)
			for i, want := range []string{"offline", "online"} {
				m := watcher.receive()
				watcher.sendAck(codec.TypePuback, m.PacketID)
				if string(m.Topic) != string(topic) || string(m.Payload) != want {
					t.Errorf("%s, Session lasts %v: message %d is %q on %s", name, lasts, i, m.Payload, m.Topic)
				}
			}
			p.drop()
		}
	}
}

// TestRefusedWhileTakenOver: a QoS 2 PUBLISH that is refused while another
// connection of its Client comes leaves nothing in the Session, so that it is
// refused again when it is sent again, and not taken for one that was delivered.
func TestRefusedWhileTakenOver(t *testing.T) {
	s := startBinary(t, controlBinary(t), []string{"BREAK_RULES=refusal-late"}, "mqtt: {queue-policy: reject, max-queued-messages: 1}")
	absent := v5Of(t, s, "absent", lasting)
	absent.subscribeOne("full", 2)
	absent.drop()
	p := v5Of(t, s, "device", lasting)
	p.publish1(1, "full", "first")
	before := s.metric("promptmq_bytes_received_total")
	p.publish(codec.Publish{Topic: codec.View("full"), QoS: 2, PacketID: 2})
	eventually(t, "the PUBLISH comes", func() bool { return s.metric("promptmq_bytes_received_total") > before })
	p = v5Of(t, s, "device", resumed)
	if reason := p.publish2(2, "full", "", true); reason != codec.QuotaExceeded {
		t.Errorf("PUBREC %v", reason)
	}
}
