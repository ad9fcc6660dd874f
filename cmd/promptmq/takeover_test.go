package main

import (
	"fmt"
	"net"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// reset closes the connection so that the server gets an error.
func (p *raw) reset() {
	_ = p.Conn.(*net.TCPConn).SetLinger(0)
	_ = p.Close()
}

// TestWillBeforeReturn: the Will of a connection is published before the next
// CONNECT of its Client is accepted, however long that takes and whatever ended the
// connection: a device that is back at once has the last word.
func TestWillBeforeReturn(t *testing.T) {
	t.Parallel()
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
			change := func(c *codec.Connect) {
				if c.CleanStart = !lasts; lasts {
					c.HasSessionExpiry, c.SessionExpirySeconds = true, 300
				}
			}
			topic := codec.View(fmt.Sprint("status/", name, " ", lasts))
			p := v5Of(t, s, "device", func(c *codec.Connect) {
				change(c)
				c.HasWill, c.Will = true, codec.Will{Topic: topic, Payload: codec.View("offline"), QoS: 1, Retain: true}
			})
			end(p)
			if name != "taken over" {
				eventually(t, "the connection ends", func() bool { return s.metric("promptmq_sessions_connected") == 1 })
			}
			p = v5Of(t, s, "device", change)
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
	t.Parallel()
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
