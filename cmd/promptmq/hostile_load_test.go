package main

import (
	"flag"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// long makes the tests of hostile load as hard as docs/security.md says; else they are short.
var long = flag.Bool("hostile.long", false, "hostile load in full")

// figure writes a line for `make prove`: they begin with a digit.
func figure(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Logf("%s", fmt.Sprintf(format, args...))
}

// honest connects, one connection after the other, until stop is closed, and returns how long
// each took to its CONNACK.
func honest(t *testing.T, s *server, stop <-chan struct{}) (took []time.Duration, failed int) {
	t.Helper()
	for i := 0; ; i++ {
		select {
		case <-stop:
			return took, failed
		default:
		}
		began := time.Now()
		if err := tryConnect(s.mqtt, fmt.Sprint("honest", i), clientSeconds*time.Second); err != nil {
			failed++
		}
		took = append(took, time.Since(began))
		time.Sleep(time.Millisecond)
	}
}

// tryConnect makes a connection, waits for a CONNACK of success, and closes.
func tryConnect(addr, id string, within time.Duration, changes ...func(*codec.Connect)) error {
	nc, err := net.DialTimeout("tcp", addr, within)
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	c := codec.Connect{ClientID: codec.View(id), CleanStart: true, ReceiveMaximum: 65535, RequestProblemInformation: true}
	for _, change := range changes {
		change(&c)
	}
	packet, err := codec.AppendConnect(nil, &c, codec.Version5)
	if err != nil {
		return err
	}
	if _, err := nc.Write(packet); err != nil {
		return err
	}
	answer := make([]byte, 4)
	if n, err := nc.Read(answer); err != nil || n < 4 || answer[0] != 0x20 || answer[3] != 0 {
		return fmt.Errorf("answered %x: %w", answer[:max(0, n)], err)
	}
	return nil
}

func percentile(d []time.Duration, p int) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(len(d)-1, len(d)*p/100)]
}

// beginnings are what hostile connections send, and nothing after it.
var beginnings = []struct {
	name  string
	ws    bool
	bytes []byte
}{
	{"half a CONNECT", false, []byte{0x10, 0xFF, 0x7F, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 60, 0, 0x40, 0}},
	{"a claimed length of 256 MB", false, []byte{0x10, 0xFF, 0xFF, 0xFF, 0x7F, 0, 4, 'M', 'Q', 'T', 'T', 5}},
	{"a claimed length of 1 MB, and 600 bytes", false, append([]byte{0x10, 0xC0, 0x84, 0x3D, 0, 4, 'M', 'Q', 'T', 'T', 5}, make([]byte, 600)...)},
	{"half a request of WebSocket", true, []byte("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nX: ")},
	{"half a CONNECT on a WebSocket", true, append([]byte("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"), 0x82, 0xFE, 0xFF, 0xFF, 0, 0, 0, 0, 0x10, 0xFF, 0x7F, 0, 4, 'M', 'Q', 'T', 'T', 5, 2)},
	{"a request without its body", true, []byte("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")},
	{"MQTT in place of a request", true, []byte{0x10, 0xFF, 0x7F, 0, 4, 'M', 'Q', 'T', 'T', 5}},
	{"half a ClientHello, in the clear", false, []byte{22, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3}},
	{"nothing", false, nil},
}

// hostileBytesMax is how much memory each connection that never ends what it began may take:
// 64 MiB are 5,000 of them.
const hostileBytesMax = 64 << 20 / 5000

// TestHostileConnections: many connections that begin something and never end it take little
// memory, keep nobody out, and are closed in time.
func TestHostileConnections(t *testing.T) {
	connections, timeout, slack := 2000, 3*time.Second, 16<<20 // of the process itself, and of honest CONNECT meanwhile
	if *long {
		connections, timeout, slack = 5000, 10*time.Second, 0
	}
	for _, how := range beginnings {
		t.Run(how.name, func(t *testing.T) {
			s := start(t, fmt.Sprintf("server: {connect-timeout: %v}", timeout))
			addr, listener := s.mqtt, "mqtt"
			if how.ws {
				addr, listener = s.ws, "websocket"
			}
			sockets := func() float64 { return s.metric(fmt.Sprintf("promptmq_listener_connections{listener=%q}", listener)) }
			stop := make(chan struct{})
			var took []time.Duration
			failed := 0
			var asking sync.WaitGroup
			asking.Go(func() { took, failed = honest(t, s, stop) })
			before := s.metric("promptmq_system_memory_usage")
			most := before
			for i := range connections {
				nc := dialTCP(t, addr)
				defer nc.Close()
				_, _ = nc.Write(how.bytes) // an error: it was refused at once
				if i%500 == 499 {
					most = max(most, s.metric("promptmq_system_memory_usage"))
				}
			}
			last, open := time.Now(), sockets()
			eventually(t, "all are closed", func() bool {
				most = max(most, s.metric("promptmq_system_memory_usage"))
				return sockets() <= 1 // the honest one
			})
			closed := time.Since(last)
			close(stop)
			asking.Wait()
			figure(t, "%d connections with %s (%.0f open at the end): %.1f MB more; %d honest CONNECT in %v at p99, %d refused; closed %v after the last",
				connections, how.name, open, (most-before)/1e6, len(took), percentile(took, 99).Round(time.Microsecond), failed, closed.Round(time.Millisecond))
			if failed > 0 {
				t.Errorf("%d honest CONNECT were refused", failed)
			}
			if limit := float64(hostileBytesMax*connections + slack); !raceDetector && most-before > limit { // which keeps several bytes for each
				t.Errorf("%.0f bytes more: at most %.0f", most-before, limit)
			}
			if *long && (percentile(took, 99) > 250*time.Millisecond || closed > timeout+2*time.Second) {
				t.Errorf("too late: %v for a CONNACK, %v to close", percentile(took, 99), closed)
			}
		})
	}
}
