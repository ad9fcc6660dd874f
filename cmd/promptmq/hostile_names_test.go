package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/x0a1b/promptmq/codec"
)

// names are some that mean something to somebody: to runtimes, shells, databases, file systems.
var names = []string{
	"$x", "$", "$SYS", "$share", "$CONTROL/dynamic-security/v1", "$MQTT.sub", "__proto__", "constructor", "prototype/__proto__", "toString", "a'; DROP TABLE session; --",
	"../../etc/passwd", "a\r\nPUB x 1\r\n", "[a-z]*(", "%s%n%d", "-rf", "`id`", "\u202e", "\ufeff", "null", "a//b", "/",
}

// TestSpecialNames: such a name is one like any other, wherever it stands: each comes as it was
// sent, nobody else gets it, and it means the same after a restart.
func TestSpecialNames(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	c := commander{t, s.dataDir()}
	c.add("ann", "secret")
	watcher := v5Of(t, s, "watcher", nil)
	watcher.subscribeOne("elsewhere", 0)
	visit := func(again bool) {
		for _, name := range names {
			p, ack := connectRaw(t, s.mqtt, codec.Version5, name, func(c *codec.Connect) {
				resumed(c)
				c.HasWill, c.Will = true, codec.Will{Topic: codec.View(name), Payload: codec.View("will of " + name)}
			})
			if ack.Reason != codec.Success || ack.SessionPresent != again {
				t.Errorf("%q: %v, Session Present %v", name, ack.Reason, ack.SessionPresent)
				continue
			}
			if !again {
				if r := p.subscribeOne(name, 0); r != codec.Success {
					t.Errorf("%q: SUBACK %v", name, r)
				}
			}
			forward := codec.AppendUserProperty(codec.AppendResponseTopic(nil, []byte(name)), []byte(name), []byte(name))
			p.publish(codec.Publish{Topic: codec.View(name), Payload: codec.View(name), Retain: true, Forward: codec.ForwardBytes(forward)})
			if m := p.receive(); string(m.Topic) != name || string(m.Payload) != name || !bytes.Equal(m.Forward.AppendTo(nil), forward) {
				t.Errorf("%q came as %q, %q", name, m.Topic, m.Payload)
			}
			p.quiet()
			share := v5Of(t, s, "share", nil)
			if r := share.subscribeOne("$share/"+strings.Map(noSlash, name)+"/"+name, 0); r != codec.Success {
				t.Errorf("a share of %q: %v", name, r)
			}
			_ = share.Close()
			p.send(codec.AppendDisconnect(nil, &codec.Disconnect{}, p.v))
			p.closed(codec.Success)
			if r := logIn(t, s, name, "secret"); r != codec.BadUserNameOrPassword && r != codec.ConnectionRateExceeded {
				t.Errorf("user %q: %v", name, r)
			}
		}
	}
	visit(false)
	watcher.quiet()
	s.stop()
	s.restart()
	visit(true)
	if n := s.metric("promptmq_sessions"); n != float64(len(names)) {
		t.Errorf("%v sessions", n)
	}
}

func noSlash(r rune) rune {
	if r == '/' || r == '+' || r == '#' {
		return '_'
	}
	return r
}

// TestDollarTopics: wildcards at the begin do not reach topics that begin with $, a rule for #
// does not open them, nobody publishes to $SYS/, by no way that there is, and no topic has a
// meaning of its own to the broker. [MQTT-4.7.2-1]
func TestDollarTopics(t *testing.T) {
	t.Parallel()
	s := start(t, "mqtt: {sys-interval: 0s}\n") // testSysTopics has those of the broker itself
	internal := []string{"$SYS/broker/version", "$MQTT/sub/x", "$MQTT.msgs.x", "$CONTROL/dynamic-security/v1", "$JS/API", "$internal", "$"}
	wild := v5Of(t, s, "wild", nil)
	for _, filter := range []string{"#", "+/#", "+", "+/+/+", "+/broker/version", "$share/g/#", "$share/h/+/+/+"} {
		wild.subscribeOne(filter, 1)
	}
	named := v5Of(t, s, "named", nil)
	for _, filter := range append([]string{"$SYS/#", "$share/g/$SYS/#"}, internal...) {
		named.subscribeOne(filter, 0)
	}
	pub := v5Of(t, s, "pub", nil)
	tell := func(allowed bool) {
		t.Helper()
		for i, topic := range internal {
			want := codec.Success
			if !allowed || strings.HasPrefix(topic, "$SYS/") {
				want = codec.NotAuthorized
			}
			pub.publish(codec.Publish{QoS: 1, PacketID: uint16(i + 1), Retain: true, Topic: codec.View(topic), Payload: codec.View("x")})
			if got := pub.ack(codec.TypePuback).Reason; got != want && (want != codec.Success || got >= 0x80) {
				t.Errorf("%s: %v", topic, got)
			}
			p, ack := connectRaw(t, s.mqtt, codec.Version5, "will", func(c *codec.Connect) {
				c.HasWill, c.Will = true, codec.Will{Topic: codec.View(topic), Payload: codec.View("x")}
			})
			if ack.Reason != want {
				t.Errorf("a Will to %s: %v", topic, ack.Reason)
			}
			if want == codec.Success {
				p.send(codec.AppendDisconnect(nil, &codec.Disconnect{}, p.v))
				p.closed(codec.Success)
				if m := named.receive(); string(m.Topic) != topic {
					t.Errorf("%s came", m.Topic)
				}
			}
		}
		wild.quiet()
		named.quiet()
	}
	tell(true)
	late := v5Of(t, s, "late", nil) // what is retained
	for _, filter := range []string{"#", "+/#", "+", "+/+/+"} {
		late.subscribeOne(filter, 1)
	}
	late.quiet()
	commander{t, s.dataDir()}.ok("acl", "add", "allow everyone all topic #")
	tell(false)
	if r := late.subscribeOne("$SYS/#", 1); r != codec.NotAuthorized {
		t.Errorf("with a rule for #: SUBACK %v", r)
	}
	late.quiet()
}

// TestEchoStrict: whatever a client publishes and is not cut off for, all who subscribe get whole
// packets that are right by the letter, in their version, and stay connected. CVE-2026-67418 of
// RabbitMQ: one property of one client ended the connections of the subscribers.
func TestEchoStrict(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	s := start(t, "")
	var bystanders []*raw
	for _, v := range []codec.Version{codec.Version31, codec.Version311, codec.Version5, codec.Version5} {
		p, _ := connectRaw(t, s.mqtt, v, fmt.Sprint("bystander", len(bystanders)), func(c *codec.Connect) {
			if len(bystanders) == 3 { // which is told topics by aliases
				c.TopicAliasMaximum = 20
			}
		})
		p.subscribeOne("#", codec.QoS(len(bystanders)%3))
		bystanders = append(bystanders, p)
	}
	came := 0
	for range 400 {
		hostilePublisher(t, s, rng)
	}
	for _, p := range bystanders {
		came += p.drainStrictly()
	}
	t.Logf("%d messages came", came)
	if came < 400 {
		t.Errorf("only %d messages came", came)
	}
}

// hostilePublisher publishes random properties and damaged packets until it is cut off.
func hostilePublisher(t *testing.T, s *server, rng *rand.Rand) {
	t.Helper()
	p, ack := connectRaw(t, s.mqtt, codec.Version5, "hostile", nil)
	defer p.Close()
	if ack.Reason != codec.Success {
		t.Fatal(ack.Reason)
	}
	var batch []byte
	for i := range 1 + rng.IntN(10) {
		var properties []byte
		for range rng.IntN(5) {
			switch rng.IntN(5) {
			case 0:
				properties = codec.AppendUserProperty(properties, someText(rng), someText(rng))
			case 1:
				properties = append(properties, 0x01, byte(rng.IntN(3))) // Payload Format Indicator
			case 2:
				properties = codec.AppendContentType(properties, someText(rng))
			case 3:
				properties = codec.AppendResponseTopic(properties, someText(rng))
			case 4:
				properties = append(append(properties, 0x09, 0, 4), byte(rng.Uint32()), 0, 0xFF, '#') // Correlation Data
			}
		}
		topic := append([]byte("t/"), someText(rng)...)
		body := append([]byte{0, byte(len(topic))}, topic...)
		qos := byte(rng.IntN(3))
		if qos > 0 {
			body = append(body, 0, byte(i+1))
		}
		body = append(append(append(body, byte(len(properties))), properties...), someText(rng)...)
		if len(properties) > 127 || len(body) > 127 {
			continue
		}
		packet := append([]byte{0x30 | qos<<1 | byte(rng.IntN(2)), byte(len(body))}, body...)
		if rng.IntN(4) == 0 {
			packet[2+rng.IntN(len(packet)-2)] ^= 1 << rng.IntN(8)
		}
		batch = append(batch, packet...)
	}
	_, _ = p.Write(codec.AppendPingreq(batch)) // an error, as one below, is the end of it
	for {
		f, err := p.next()
		if err != nil || f.Type() == codec.TypePingresp || f.Type() == codec.TypeDisconnect {
			return
		}
	}
}

// someText is nearly always text.
func someText(rng *rand.Rand) []byte {
	pieces := []string{"a", "é", "\u20ac", "\U0001f600", "/", "\x01", "\x7f", "\ufeff", "\ufffe", "$", "__proto__", "'", "\n", "\x00", "\xff", "+", "#", "\xed\xa0\x80"}
	var b []byte
	for range rng.IntN(4) {
		n := len(pieces) - 5
		if rng.IntN(40) == 0 {
			n = len(pieces)
		}
		b = append(b, pieces[rng.IntN(n)]...)
	}
	return b
}

// drainStrictly takes all that is there, acknowledges it, and returns how much it was.
func (p *raw) drainStrictly() (n int) {
	p.t.Helper()
	for more := true; more; {
		more = false
		p.send(codec.AppendPingreq(nil), nil)
		for answered := false; !answered; {
			f, err := p.next()
			if err != nil {
				p.t.Fatalf("after %d messages: %v", n, err)
			}
			switch f.Type() {
			case codec.TypePublish:
				var m codec.Publish
				if err := m.Decode(f, p.v); err != nil {
					p.t.Fatalf("after %d messages: %v: % x", n, err, f.Body)
				}
				if why := notText(&m); why != "" {
					p.t.Fatalf("after %d messages: %s", n, why)
				}
				n++
				more = true
				if m.QoS > 0 {
					p.sendAck([]codec.PacketType{codec.TypePuback, codec.TypePubrec}[m.QoS-1], m.PacketID)
				}
			case codec.TypePubrel:
				var a codec.Ack
				if err := a.Decode(f, p.v); err != nil {
					p.t.Fatal(err)
				}
				p.sendAck(codec.TypePubcomp, a.PacketID)
				more = true
			case codec.TypePingresp:
				answered = true
			default:
				p.t.Fatalf("got %v", f.Type())
			}
		}
	}
	return n
}

// notText says which string of a message is none, by what the standard library says of UTF-8.
func notText(m *codec.Publish) (why string) {
	check := func(what string, text codec.View) {
		if !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 {
			why = fmt.Sprintf("%s %q", what, []byte(text))
		}
	}
	check("topic", m.Topic)
	if bytes.ContainsAny(m.Topic, "+#") {
		why = fmt.Sprintf("topic %q", []byte(m.Topic))
	}
	for what, find := range map[string]func() (codec.View, bool){"content type": m.Forward.ContentType, "response topic": m.Forward.ResponseTopic} {
		if text, found := find(); found {
			check(what, text)
			if what == "response topic" && bytes.ContainsAny(text, "+#") {
				why = fmt.Sprintf("%s %q", what, []byte(text))
			}
		}
	}
	m.Forward.EachUserProperty(func(name, value codec.View) bool {
		check("name of a user property", name)
		check("user property", value)
		return true
	})
	return why
}

// TestRetainedFlood: who subscribes to a hoard of retained messages and takes one at a time costs
// little memory, and keeps nobody else waiting.
func TestRetainedFlood(t *testing.T) {
	t.Parallel()
	retained, subscribers := 15_000, 10
	if *long {
		retained, subscribers = 100_000, 50
	}
	// With little garbage, so that what grows is seen.
	s := startBinary(t, binary, []string{"GOGC=10"}, "mqtt: {max-retained-messages: 1000000}\nstorage: {sqlite: {synchronous: \"OFF\"}}")
	filler := v5Of(t, s, "filler", nil)
	const window = 50
	for from := 0; from < retained; from += window {
		var batch []byte
		for i := range window {
			batch, _ = codec.AppendPublish(batch, &codec.Publish{QoS: 1, PacketID: uint16(1 + i), Retain: true, Topic: codec.View(fmt.Sprintf("r/%d/%d", i, from)), Payload: codec.View("0123456789")}, codec.Version5)
		}
		filler.send(batch, nil)
		for range window {
			filler.ack(codec.TypePuback)
		}
	}
	if n := s.metric("promptmq_retained_messages"); n != float64(retained) {
		t.Fatalf("%v are retained", n)
	}
	before := s.metric("promptmq_system_memory_usage")
	for i := range subscribers {
		p, _ := connectRaw(t, s.mqtt, codec.Version5, fmt.Sprint("one at a time", i), func(c *codec.Connect) { c.ReceiveMaximum = 1 })
		for _, filter := range []string{"#", "+/+/+", "r/#"} {
			askSubscribe(p, filter)
		}
		for came := 0; came < 4; { // three SUBACK, and a message, which is not acknowledged
			if _, err := p.next(); err != nil {
				t.Fatal(err)
			}
			came++
		}
	}
	var took []time.Duration
	for range 200 {
		began := time.Now()
		filler.quiet()
		took = append(took, time.Since(began))
	}
	grown := s.metric("promptmq_system_memory_usage") - before
	figure(t, "%d retained messages, %d subscribers of # with Receive Maximum 1: %.1f MB more; PINGRESP in %v at p99",
		retained, subscribers, grown/1e6, percentile(took, 99).Round(time.Microsecond))
	if most := 16e6; grown > most {
		t.Errorf("%.0f bytes more, at most %.0f", grown, most)
	}
	if *long && percentile(took, 99) > 50*time.Millisecond {
		t.Errorf("PINGRESP in %v", percentile(took, 99))
	}
}
