package main

import (
	"bytes"
	"crypto/tls"
	be "encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// upgrade makes a WebSocket of a connection, by hand, and returns the answer.
func upgrade(t *testing.T, s *server, lines ...string) (net.Conn, *http.Response) {
	t.Helper()
	nc := dialTCP(t, s.ws)
	t.Cleanup(func() { _ = nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(clientSeconds * time.Second)); err != nil {
		t.Fatal(err)
	}
	head := append([]string{
		"GET / HTTP/1.1", "Host: " + s.ws, "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: mqtt",
	}, lines...)
	if _, err := io.WriteString(nc, strings.Join(head, "\r\n")+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp := &http.Response{Header: http.Header{}}
	var answer []byte
	for one := make([]byte, 1); !bytes.HasSuffix(answer, []byte("\r\n\r\n")); answer = append(answer, one[0]) {
		if _, err := nc.Read(one); err != nil {
			t.Fatalf("%s: %v", answer, err)
		}
	}
	status, rest, _ := strings.Cut(string(answer), "\r\n")
	if _, err := fmt.Sscanf(status, "HTTP/1.1 %d", &resp.StatusCode); err != nil {
		t.Fatalf("%s: %v", answer, err)
	}
	for line := range strings.Lines(rest) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), ": "); found {
			resp.Header.Add(name, value)
		}
	}
	return nc, resp
}

// maskedFrame is a frame of a client, whose mask is 0.
func maskedFrame(first byte, length uint64, payload []byte) []byte {
	b := []byte{first, 0x80 | byte(length)}
	if length > 125 {
		b = be.BigEndian.AppendUint64([]byte{first, 0xFF}, length)
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

// TestWSBomb: compression is never agreed on, however it is offered, so there is nothing that
// could grow; and a frame that claims to be compressed ends its connection.
func TestWSBomb(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	for _, offer := range []string{
		"permessage-deflate", "permessage-deflate; client_max_window_bits", "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
		"permessage-deflate; server_max_window_bits=15, permessage-deflate", "x-webkit-deflate-frame", "permessage-bzip2",
	} {
		nc, resp := upgrade(t, s, "Sec-WebSocket-Extensions: "+offer)
		if got := resp.Header.Values("Sec-WebSocket-Extensions"); resp.StatusCode != http.StatusSwitchingProtocols || len(got) > 0 {
			t.Errorf("%s: %d, %q is agreed on", offer, resp.StatusCode, got)
		}
		if _, err := nc.Write(maskedFrame(0xC2, 10, make([]byte, 10))); err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(nc); err != nil || len(rest) < 4 || rest[0] != 0x88 || be.BigEndian.Uint16(rest[2:]) != 1002 {
			t.Errorf("%s: a compressed frame: % x, %v", offer, rest, err)
		}
	}
}

// TestHostileFrames: frames of any length that is claimed, endless fragments, floods of control
// frames, and packets that are longer than their frames, cost little memory, end no other
// connection, and are over when the time for CONNECT is.
func TestHostileFrames(t *testing.T) {
	t.Parallel()
	s := start(t, "server: {connect-timeout: 2s}")
	bystander, _ := connectOver(t, dialWebSocket(t, s.ws), codec.Version5, "bystander", nil)
	before := s.metric("promptmq_system_memory_usage")
	half := []byte{0x10, 0xFF, 0x7F, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 60, 0, 0x40, 0} // of a CONNECT
	for name, frames := range map[string][]byte{
		"2^63-1 bytes":              maskedFrame(0x82, 1<<63-1, half),
		"2^63 bytes":                maskedFrame(0x82, 1<<63, half),
		"2^64-1 bytes":              maskedFrame(0x82, 1<<64-1, half),
		"2^63-1 bytes of a ping":    maskedFrame(0x89, 1<<63-1, nil),
		"a length in more bytes":    append([]byte{0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0}, half[:4]...),
		"fragments of nothing":      append(maskedFrame(0x02, uint64(len(half)), half), bytes.Repeat(maskedFrame(0x00, 0, nil), 20_000)...),
		"a flood of pings":          bytes.Repeat(maskedFrame(0x89, 125, make([]byte, 125)), 2000),
		"a flood of pongs":          bytes.Repeat(maskedFrame(0x8A, 0, nil), 20_000),
		"a packet beyond its frame": maskedFrame(0x82, uint64(len(half)), half),
		"half a header":             {0x82, 0xFF, 0, 0},
	} {
		for range 6 {
			nc, resp := upgrade(t, s)
			if resp.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("%s: %d", name, resp.StatusCode)
			}
			_ = nc.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)) // what is not read is not taken
			_, _ = nc.Write(frames)
		}
	}
	bystander.quiet()
	most := s.metric("promptmq_system_memory_usage") - before
	eventually(t, "all are closed", func() bool { return s.metric(`promptmq_listener_connections{listener="websocket"}`) == 1 })
	bystander.quiet()
	figure(t, "60 connections with hostile frames: %.1f MB more", most/1e6)
	if !raceDetector && most > 32<<20 { // which keeps several bytes for each
		t.Errorf("%.0f bytes more for 60 connections", most)
	}
}

// TestTLSStall: half handshakes of all kinds are closed in time and cost little memory, and
// nobody else waits because of them: not on this listener and not on others.
func TestTLSStall(t *testing.T) {
	t.Parallel()
	connections, timeout := 400, 3*time.Second
	if *long {
		connections, timeout = 5000, 10*time.Second
	}
	dir := t.TempDir()
	writeCertificate(t, dir, 1)
	s := start(t, fmt.Sprintf("server: {connect-timeout: 10m, listeners: [{kind: tls, address: '127.0.0.1:0', cert-file: %[1]s/cert.pem, key-file: %[1]s/key.pem, handshake-timeout: %[2]v}]}\n", dir, timeout))
	addr := s.listening("tls")
	config := &tls.Config{InsecureSkipVerify: true}
	before, began := s.metric("promptmq_system_memory_usage"), time.Now()
	for i := range connections {
		nc := dialTCP(t, addr)
		defer nc.Close()
		halves := [][]byte{{0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3}, {0x16}, {0x16, 3, 1, 0x40, 0}, append([]byte{0x16, 3, 1, 0x40, 0, 1, 0, 0x3F, 0xFC}, make([]byte, 8000)...)}
		_, _ = nc.Write(halves[i%len(halves)]) // an error: it has made room for another
	}
	var plain, secure []time.Duration
	for i := range 20 {
		asked := time.Now()
		if err := tryConnect(s.mqtt, fmt.Sprint("plain", i), clientSeconds*time.Second); err != nil {
			t.Error(err)
		}
		plain = append(plain, time.Since(asked))
		asked = time.Now()
		nc, err := tls.Dial("tcp", addr, config)
		if err != nil {
			t.Fatal(err)
		}
		if got := connackOf(t, nc); got != accepted {
			t.Errorf("CONNACK %d", got)
		}
		_ = nc.Close()
		secure = append(secure, time.Since(asked))
	}
	most := s.metric("promptmq_system_memory_usage") - before
	eventually(t, "all are closed", func() bool { return s.metric(`promptmq_listener_connections{listener="tls"}`) == 0 })
	if closed := time.Since(began); closed > 2*timeout && *long {
		t.Errorf("all are closed after %v", closed)
	}
	figure(t, "%d half handshakes: %.1f MB more; an honest CONNECT in %v over TCP and %v over TLS at p99", connections, most/1e6, percentile(plain, 99).Round(time.Microsecond), percentile(secure, 99).Round(time.Microsecond))
	if most > 64<<20 {
		t.Errorf("%.0f bytes more", most)
	}
	if late := max(percentile(plain, 99), percentile(secure, 99)); late > 250*time.Millisecond && *long {
		t.Errorf("an honest CONNECT took %v", late)
	}
}
