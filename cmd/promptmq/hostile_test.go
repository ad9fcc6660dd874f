package main

import (
	"net"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// openers is how many goroutines at most wait for the next connection, however many there were.
const openers = 16

// TestHostile sends over TCP what no client should, of which package broker tests
// all. A bystander goes on, the process keeps no memory and no goroutine for it, and
// no panic is recovered (the harness asks when the broker stops).
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

	bystander.publish(codec.Publish{Topic: codec.View("safe")})
	bystander.receive()
	eventually(t, "nothing is left of the others", func() bool {
		return s.metric("promptmq_connections_current") == 1 && s.metric("promptmq_sessions") == 1 &&
			s.metric("promptmq_system_goroutines") <= goroutines+openers+5 // idle connections of this test's HTTP client
	})
}

// TestCrowdBeforeConnect: many that connect and say nothing keep nobody out and
// leave nothing behind.
func TestCrowdBeforeConnect(t *testing.T) {
	t.Parallel()
	s := start(t, "server: {connect-timeout: 5s}\nmqtt: {max-connections: 2}")
	before := s.metric("promptmq_system_goroutines")
	crowd := make([]net.Conn, 300)
	for i := range crowd {
		crowd[i] = dialTCP(t, []string{s.mqtt, s.ws}[i/2%2])
		defer crowd[i].Close()
		if i%2 == 0 {
			if _, err := crowd[i].Write([]byte{0x10, 0xFF, 0xFF, 0x3F, 0}); err != nil {
				t.Fatal(err)
			}
		}
	}
	p := v5Of(t, s, "guest", nil)
	p.quiet()
	_ = p.Close()
	ws, _ := connectOver(t, dialWebSocket(t, s.ws), codec.Version5, "guest", nil)
	ws.quiet()
	_ = ws.Close()
	eventually(t, "the crowd is gone", func() bool {
		return s.metric("promptmq_connections_current") == 0 && s.metric("promptmq_system_goroutines") <= before+openers+5
	})
}

// TestPanicEndsOneConnection: a fault in the broker itself is counted and logged,
// and costs the connection that met it.
func TestPanicEndsOneConnection(t *testing.T) {
	t.Parallel()
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
