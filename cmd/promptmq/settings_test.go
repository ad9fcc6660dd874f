package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/x0a1b/promptmq/codec"
)

// settingTests show the effect of each setting, through the configuration file
// and the socket. TestEveryKey compares it with the list of keys.
var settingTests = map[string]struct {
	yaml string
	test func(t *testing.T, s *server)
}{
	"server.listeners":        {"server: {listeners: [{kind: tcp, address: '127.0.0.1:0', name: another}, {kind: tcp, address: '127.0.0.1:0', name: closed, anonymous: no}]}", testListeners},
	"server.ws-origins":       {"server: {ws-origins: 'https://app.example.com, *.example.org:8443, same'}", testOrigins},
	"server.ws-ping-interval": {"server: {ws-ping-interval: 1s}", testPingInterval},
	"server.shutdown-notice":  {"server: {shutdown-notice: true}", testShutdownNotice},
	"server.shutdown-rate":    {"server: {shutdown-rate: 200}", testShutdownRate},
	"mqtt.sys-interval":       {"mqtt: {sys-interval: 1s}", testSysTopics},
	"server.connect-timeout": {"server: {connect-timeout: 5s}", func(t *testing.T, s *server) {
		silent := dialRaw(t, s.mqtt, codec.Version5)
		half := dialRaw(t, s.mqtt, codec.Version5)
		half.send([]byte{0x10, 20, 0, 4}, nil)
		in := v5Of(t, s, "in", nil)
		silent.closed(codec.Success)
		half.closed(codec.Success)
		in.quiet()
	}},
	"server.read-timeout": {"server: {read-timeout: 5s}", func(t *testing.T, s *server) {
		p, _ := connectRaw(t, s.mqtt, codec.Version5, "half", nil)
		idle, _ := connectRaw(t, s.mqtt, codec.Version5, "idle", nil)
		p.send([]byte{0x30, 100, 0}, nil)
		p.closed(codec.ProtocolError)
		idle.quiet() // between packets the Keep Alive counts
	}},
	"server.read-rate-min": {"server: {read-timeout: 2s, read-rate-min: 100000}", func(t *testing.T, s *server) {
		p, _ := connectRaw(t, s.mqtt, codec.Version5, "slow", nil)
		p.send([]byte{0x30, 0xC0, 0x84, 0x3D}, nil) // 1 MB, of which 10 kB/s come
		ended := false
		for i := 0; !ended && i < 600; i++ {
			if err := p.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			_, werr := p.Write(make([]byte, 1000))
			n, rerr := p.Read(make([]byte, 1))
			ended = n > 0 || werr != nil || !errors.Is(rerr, os.ErrDeadlineExceeded)
		}
		if !ended {
			t.Error("a packet that comes at a tenth of the rate goes on")
		}
		if told := s.waitLog("connection closed"); told.text("key") != "server.read-timeout" || told["rate"] != 100000.0 {
			t.Errorf("the log says %v", told)
		}
	}},
	"server.write-timeout": {"server: {write-timeout: 1s}", func(t *testing.T, s *server) {
		stuck, _ := connectRaw(t, s.mqtt, codec.Version5, "stuck", lasting)
		stuck.subscribeOne("flood", 0)
		pub, _ := connectRaw(t, s.mqtt, codec.Version5, "pub", nil)
		payload := make([]byte, 64<<10)
		eventually(t, "the peer that takes nothing is closed", func() bool {
			for range 200 { // much more than sockets hold: while one message waits others are dropped
				pub.publish(codec.Publish{Topic: codec.View("flood"), Payload: payload})
			}
			pub.quiet()
			return s.metric("promptmq_sessions_connected") == 1
		})
		if s.metric(`promptmq_messages_dropped_total{reason="slow_consumer"}`) == 0 {
			t.Error("nothing was dropped, or not counted")
		}
		if n := s.metric("promptmq_write_timeouts_total"); n != 1 {
			t.Errorf("%v write timeouts are counted", n)
		}
		told := s.waitLog("connection closed: the client took nothing of what waits for it")
		if told.text("client") != "stuck" || told.text("key") != "server.write-timeout" || told.text("limit") != "1s" {
			t.Errorf("the log says %v", told)
		}
		_, ack := connectRaw(t, s.mqtt, codec.Version5, "stuck", func(c *codec.Connect) { lasting(c); c.CleanStart = false })
		if !ack.SessionPresent {
			t.Error("the session is gone")
		}
	}},
	"server.read-buffer": {"server: {read-buffer: 512}", func(t *testing.T, s *server) {
		p, _ := connectRaw(t, s.mqtt, codec.Version5, "reader", nil)
		before := s.metric("promptmq_socket_reads_total")
		p.publish(codec.Publish{Topic: codec.View("t"), Payload: make([]byte, 64<<10)})
		p.quiet()
		if n := s.metric("promptmq_socket_reads_total") - before; n < 128 {
			t.Errorf("64 KiB came in %v reads", n)
		}
	}},
	"server.write-buffer": {"server: {write-buffer: 512, read-buffer: 1048576}", func(t *testing.T, s *server) {
		sub, _ := connectRaw(t, s.mqtt, codec.Version5, "sub", nil)
		sub.subscribeOne("t", 0)
		pub, _ := connectRaw(t, s.mqtt, codec.Version5, "pub", nil)
		var batch []byte
		for range 100 {
			batch, _ = codec.AppendPublish(batch, &codec.Publish{Topic: codec.View("t"), Payload: make([]byte, 600)}, codec.Version5)
		}
		before := s.metric("promptmq_socket_writes_total")
		pub.send(batch, nil)
		for range 100 {
			sub.receive()
		}
		if n := s.metric("promptmq_socket_writes_total") - before; n < 30 { // one or two without the setting; what arrives in pieces is written so
			t.Errorf("100 messages of 600 bytes went in %v writes", n)
		}
	}},
	"mqtt.max-qos": {"mqtt: {max-qos: 1}", func(t *testing.T, s *server) {
		p, ack := connectRaw(t, s.mqtt, codec.Version5, "p", nil)
		if !ack.HasMaximumQoS || ack.MaximumQoS != 1 {
			t.Errorf("Maximum QoS %d, %v", ack.MaximumQoS, ack.HasMaximumQoS)
		}
		if r := p.subscribeOne("t", 2); r != codec.GrantedQoS1 {
			t.Errorf("granted %v", r)
		}
		p.publish(codec.Publish{QoS: 2, PacketID: 1, Topic: codec.View("t")})
		p.closed(codec.QoSNotSupported)
		_, ack = connectRaw(t, s.mqtt, codec.Version5, "w", func(c *codec.Connect) {
			c.HasWill, c.Will = true, codec.Will{Topic: codec.View("w"), QoS: 2}
		})
		if ack.Reason != codec.QoSNotSupported {
			t.Errorf("a Will of QoS 2: %v", ack.Reason)
		}
	}},
	"mqtt.max-connections": {"mqtt: {max-connections: 2}", func(t *testing.T, s *server) {
		connectRaw(t, s.mqtt, codec.Version5, "one", nil)
		two, _ := connectRaw(t, s.mqtt, codec.Version5, "two", nil)
		if _, ack := connectRaw(t, s.mqtt, codec.Version5, "three", nil); ack.Reason != codec.QuotaExceeded {
			t.Errorf("the third: %v", ack.Reason)
		}
		if _, ack := connectRaw(t, s.mqtt, codec.Version311, "three", nil); ack.Reason != codec.ServerUnavailable {
			t.Errorf("the third with 3.1.1: %v", ack.Reason)
		}
		_ = two.Close()
		eventually(t, "there is room again", func() bool {
			_, ack := connectRaw(t, s.mqtt, codec.Version5, "four", nil)
			return ack.Reason == codec.Success
		})
	}},
	"mqtt.max-inflight": {"mqtt: {max-inflight: 2}", func(t *testing.T, s *server) {
		sub, _ := connectRaw(t, s.mqtt, codec.Version5, "sub", nil)
		sub.subscribeOne("t", 1)
		pub, _ := connectRaw(t, s.mqtt, codec.Version5, "pub", nil)
		for i := range uint16(4) {
			pub.publish1(1+i, "t", "m")
		}
		first := sub.receive()
		sub.receive()
		sub.quiet()
		sub.sendAck(codec.TypePuback, first.PacketID)
		sub.receive()
		sub.quiet()
	}},
	"mqtt.receive-maximum": {"mqtt: {receive-maximum: 2}", func(t *testing.T, s *server) {
		p, ack := connectRaw(t, s.mqtt, codec.Version5, "p", nil)
		if ack.ReceiveMaximum != 2 {
			t.Errorf("Receive Maximum %d", ack.ReceiveMaximum)
		}
		for i := range uint16(2) { // never released, so they stay in flight
			p.publish(codec.Publish{QoS: 2, PacketID: 1 + i, Topic: codec.View("t")})
			p.ack(codec.TypePubrec)
		}
		p.sendAck(codec.TypePubrel, 1)
		p.ack(codec.TypePubcomp)
		p.publish(codec.Publish{QoS: 2, PacketID: 3, Topic: codec.View("t")})
		p.ack(codec.TypePubrec)
		p.publish(codec.Publish{QoS: 2, PacketID: 4, Topic: codec.View("t")})
		p.closed(codec.ReceiveMaximumExceeded)
	}},
	"mqtt.keep-alive": {"mqtt: {keep-alive: 1}", func(t *testing.T, s *server) {
		began := time.Now()
		p, ack := connectRaw(t, s.mqtt, codec.Version5, "p", func(c *codec.Connect) { c.KeepAliveSeconds = 600 })
		if !ack.HasServerKeepAlive || ack.ServerKeepAliveSeconds != 1 {
			t.Errorf("Server Keep Alive %d, %v", ack.ServerKeepAliveSeconds, ack.HasServerKeepAlive)
		}
		p.closed(codec.KeepAliveTimeout)
		if d := time.Since(began); d < 1500*time.Millisecond {
			t.Errorf("closed after %v, before one and a half times the Keep Alive", d)
		}
		if detail := s.waitLog("connection closed").text("detail"); !strings.Contains(detail, "Keep Alive of 1 s, which mqtt.keep-alive imposes") || !strings.Contains(detail, "Server Keep Alive") {
			t.Errorf("logged %q", detail)
		}
		if s.metric("promptmq_keep_alive_timeouts_total") != 1 {
			t.Error("not counted")
		}
	}},
	"mqtt.retain-available": {"mqtt: {retain-available: false}", func(t *testing.T, s *server) {
		p, ack := connectRaw(t, s.mqtt, codec.Version5, "p", nil)
		if !ack.RetainUnavailable {
			t.Error("CONNACK does not say so")
		}
		p.publish(codec.Publish{Topic: codec.View("t"), Retain: true})
		p.closed(codec.RetainNotSupported)
	}},
	"mqtt.wildcard-available": {"mqtt: {wildcard-available: false}", func(t *testing.T, s *server) {
		p, ack := connectRaw(t, s.mqtt, codec.Version5, "p", nil)
		if !ack.WildcardUnavailable {
			t.Error("CONNACK does not say so")
		}
		if r := p.subscribeOne("a/+", 0); r != codec.WildcardSubscriptionsNotSupported {
			t.Errorf("SUBACK %v", r)
		}
		if r := p.subscribeOne("a/b", 0); r != codec.Success {
			t.Errorf("SUBACK %v", r)
		}
	}},
	"mqtt.shared-sub-available": {"mqtt: {shared-sub-available: false}", func(t *testing.T, s *server) {
		p, ack := connectRaw(t, s.mqtt, codec.Version5, "p", nil)
		if !ack.SharedUnavailable {
			t.Error("CONNACK does not say so")
		}
		if r := p.subscribeOne("$share/g/a", 0); r != codec.SharedSubscriptionsNotSupported {
			t.Errorf("SUBACK %v", r)
		}
	}},
	"mqtt.max-packet-size": {"mqtt: {max-packet-size: 2048}", func(t *testing.T, s *server) {
		p, ack := connectRaw(t, s.mqtt, codec.Version5, "p", nil)
		if ack.MaximumPacketSize != 2048 {
			t.Errorf("Maximum Packet Size %d", ack.MaximumPacketSize)
		}
		p.publish(codec.Publish{Topic: codec.View("t"), Payload: make([]byte, 1900)})
		p.quiet()
		p.send([]byte{0x30, 0xFF, 0x7F}, nil) // the length alone is too large
		p.closed(codec.PacketTooLarge)
	}},
	"mqtt.topic-alias-maximum": {"mqtt: {topic-alias-maximum: 3}", func(t *testing.T, s *server) {
		p, ack := connectRaw(t, s.mqtt, codec.Version5, "p", nil)
		if ack.TopicAliasMaximum != 3 {
			t.Errorf("Topic Alias Maximum %d", ack.TopicAliasMaximum)
		}
		p.subscribeOne("t", 0)
		p.publish(codec.Publish{Topic: codec.View("t"), TopicAlias: 3})
		p.publish(codec.Publish{TopicAlias: 3})
		p.receive()
		p.receive()
		p.publish(codec.Publish{Topic: codec.View("t"), TopicAlias: 4})
		p.closed(codec.TopicAliasInvalid)
	}},
	"mqtt.max-topic-levels": {"mqtt: {max-topic-levels: 3}", func(t *testing.T, s *server) {
		p, _ := connectRaw(t, s.mqtt, codec.Version5, "p", nil)
		if r := p.subscribeOne("a/b/c/d", 0); r != codec.TopicFilterInvalid {
			t.Errorf("SUBACK %v", r)
		}
		if r := p.publish1(1, "a/b/c/d", ""); r != codec.TopicNameInvalid {
			t.Errorf("PUBACK %v", r)
		}
		if r := p.publish1(2, "a/b/c", ""); r != codec.Success {
			t.Errorf("PUBACK %v", r)
		}
	}},
	"mqtt.max-subscriptions": {"mqtt: {max-subscriptions: 2}", func(t *testing.T, s *server) {
		p, _ := connectRaw(t, s.mqtt, codec.Version5, "p", nil)
		var subs []codec.Subscription
		for i := range 3 {
			subs = append(subs, codec.Subscription{Filter: codec.View(fmt.Sprint(i))})
		}
		if r := p.subscribe(subs...); r[1] != codec.Success || r[2] != codec.QuotaExceeded {
			t.Errorf("SUBACK %v", r)
		}
		if r := p.subscribeOne("1", 1); r != codec.GrantedQoS1 {
			t.Errorf("replacing one: %v", r)
		}
	}},
	"mqtt.max-sessions": {"mqtt: {max-sessions: 1}", func(t *testing.T, s *server) {
		p, _ := connectRaw(t, s.mqtt, codec.Version5, "kept", lasting)
		_ = p.Close()
		if _, ack := connectRaw(t, s.mqtt, codec.Version5, "more", nil); ack.Reason != codec.QuotaExceeded {
			t.Errorf("a second session: %v", ack.Reason)
		}
		if _, ack := connectRaw(t, s.mqtt, codec.Version5, "kept", lasting); ack.Reason != codec.Success {
			t.Errorf("the same client: %v", ack.Reason)
		}
	}},
	"mqtt.max-queued-messages": {"mqtt: {queue-policy: reject, max-queued-messages: 3}", func(t *testing.T, s *server) {
		fillQueue(t, s, "x", 3)
	}},
	"mqtt.max-queued-bytes": {"mqtt: {queue-policy: reject, max-queued-bytes: 20000}", func(t *testing.T, s *server) {
		fillQueue(t, s, strings.Repeat("x", 6000), 4)
	}},
	"mqtt.queue-policy":       {"", testQueuePolicy},
	"mqtt.will-grace":         {"mqtt: {will-grace: 1h}", testWillGrace},
	"mqtt.max-session-expiry": {"mqtt: {max-session-expiry: 2}", testMaxSessionExpiry},
	"mqtt.max-retained-messages": {"mqtt: {max-retained-messages: 2}", func(t *testing.T, s *server) {
		fillRetained(t, s, 10, 2)
	}},
	"mqtt.max-retained-bytes": {"mqtt: {max-retained-bytes: 10000}", func(t *testing.T, s *server) {
		fillRetained(t, s, 3000, 3)
	}},
	"storage.cleanup.check-interval":  {"storage: {cleanup: {check-interval: 100ms}}", testCleanupInterval},
	"storage.cleanup.max-message-age": {"storage: {cleanup: {max-message-age: 2s, check-interval: 100ms}}", testMaxMessageAge},
	"storage.cleanup.batch-size":      {"", testCleanupBatch},
	"auth.rules-file": {"", func(t *testing.T, _ *server) {
		s, _ := rulesServer(t, "rules-file", someRules)
		mayOnlyOpen(t, s, codec.Success, codec.NotAuthorized)
	}},
	"auth.acl-file": {"", func(t *testing.T, _ *server) {
		s, _ := rulesServer(t, "acl-file", someACL)
		mayOnlyOpen(t, s, codec.Success, codec.NotAuthorized)
	}},
	"auth.allow-anonymous": {"auth: {allow-anonymous: true}\nserver: {bind: '0.0.0.0:0'}", func(t *testing.T, s *server) {
		for allow, want := range map[bool]codec.ReasonCode{true: codec.Success, false: codec.NotAuthorized} {
			open := start(t, fmt.Sprintf("auth: {allow-anonymous: %v}", allow), "--server-bind", "0.0.0.0:0")
			_, port, err := net.SplitHostPort(open.mqtt)
			if err != nil {
				t.Fatal(err)
			}
			if _, ack := connectRaw(t, "127.0.0.1:"+port, codec.Version5, "here", nil); ack.Reason != codec.Success {
				t.Errorf("from loopback: %v", ack.Reason)
			}
			if addr := outsideAddr(); addr == "" {
				t.Log("this machine has no address but loopback: the other side is not shown here")
			} else if _, ack := connectRaw(t, net.JoinHostPort(addr, port), codec.Version5, "there", nil); ack.Reason != want {
				t.Errorf("allow-anonymous %v, from %s: %v", allow, addr, ack.Reason)
			}
		}
	}},
	"auth.password-file":     {"", testPasswordFile},
	"auth.remember-password": {"", testRememberPassword},
	"auth.hashing.workers":   {"", testHashingWorkers},
	"auth.hashing.waiting":   {"", testHashingWaiting},
	"auth.backoff-max":       {"", testBackoffMax},
	"auth.ban.failures":      {"", testBans},
	"auth.ban.window":        {"", testBanWindow},
	"auth.ban.time":          {"", testBanTime},
	"auth.ban.exempt":        {"", testBanExempt},
	"server.bind": {"", func(t *testing.T, _ *server) {
		s := start(t, "", "--server-bind", "")
		if s.mqtt != "" || s.ws == "" {
			t.Errorf("listens on %q and %q", s.mqtt, s.ws)
		}
	}},
	"server.ws-bind": {"", func(t *testing.T, _ *server) {
		s := start(t, "", "--server-ws-bind", "")
		if s.ws != "" || s.mqtt == "" {
			t.Errorf("listens on %q and %q", s.mqtt, s.ws)
		}
	}},
}

// fillQueue publishes to an absent session until its queue is full, and checks
// that draining makes room.
func fillQueue(t *testing.T, s *server, payload string, room int) {
	t.Helper()
	sub, _ := connectRaw(t, s.mqtt, codec.Version5, "sub", lasting)
	sub.subscribeOne("t", 1)
	sub.drop()
	pub, _ := connectRaw(t, s.mqtt, codec.Version5, "pub", nil)
	for i := range room {
		if r := pub.publish1(1, "t", payload); r != codec.Success {
			t.Fatalf("message %d: %v", i, r)
		}
	}
	if r := pub.publish1(1, "t", payload); r != codec.QuotaExceeded {
		t.Errorf("to a full queue: %v", r)
	}
	if n := s.metric(`promptmq_messages_refused_total{reason="Quota exceeded"}`); n != 1 {
		t.Errorf("%v counted as refused", n)
	}
	old, _ := connectRaw(t, s.mqtt, codec.Version311, "old", nil)
	old.publish(codec.Publish{QoS: 1, PacketID: 1, Topic: codec.View("t"), Payload: codec.View(payload)})
	old.closed(codec.Success) // 3.1.1 cannot be told otherwise

	sub, _ = connectRaw(t, s.mqtt, codec.Version5, "sub", func(c *codec.Connect) { lasting(c); c.CleanStart = false })
	for range room {
		sub.sendAck(codec.TypePuback, sub.receive().PacketID)
	}
	sub.quiet()
	if r := pub.publish1(1, "t", payload); r != codec.Success {
		t.Errorf("after draining: %v", r)
	}
}

func fillRetained(t *testing.T, s *server, bytes, room int) {
	t.Helper()
	p, _ := connectRaw(t, s.mqtt, codec.Version5, "p", nil)
	keep := func(i, bytes int) codec.ReasonCode {
		p.publish(codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View(fmt.Sprint("kept/", i)), Payload: make([]byte, bytes)})
		return p.ack(codec.TypePuback).Reason
	}
	for i := range room {
		if r := keep(i, bytes); r != codec.Success {
			t.Fatalf("message %d: %v", i, r)
		}
	}
	if r := keep(room, bytes); r != codec.QuotaExceeded {
		t.Errorf("one too many: %v", r)
	}
	if r := keep(0, bytes); r != codec.Success {
		t.Errorf("replacing one: %v", r)
	}
	if r := keep(0, 0); r != codec.Success {
		t.Errorf("removing one: %v", r)
	}
	if r := keep(room, bytes); r != codec.Success {
		t.Errorf("in its place: %v", r)
	}
}

// eventually polls until ok returns true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(clientSeconds * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// testListeners: TestStartLog has what is said of listeners, TestReloadListeners what changes.
func testListeners(t *testing.T, s *server) {
	if _, ack := connectRaw(t, s.listening("another"), codec.Version5, "here", nil); ack.Reason != codec.Success {
		t.Errorf("CONNACK %v", ack.Reason)
	}
	if _, ack := connectRaw(t, s.listening("closed"), codec.Version5, "here", nil); ack.Reason != codec.NotAuthorized {
		t.Errorf("CONNACK %v", ack.Reason)
	}
}

// testOrigins: TestOrigins in package broker has all that may be written there.
func testOrigins(t *testing.T, s *server) {
	anybody := start(t, "server: {ws-origins: any}")
	list := start(t, "server: {ws-origins: ['null', app.example.com]}")
	for _, c := range []struct {
		s      *server
		origin string
		want   int
	}{
		{s, "https://app.example.com", 101}, {s, "http://app.example.com", 403}, {s, "https://a.example.org:8443", 101}, {s, "http://" + s.ws, 101},
		{anybody, "http://evil.example", 101}, {anybody, "null", 101},
		{list, "null", 101}, {list, "https://app.example.com:1", 101}, {list, "http://" + list.ws, 403},
	} {
		ws, resp, err := websocket.Dial(t.Context(), "ws://"+c.s.ws, &websocket.DialOptions{
			Subprotocols: []string{"mqtt"}, HTTPHeader: http.Header{"Origin": {c.origin}}})
		if err == nil {
			_ = ws.CloseNow()
		}
		if resp == nil || resp.StatusCode != c.want {
			t.Errorf("%s: %v, not %d", c.origin, err, c.want)
		}
	}
}

// testPingInterval: a WebSocket on which nothing is sent gets a Ping in time; one that is open
// already, when a reload makes the time shorter. TestPings in package link has more.
func testPingInterval(t *testing.T, s *server) {
	later := start(t, "server: {ws-ping-interval: 1h}")
	pinged := func(nc net.Conn) {
		t.Helper()
		got := make([]byte, 2)
		if _, err := io.ReadFull(nc, got); err != nil || got[0] != 0x89 || got[1] != 0 {
			t.Errorf("%x, %v", got, err)
		}
	}
	nc, _ := upgrade(t, s)
	pinged(nc)
	open, _ := upgrade(t, later)
	later.reload("server: {ws-ping-interval: 1s}")
	pinged(open)
}

// outsideAddr is an address of this machine that is not loopback, or empty.
func outsideAddr() string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return ""
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	return ""
}

func TestSettings(t *testing.T) {
	t.Parallel()
	for key, st := range settingTests {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			shows(t, key)
			st.test(t, start(t, st.yaml))
		})
	}
}
