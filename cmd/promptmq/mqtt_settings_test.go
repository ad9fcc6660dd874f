package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// What TestSettings leaves out: the listeners of the file, both sides of each
// limit, and limits that stand in the way of each other.

// TestListenersOfTheFile starts a broker with nothing but a file, for the flags
// of the harness would win over its addresses.
func TestListenersOfTheFile(t *testing.T) {
	t.Parallel()
	other := "[::1]"
	if ln, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Logf("no IPv6 on this machine: %v", err)
		other = "127.0.0.3"
	} else {
		_ = ln.Close()
	}
	for name, c := range map[string]struct {
		yaml string
		want []string // kinds of listeners
	}{
		"both":      {"server: {bind: '127.0.0.1:0', ws-bind: '127.0.0.1:0'}", []string{"mqtt 127.0.0.1", "websocket 127.0.0.1"}},
		"no TCP":    {"server: {bind: '', ws-bind: '" + other + ":0'}", []string{"websocket " + other}},
		"WebSocket": {"server: {bind: '127.0.0.1:0', ws-bind: ''}", []string{"mqtt 127.0.0.1"}},
		"another":   {"server: {bind: '127.0.0.2:0', ws-bind: ''}", []string{"mqtt 127.0.0.2"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file := filepath.Join(dir, "promptmq.yaml")
			yaml := fmt.Sprintf("%s\nstorage: {data-dir: %q}\nmetrics: {enabled: false}\n", c.yaml, filepath.Join(dir, "data"))
			if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), binary, "server", "--config", file)
			cmd.Env = environ()
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			stuck := time.AfterFunc(startSeconds*time.Second, func() { _ = cmd.Process.Kill() })
			defer stuck.Stop()
			var got []string
			ready := false
			for lines := bufio.NewScanner(stderr); lines.Scan(); {
				var r record
				if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
					t.Errorf("%q: %v", lines.Text(), err)
				}
				if r.text("msg") == "listening" {
					addr := r.text("addr")
					if r.text("listener") == "mqtt" {
						p, _ := connectRaw(t, addr, codec.Version5, "c", nil)
						p.quiet()
					}
					got = append(got, r.text("listener")+" "+addr[:strings.LastIndex(addr, ":")])
				}
				if r.text("msg") == "ready" {
					ready = true
					if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := cmd.Wait(); err != nil || !ready {
				t.Errorf("ready: %v; end: %v", ready, err)
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("listens on %q, expected %q", got, c.want)
			}
		})
	}
}

// TestBuffersCompared: the same bytes take fewer reads and writes with larger
// buffers.
func TestBuffersCompared(t *testing.T) {
	t.Parallel()
	count := func(yaml, metric string) float64 {
		s := start(t, yaml)
		sub := v5Of(t, s, "sub", nil)
		sub.subscribeOne("t", 0)
		pub := v5Of(t, s, "pub", nil)
		var batch []byte
		for range 200 {
			batch, _ = codec.AppendPublish(batch, &codec.Publish{Topic: codec.View("t"), Payload: make([]byte, 600)}, codec.Version5)
		}
		before := s.metric(metric)
		pub.send(batch, nil)
		for range 200 {
			sub.receive()
		}
		return s.metric(metric) - before
	}
	small := count("server: {read-buffer: 512}", "promptmq_socket_reads_total")
	large := count("server: {read-buffer: 1048576}", "promptmq_socket_reads_total")
	if small < 200 || large > small/4 {
		t.Errorf("120 KB in %v reads of at most 512 bytes and in %v of at most a megabyte", small, large)
	}
	small = count("server: {read-buffer: 1048576, write-buffer: 512}", "promptmq_socket_writes_total")
	large = count("server: {read-buffer: 1048576, write-buffer: 1048576}", "promptmq_socket_writes_total")
	if large > small/2 {
		t.Errorf("120 KB in %v writes from 512 bytes on and in %v from a megabyte on", small, large)
	}
}

// limitTests are on a server each.
var limitTests = map[string]struct {
	yaml string
	test func(t *testing.T, s *server)
}{
	"max-qos 0": {"mqtt: {max-qos: 0}", func(t *testing.T, s *server) {
		p, ack := connectRaw(t, s.mqtt, codec.Version5, "p", nil)
		if !ack.HasMaximumQoS || ack.MaximumQoS != 0 {
			t.Errorf("Maximum QoS %d, %v", ack.MaximumQoS, ack.HasMaximumQoS)
		}
		if r := p.subscribeOne("t", 2); r != codec.Success {
			t.Errorf("granted %v", r)
		}
		old, _ := connectRaw(t, s.mqtt, codec.Version311, "old", nil)
		if r := old.subscribeOne("t", 1); r != codec.Success {
			t.Errorf("granted to 3.1.1: %v", r)
		}
		old.publish(codec.Publish{QoS: 1, PacketID: 1, Topic: codec.View("t")})
		old.closed(codec.Success)
		p.quiet() // it was not routed
	}},
	"max-qos 2": {"", func(t *testing.T, s *server) {
		if _, ack := connectRaw(t, s.mqtt, codec.Version5, "p", nil); ack.HasMaximumQoS { // [MQTT-3.2.2-9]
			t.Errorf("Maximum QoS %d is sent", ack.MaximumQoS)
		}
	}},
	"max-connections and takeover": {"mqtt: {max-connections: 1}", func(t *testing.T, s *server) {
		p := v5Of(t, s, "p", lasting)
		q := v5Of(t, s, "p", resumed) // in the place of the first
		p.closed(codec.SessionTakenOver)
		q.quiet()
		if _, ack := connectRaw(t, s.mqtt, codec.Version31, "q", nil); ack.Reason != codec.ServerUnavailable {
			t.Errorf("another with 3.1: %v", ack.Reason)
		}
	}},
	"max-inflight over the client's": {"mqtt: {max-inflight: 3}", func(t *testing.T, s *server) {
		for i, room := range map[uint16]int{1: 1, 2: 2, 3: 3, 65535: 3} {
			id := fmt.Sprint("sub", i)
			sub := v5Of(t, s, id, func(c *codec.Connect) { c.ReceiveMaximum = i })
			sub.subscribeOne(id, 2)
			pub := v5Of(t, s, "pub", nil)
			for j := range uint16(5) {
				pub.publish2(1+j, id, "m", false)
				pub.release(1 + j)
			}
			first := sub.receive()
			for range room - 1 {
				sub.receive()
			}
			sub.quiet()
			sub.sendAck(codec.TypePubrec, first.PacketID) // PUBREC frees nothing, PUBCOMP does
			sub.ack(codec.TypePubrel)
			sub.quiet()
			sub.sendAck(codec.TypePubcomp, first.PacketID)
			sub.receive()
			sub.quiet()
		}
	}},
	"receive-maximum of mixed QoS": {"mqtt: {receive-maximum: 3}", func(t *testing.T, s *server) {
		p := v5Of(t, s, "p", nil)
		p.publish2(1, "t", "m", false)
		p.publish2(2, "t", "m", false)
		for i := range uint16(10) { // an acknowledged QoS 1 message leaves room
			p.publish1(3+i, "t", "m")
		}
		for range 5 { // QoS 0 is not counted
			p.publish(codec.Publish{Topic: codec.View("t")})
		}
		p.publish2(20, "t", "m", false)
		p.publish(codec.Publish{QoS: 1, PacketID: 21, Topic: codec.View("t")})
		p.closed(codec.ReceiveMaximumExceeded)
	}},
	"keep-alive, asked for less": {"mqtt: {keep-alive: 100}", func(t *testing.T, s *server) {
		for ask, given := range map[uint16]bool{0: true, 1: false, 100: false, 101: true} {
			_, ack := connectRaw(t, s.mqtt, codec.Version5, fmt.Sprint(ask), func(c *codec.Connect) { c.KeepAliveSeconds = ask })
			if ack.HasServerKeepAlive != given || (given && ack.ServerKeepAliveSeconds != 100) {
				t.Errorf("asked for %d: given %v, %d", ask, ack.HasServerKeepAlive, ack.ServerKeepAliveSeconds)
			}
		}
	}},
	"no keep-alive": {"", func(t *testing.T, s *server) { // the default: a device that sleeps is not closed
		for _, ask := range []uint16{0, 61, 600, 65535} {
			if _, ack := connectRaw(t, s.mqtt, codec.Version5, "p", func(c *codec.Connect) { c.KeepAliveSeconds = ask }); ack.HasServerKeepAlive {
				t.Errorf("Server Keep Alive %d", ack.ServerKeepAliveSeconds)
			}
		}
		v5Of(t, s, "silent", func(c *codec.Connect) { c.KeepAliveSeconds = 1 }).closed(codec.KeepAliveTimeout)
		if detail := s.waitLog("connection closed").text("detail"); !strings.HasSuffix(detail, "the Keep Alive of 1 s") {
			t.Errorf("logged %q", detail)
		}
	}},
	"retain-available and Wills": {"mqtt: {retain-available: false}", func(t *testing.T, s *server) {
		_, ack := connectRaw(t, s.mqtt, codec.Version5, "p", func(c *codec.Connect) {
			c.HasWill, c.Will = true, codec.Will{Topic: codec.View("w"), Retain: true}
		})
		if ack.Reason != codec.RetainNotSupported { // [MQTT-3.2.2-13]
			t.Errorf("CONNACK %v", ack.Reason)
		}
		old, _ := connectRaw(t, s.mqtt, codec.Version311, "old", nil)
		old.publish(codec.Publish{Topic: codec.View("t"), Retain: true})
		old.closed(codec.Success)
		if n := s.metric("promptmq_retained_messages"); n != 0 {
			t.Errorf("%v retained", n)
		}
	}},
	"wildcard-available and shares": {"mqtt: {wildcard-available: false}", func(t *testing.T, s *server) {
		p := v5Of(t, s, "p", nil)
		for filter, want := range map[string]codec.ReasonCode{
			"#": codec.WildcardSubscriptionsNotSupported, "$share/g/a/#": codec.WildcardSubscriptionsNotSupported,
			"$share/g/a": codec.Success, "a": codec.Success,
		} {
			if r := p.subscribeOne(filter, 0); r != want {
				t.Errorf("%s: %v", filter, r)
			}
		}
		old, _ := connectRaw(t, s.mqtt, codec.Version311, "old", nil)
		if r := old.subscribeOne("a/+", 0); r != codec.UnspecifiedError { // 0x80, the only one of 3.1.1
			t.Errorf("3.1.1: %v", r)
		}
	}},
	"max-packet-size, exactly": {"mqtt: {max-packet-size: 2048}", func(t *testing.T, s *server) {
		p := v5Of(t, s, "p", nil)
		p.subscribeOne("t", 0)
		fits := codec.Publish{Topic: codec.View("t"), Payload: make([]byte, 2048-3-3-1)}
		if n := codec.PublishSize(&fits, codec.Version5); n != 2048 {
			t.Fatalf("%d bytes", n)
		}
		p.publish(fits)
		p.receive()
		fits.Payload = make([]byte, len(fits.Payload)+1)
		p.publish(fits)
		p.closed(codec.PacketTooLarge)
		big := dialRaw(t, s.mqtt, codec.Version5) // CONNECT too
		big.send(codec.AppendConnect(nil, &codec.Connect{ClientID: make(codec.View, 3000), CleanStart: true}, codec.Version5))
		big.closed(codec.Success)
	}},
	"topic-alias-maximum 0": {"mqtt: {topic-alias-maximum: 0}", func(t *testing.T, s *server) {
		p, ack := connectRaw(t, s.mqtt, codec.Version5, "p", func(c *codec.Connect) { c.TopicAliasMaximum = 10 })
		if ack.TopicAliasMaximum != 0 {
			t.Errorf("Topic Alias Maximum %d", ack.TopicAliasMaximum)
		}
		p.subscribeOne("t", 0)
		for range 2 {
			p.publish(codec.Publish{Topic: codec.View("t")})
			if m := p.receive(); m.TopicAlias != 0 || len(m.Topic) == 0 {
				t.Errorf("alias %d", m.TopicAlias)
			}
		}
		p.publish(codec.Publish{Topic: codec.View("t"), TopicAlias: 1})
		p.closed(codec.TopicAliasInvalid)
	}},
	"topic-alias-maximum outbound": {"mqtt: {topic-alias-maximum: 2}", func(t *testing.T, s *server) {
		p := v5Of(t, s, "p", func(c *codec.Connect) { c.TopicAliasMaximum = 10 })
		p.subscribeOne("t/#", 0)
		for i, want := range []uint16{1, 2, 0, 0} {
			p.publish(codec.Publish{Topic: codec.View(fmt.Sprint("t/", i))})
			if m := p.receive(); m.TopicAlias != want {
				t.Errorf("topic %d: alias %d", i, m.TopicAlias)
			}
		}
	}},
	"max-topic-levels everywhere": {"mqtt: {max-topic-levels: 3}", func(t *testing.T, s *server) {
		_, ack := connectRaw(t, s.mqtt, codec.Version5, "w", func(c *codec.Connect) { c.HasWill, c.Will.Topic = true, codec.View("a/b/c/d") })
		if ack.Reason != codec.TopicNameInvalid {
			t.Errorf("a Will: %v", ack.Reason)
		}
		p := v5Of(t, s, "p", nil)
		if r := p.subscribeOne("$share/g/a/b/c", 0); r != codec.Success { // the levels of the filter in it
			t.Errorf("a share of three: %v", r)
		}
		if r := p.subscribeOne("$share/g/a/b/c/d", 0); r != codec.TopicFilterInvalid {
			t.Errorf("a share of four: %v", r)
		}
		if r := p.publish2(1, "///", "", false); r != codec.TopicNameInvalid { // empty levels count
			t.Errorf("PUBREC %v", r)
		}
		old, _ := connectRaw(t, s.mqtt, codec.Version311, "old", nil)
		if r := old.subscribeOne("a/b/c/d", 0); r != codec.UnspecifiedError {
			t.Errorf("SUBACK of 3.1.1: %v", r)
		}
		old.publish(codec.Publish{QoS: 1, PacketID: 1, Topic: codec.View("a/b/c/d")})
		old.closed(codec.Success)
	}},
	"max-subscriptions, removed and shared": {"mqtt: {max-subscriptions: 2}", func(t *testing.T, s *server) {
		p := v5Of(t, s, "p", lasting)
		p.subscribe(codec.Subscription{Filter: codec.View("a")}, codec.Subscription{Filter: codec.View("$share/g/a")})
		if r := p.subscribeOne("b", 0); r != codec.QuotaExceeded {
			t.Errorf("a third: %v", r)
		}
		_ = p.Close()
		p = v5Of(t, s, "p", resumed)
		if r := p.subscribeOne("b", 0); r != codec.QuotaExceeded {
			t.Errorf("a third on another connection: %v", r)
		}
		p.send(codec.AppendUnsubscribe(nil, &codec.Unsubscribe{PacketID: 3}, []codec.View{codec.View("$share/g/a")}, codec.Version5))
		p.expect(codec.TypeUnsuback, func(codec.Frame) error { return nil })
		if r := p.subscribeOne("b", 0); r != codec.Success {
			t.Errorf("in the place of one: %v", r)
		}
		if n := s.metric("promptmq_subscriptions"); n != 2 {
			t.Errorf("%v counted", n)
		}
		q := v5Of(t, s, "q", nil) // each session has its own
		if r := q.subscribeOne("b", 0); r != codec.Success {
			t.Errorf("another session: %v", r)
		}
	}},
	"max-sessions, connected ones too": {"mqtt: {max-sessions: 2}", func(t *testing.T, s *server) {
		v5Of(t, s, "a", nil)
		b := v5Of(t, s, "b", nil)
		if _, ack := connectRaw(t, s.mqtt, codec.Version5, "c", nil); ack.Reason != codec.QuotaExceeded {
			t.Errorf("a third: %v", ack.Reason)
		}
		_ = b.Close()
		eventually(t, "there is room again", func() bool {
			_, ack := connectRaw(t, s.mqtt, codec.Version5, "c", nil)
			return ack.Reason == codec.Success
		})
	}},
	"max-queued-messages at QoS 2": {"mqtt: {queue-policy: reject, max-queued-messages: 2}", func(t *testing.T, s *server) {
		sub := v5Of(t, s, "sub", lasting)
		sub.subscribeOne("t", 2)
		sub.drop()
		other := v5Of(t, s, "other", nil)
		other.subscribeOne("t", 1)
		pub := v5Of(t, s, "pub", lasting)
		for i := range uint16(2) {
			if r := pub.publish2(1+i, "t", "m", false); r != codec.Success {
				t.Errorf("PUBREC %v", r)
			}
			pub.release(1 + i)
			other.sendAck(codec.TypePuback, other.receive().PacketID)
		}
		if r := pub.publish2(9, "t", "refused", false); r != codec.QuotaExceeded {
			t.Errorf("PUBREC %v", r)
		}
		if r := pub.publish1(9, "t", "refused"); r != codec.QuotaExceeded { // the identifier is free again
			t.Errorf("PUBACK %v", r)
		}
		other.quiet() // nobody got it
		pub.publish(codec.Publish{Topic: codec.View("t"), Payload: codec.View("QoS 0")})
		if m := other.receive(); string(m.Payload) != "QoS 0" {
			t.Errorf("%q", m.Payload)
		}
		s.kill() // full still after a restart
		s.restart()
		pub = v5Of(t, s, "pub", resumed)
		if r := pub.publish1(9, "t", "refused"); r != codec.QuotaExceeded {
			t.Errorf("PUBACK after a restart: %v", r)
		}
		sub = v5Of(t, s, "sub", resumed)
		for range 2 {
			sub.sendAck(codec.TypePubrec, sub.receive().PacketID)
		}
		for range 2 {
			sub.sendAck(codec.TypePubcomp, sub.ack(codec.TypePubrel).PacketID)
		}
		sub.quiet()
		if r := pub.publish2(9, "t", "taken", false); r != codec.Success {
			t.Errorf("PUBREC after draining: %v", r)
		}
	}},
	"max-queued-bytes of a session that ends with its connection": {"mqtt: {queue-policy: reject, max-queued-bytes: 65536, max-inflight: 100}", func(t *testing.T, s *server) {
		sub := v5Of(t, s, "sub", nil) // it acknowledges nothing
		sub.subscribeOne("t", 1)
		pub := v5Of(t, s, "pub", nil)
		taken := 0
		for taken < 100 && pub.publish1(1, "t", strings.Repeat("x", 2000)) == codec.Success {
			taken++
		}
		if taken < 30 || taken > 33 { // 65,536 bytes with about 100 for each message beside its payload
			t.Errorf("%d messages of 2,000 bytes were taken", taken)
		}
	}},
	"max-retained-bytes with properties": {"mqtt: {max-retained-bytes: 10000}", func(t *testing.T, s *server) {
		p := v5Of(t, s, "p", nil)
		property := codec.ForwardBytes(codec.AppendUserProperty(nil, []byte("k"), bytes.Repeat([]byte("v"), 12000)))
		p.publish(codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View("t"), Payload: codec.View("x"), Forward: property})
		if r := p.ack(codec.TypePuback).Reason; r != codec.QuotaExceeded {
			t.Errorf("12,000 bytes of properties: %v", r)
		}
		p.publish(codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View("t"), Payload: codec.View("x")})
		p.ack(codec.TypePuback)
		p.publish(codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View("t"), Payload: codec.View("x"), Forward: property})
		if r := p.ack(codec.TypePuback).Reason; r != codec.QuotaExceeded {
			t.Errorf("in the place of a small one: %v", r)
		}
		if n := s.metric("promptmq_retained_bytes"); n == 0 || n > 10000 {
			t.Errorf("%v bytes retained", n)
		}
		s.kill() // counted alike after a restart
		before := s.restartedMetric("promptmq_retained_bytes")
		if before == 0 || before > 10000 || s.metric("promptmq_retained_messages") != 1 {
			t.Errorf("%v bytes retained after a restart", before)
		}
	}},
	"max-retained-messages, expired": {"mqtt: {max-retained-messages: 1}", func(t *testing.T, s *server) {
		p := v5Of(t, s, "p", nil)
		keep := func(topic string, seconds uint32) codec.ReasonCode {
			p.publish(codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View(topic), Payload: codec.View("x"),
				HasMessageExpiry: seconds > 0, MessageExpirySeconds: seconds})
			return p.ack(codec.TypePuback).Reason
		}
		inTime(t, func(seconds uint32) bool {
			began := time.Now()
			if r := keep("a", seconds); r != codec.Success {
				t.Errorf("PUBACK %v", r)
			}
			r := keep("b", 0)
			if r == codec.QuotaExceeded {
				return true
			}
			if d := time.Since(began); d < lifetime(seconds) {
				t.Errorf("a second, %v after the first: %v", d, r)
			}
			p.publish(codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View("b")})
			p.ack(codec.TypePuback)
			return false
		})
		eventually(t, "the first expires and leaves room", func() bool { return keep("b", 0) == codec.Success })
	}},
	"write-timeout keeps what is queued": {"server: {write-timeout: 300ms}", func(t *testing.T, s *server) {
		stuck := v5Of(t, s, "stuck", lasting)
		stuck.subscribe(codec.Subscription{Filter: codec.View("flood")}, codec.Subscription{Filter: codec.View("kept"), QoS: 1})
		pub := v5Of(t, s, "pub", nil)
		payload := make([]byte, 64<<10)
		eventually(t, "the peer that takes nothing is closed", func() bool {
			for range 50 {
				pub.publish(codec.Publish{Topic: codec.View("flood"), Payload: payload})
			}
			pub.quiet()
			return s.metric("promptmq_sessions_connected") == 1
		})
		if r := pub.publish1(1, "kept", "for later"); r != codec.Success {
			t.Errorf("PUBACK %v", r)
		}
		again := v5Of(t, s, "stuck", resumed)
		if m := again.receive(); string(m.Payload) != "for later" {
			t.Errorf("%.30q", m.Payload)
		}
		again.quiet()
	}},
	// A packet over a slow link takes several times the read timeout, and its client's
	// Keep Alive, and has all the time.
	"read-timeout of a slow link": {"server: {read-timeout: 3s, read-rate-min: 100}", func(t *testing.T, s *server) {
		sub := v5Of(t, s, "sub", nil)
		sub.subscribeOne("t", 0)
		p, _ := connectRaw(t, s.mqtt, codec.Version5, "slow", func(c *codec.Connect) { c.KeepAliveSeconds = 2 })
		packet, err := codec.AppendPublish(nil, &codec.Publish{QoS: 1, PacketID: 1, Topic: codec.View("t"), Payload: make([]byte, 40_000)}, codec.Version5)
		if err != nil {
			t.Fatal(err)
		}
		for began := time.Now(); len(packet) > 0; {
			n := len(packet)
			if time.Since(began) < 8*time.Second {
				n = min(n-1, 500)
			}
			p.send(packet[:n], nil)
			packet = packet[n:]
			time.Sleep(100 * time.Millisecond) // the link
		}
		p.expect(codec.TypePuback, func(codec.Frame) error { return nil })
		if m := sub.receive(); len(m.Payload) != 40_000 {
			t.Errorf("%d bytes", len(m.Payload))
		}
	}},
	"read-timeout drop by drop": {"server: {read-timeout: 3s}", func(t *testing.T, s *server) {
		p := v5Of(t, s, "p", nil)
		began := time.Now()
		p.send([]byte{0x30, 0x90, 3}, nil) // 400 bytes, one in 50 ms: 20 s in all
		ended, sent := false, 0
		for ; !ended && sent < 300; sent++ {
			if err := p.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			_, werr := p.Write([]byte{0})
			var one [1]byte
			n, _ := p.Read(one[:])
			ended = n > 0 || werr != nil
		}
		if d := time.Since(began); !ended || d < 3*time.Second {
			t.Errorf("ended %v after %v and %d bytes", ended, d, sent)
		}
	}},
}

// restartedMetric restarts the server and returns the value of a metric.
func (s *server) restartedMetric(name string) float64 {
	s.t.Helper()
	s.restart()
	return s.metric(name)
}

func TestLimits(t *testing.T) {
	t.Parallel()
	for name, l := range limitTests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l.test(t, start(t, l.yaml))
		})
	}
}
