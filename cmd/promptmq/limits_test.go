package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// limitTests are settingTests of limits against load.
var limitTests = map[string]struct {
	yaml string
	test func(t *testing.T, s *server)
}{
	"mqtt.max-user-properties": {"mqtt: {max-user-properties: 3}", testUserProperties},
	"limits.memory":            {"limits: {memory: 67108864}", testMemoryLimit},
	"limits.connection-rate": {"limits: {connection-rate: 5}", func(t *testing.T, s *server) {
		testConnectionRate(t, s, 5, "connection rate", "limits.connection-rate")
	}},
	"limits.connection-rate-per-address": {"limits: {connection-rate-per-address: 5}", func(t *testing.T, s *server) {
		testConnectionRate(t, s, 5, "connection rate of an address", "limits.connection-rate-per-address")
	}},
	"limits.message-rate": {"limits: {message-rate: 20}", func(t *testing.T, s *server) {
		testPause(t, s, 20+10, 10, time.Second/2, "message_rate")
	}},
	"limits.byte-rate": {"limits: {byte-rate: 20000}", func(t *testing.T, s *server) {
		testPause(t, s, 60, 1000, time.Second, "byte_rate")
	}},
	"limits.sessions-per-user": {"limits: {sessions-per-user: 2}", testSessionsPerUser},
	"limits.retained-messages-per-user": {"limits: {retained-messages-per-user: 2}", func(t *testing.T, _ *server) {
		testRetainedPerUser(t, "retained-messages-per-user: 2", 10, "limits.retained-messages-per-user")
	}},
	"limits.retained-bytes-per-user": {"limits: {retained-bytes-per-user: 2048}", func(t *testing.T, _ *server) {
		testRetainedPerUser(t, "retained-bytes-per-user: 2048", 950, "limits.retained-bytes-per-user")
	}},
}

func TestLimits(t *testing.T) {
	t.Parallel()
	for key, lt := range limitTests {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			shows(t, key)
			lt.test(t, start(t, lt.yaml))
		})
	}
}

func userProperties(n int) []byte {
	return bytes.Repeat(codec.AppendUserProperty(nil, []byte("k"), []byte("v")), n)
}

// testUserProperties: as many as are allowed are taken, one more is refused, as the quota that
// it is, and the connection goes on.
func testUserProperties(t *testing.T, s *server) {
	p := v5Of(t, s, "in", func(c *codec.Connect) {
		c.UserProperties = codec.MakeUserProperties(userProperties(3))
		c.HasWill, c.Will = true, codec.Will{Topic: codec.View("w"), Forward: codec.ForwardBytes(userProperties(3))}
	})
	for name, change := range map[string]func(*codec.Connect){
		"CONNECT": func(c *codec.Connect) { c.UserProperties = codec.MakeUserProperties(userProperties(4)) },
		"Will": func(c *codec.Connect) {
			c.HasWill, c.Will = true, codec.Will{Topic: codec.View("w"), Forward: codec.ForwardBytes(userProperties(4))}
		},
	} {
		if _, ack := connectRaw(t, s.mqtt, codec.Version5, "out", change); ack.Reason != codec.QuotaExceeded {
			t.Errorf("%s: %v", name, ack.Reason)
		}
	}
	p.subscribeOne("t", 0)
	for n, want := range []codec.ReasonCode{3: codec.Success, 4: codec.QuotaExceeded} {
		if n < 3 {
			continue
		}
		p.send(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1, UserProperties: codec.MakeUserProperties(userProperties(n))}, []codec.Subscription{{Filter: codec.View("f")}, {Filter: codec.View("g")}}, p.v))
		var ack codec.Suback
		p.expect(codec.TypeSuback, func(f codec.Frame) error { return ack.Decode(f, p.v) })
		if codec.ReasonCode(ack.Reasons[0]) != want || codec.ReasonCode(ack.Reasons[1]) != want {
			t.Errorf("SUBSCRIBE with %d: %v", n, ack.Reasons)
		}
		// Other properties do not count.
		forward := codec.AppendContentType(userProperties(n), bytes.Repeat([]byte("c"), 100))
		p.publish(codec.Publish{Topic: codec.View("t"), Forward: codec.ForwardBytes(forward)})
		if want == codec.Success {
			p.receive()
		}
		p.publish(codec.Publish{QoS: 2, PacketID: 2, Topic: codec.View("elsewhere"), Forward: codec.ForwardBytes(forward)})
		if r := p.ack(codec.TypePubrec).Reason; r != want && (want != codec.Success || r >= 0x80) {
			t.Errorf("PUBLISH with %d: %v", n, r)
		}
	}
	p.quiet()
	if n := s.metric(`promptmq_messages_refused_total{reason="Quota exceeded"}`); n != 2 {
		t.Errorf("%v messages are counted as refused", n)
	}
	if told := s.waitLog("subscription refused"); told.text("key") != "mqtt.max-user-properties" {
		t.Errorf("the log says %v", told)
	}
}

// testConnectionRate: of many that come at once as many are served as the limit says, and
// those that time allows meanwhile; the others are closed, counted and logged.
func testConnectionRate(t *testing.T, s *server, limit int, cause, key string) {
	const n = 60
	began := time.Now()
	served, refused := 0, 0
	for i := range n {
		p := dialRaw(t, s.mqtt, codec.Version5)
		_, err := p.Write(mustConnect(t, fmt.Sprint("c", i)))
		if err == nil {
			_, err = p.next()
		}
		if err == nil {
			served++
		} else {
			refused++
		}
	}
	if most := limit + 1 + int(time.Since(began).Seconds()*float64(limit)); served < limit || served > most {
		t.Errorf("%d were served: at least %d, at most %d", served, limit, most)
	}
	if got := s.metric(fmt.Sprintf("promptmq_connections_refused_total{reason=%q}", cause)); got != float64(refused) {
		t.Errorf("%v are counted, %d were refused", got, refused)
	}
	if told := s.waitLog("more connections a second than allowed: one was closed"); told.text("key") != key || told["limit"] != float64(limit) {
		t.Errorf("the log says %v", told)
	}
	eventually(t, "who comes later is served", func() bool {
		p := dialRaw(t, s.mqtt, codec.Version5)
		_, err := p.Write(mustConnect(t, "later"))
		if err == nil {
			_, err = p.next()
		}
		return err == nil
	})
}

func mustConnect(t *testing.T, id string) []byte {
	t.Helper()
	b, err := codec.AppendConnect(nil, &codec.Connect{ClientID: codec.View(id), CleanStart: true, ReceiveMaximum: 65535, RequestProblemInformation: true}, codec.Version5)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// testPause: a client that sends more than its rate is held up, loses nothing, gets its
// answers, and others do not wait for it.
func testPause(t *testing.T, s *server, messages, size int, least time.Duration, cause string) {
	sub := v5Of(t, s, "sub", nil)
	sub.subscribeOne("t", 0)
	pub := v5Of(t, s, "pub", func(c *codec.Connect) { c.KeepAliveSeconds = 1 })
	var batch []byte
	for i := range messages {
		batch, _ = codec.AppendPublish(batch, &codec.Publish{QoS: codec.QoS(i % 2), PacketID: uint16(i), Topic: codec.View("t"), Payload: make([]byte, size)}, codec.Version5)
	}
	began := time.Now()
	pub.send(codec.AppendPingreq(batch), nil)
	for i := range messages / 2 {
		if a := pub.ack(codec.TypePuback); a.PacketID != uint16(2*i+1) || a.Reason >= 0x80 {
			t.Fatalf("%+v for %d", a, 2*i+1)
		}
	}
	pub.expect(codec.TypePingresp, codec.DecodePing)
	if took := time.Since(began); took < least*8/10 {
		t.Errorf("all was taken in %v", took)
	}
	for range messages {
		sub.receive()
	}
	sub.quiet()
	if s.metric(fmt.Sprintf("promptmq_publishers_paused_total{cause=%q}", cause)) == 0 {
		t.Error("not counted")
	}
	told := s.waitLog("a client that publishes is not read for a while")
	if told.text("client") != "pub" || told.text("cause") != cause || !strings.HasPrefix(told.text("key"), "limits.") {
		t.Errorf("the log says %v", told)
	}
}

// testSessionsPerUser: a user has no more sessions than allowed, also after a restart; who has no
// name is not counted. TestSessionsPerUser in package broker has more.
func testSessionsPerUser(t *testing.T, _ *server) {
	s := withPasswords(t, "limits: {sessions-per-user: 2}")
	for _, restarted := range []bool{false, true} {
		for i, want := range []codec.ReasonCode{codec.Success, codec.Success, codec.QuotaExceeded} {
			p, ack := connectRaw(t, s.mqtt, codec.Version5, fmt.Sprint("s", i), func(c *codec.Connect) {
				resumed(c)
				as("six", filePasswords["six"])(c)
			})
			_ = p.Close()
			nobody, other := connectRaw(t, s.mqtt, codec.Version5, fmt.Sprint("n", i), resumed)
			_ = nobody.Close()
			if ack.Reason != want || other.Reason != codec.Success {
				t.Errorf("restarted %v: session %d: %v; of nobody: %v", restarted, i+1, ack.Reason, other.Reason)
			}
		}
		if !restarted {
			s.stop()
			s.restart()
		}
	}
}

// testRetainedPerUser: a user has two messages of this size retained and no third, also after
// a restart and until a reload; who has no name, and others, are not concerned.
// TestRetainedPerUser in package broker has more.
func testRetainedPerUser(t *testing.T, limit string, bytes int, key string) {
	s := withPasswords(t, "limits: {"+limit+"}")
	tries := 0
	try := func(change func(*codec.Connect), topic string, want codec.ReasonCode) {
		t.Helper()
		tries++
		p := v5Of(t, s, fmt.Sprint("p", tries), change)
		defer func() { _ = p.Close() }()
		p.publish(codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View(topic), Payload: make([]byte, bytes)})
		if got := p.ack(codec.TypePuback).Reason; got != want && (want == codec.QuotaExceeded || got >= 0x80) {
			t.Errorf("%s: %v", topic, got)
		}
	}
	six, seven := as("six", filePasswords["six"]), as("seven", filePasswords["seven"])
	try(six, "a", codec.Success)
	try(six, "b", codec.Success)
	for _, restarted := range []bool{false, true} {
		try(six, "c", codec.QuotaExceeded)
		try(nil, "n1", codec.Success)
		try(nil, "n2", codec.Success)
		try(nil, "n3", codec.Success)
		if told := s.waitLog("a message was not retained: its user has as much retained as one user may"); told.text("user") != "six" || told.text("key") != key {
			t.Errorf("the log says %v", told)
		}
		if !restarted {
			s.stop()
			s.restart()
		}
	}
	try(seven, "a", codec.Success) // it is seven's now
	try(six, "c", codec.Success)
	try(six, "d", codec.QuotaExceeded)
	s.write("limits: {message-rate: 0} # and no limit of this kind any more\n")
	if r := s.hangup(); len(r.texts("changed")) != 1 || r.texts("changed")[0] != key {
		t.Errorf("reloaded: %v", r)
	}
	try(six, "d", codec.Success)
}

// testMemoryLimit: subscribers that take nothing, and who publishes to them, make memory
// short. Then CONNECT is refused, who publishes waits, and those for whom most waits are
// closed, until there is enough again; nobody else loses anything.
func testMemoryLimit(t *testing.T, s *server) {
	if raceDetector {
		t.Skip("what the race detector keeps counts too, and is more than the limit")
	}
	if s.metric("promptmq_memory_limit_bytes") != 64<<20 {
		t.Error("the limit is not shown")
	}
	bystander := v5Of(t, s, "bystander", nil)
	bystander.subscribeOne("mine", 0)
	for i := range 90 {
		v5Of(t, s, fmt.Sprint("stuck", i), nil).subscribeOne("flood", 0)
	}
	pub := v5Of(t, s, "pub", nil)
	stop := make(chan struct{})
	ended := make(chan error, 1)
	flood, _ := codec.AppendPublish(nil, &codec.Publish{Topic: codec.View("flood"), Payload: make([]byte, 60<<10)}, codec.Version5)
	go func() {
		var err error
		for err == nil {
			select {
			case <-stop:
				ended <- nil
				return
			default:
				_, err = pub.Write(flood)
			}
		}
		ended <- err
	}()
	s.waitLog("memory is short")
	eventually(t, "those that take nothing are closed", func() bool {
		return s.metric("promptmq_overload_connections_closed_total") > 0
	})
	bystander.quiet()
	eventually(t, "the log names one that is closed", func() bool {
		for _, r := range s.log() {
			if strings.HasPrefix(r.text("msg"), "connection closed: memory is short") && r.text("remote") != "" && r.text("key") == "limits.memory" {
				return true
			}
		}
		return false
	})
	eventually(t, "the publisher waits", func() bool {
		return s.metric(`promptmq_publishers_paused_total{cause="memory"}`) > 0
	})
	_ = pub.SetDeadline(time.Now()) // it may wait for the server
	close(stop)
	if err := <-ended; err != nil && !isTimeout(err) {
		t.Errorf("the publisher was disconnected: %v", err)
	}
	_ = pub.Close()
	eventually(t, "memory is no longer short", func() bool {
		return s.metric("promptmq_overload_state") == 0
	})
	var late *raw
	eventually(t, "a client is let in", func() bool { // memory may be short for a moment more
		p, ack := connectRaw(t, s.mqtt, codec.Version5, "late", nil)
		late = p
		return ack.Reason == codec.Success
	})
	late.publish(codec.Publish{Topic: codec.View("mine")})
	bystander.receive()
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}
