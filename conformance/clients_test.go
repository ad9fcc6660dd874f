package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	mqtt3 "github.com/eclipse/paho.mqtt.golang"
)

// The flows that applications use, with the clients that they use: paho for
// MQTT 5, the older paho for 3.1.1, each over TCP and over WebSocket.
var clientTests = slices.Concat(
	clientTestsOver("tcp", func(t *T) string { return t.target.url }),
	clientTestsOver("websocket", func(t *T) string {
		if t.target.ws == "" {
			t.NotRun("needs -broker-ws")
		}
		return t.target.ws
	}),
)

func clientTestsOver(transport string, address func(t *T) string) []test {
	flow := func(name, v5, v311 string, run func(t *T, address string)) test {
		return test{"client/" + transport + "-" + name, v5, v311, func(t *T) { run(t, address(t)) }}
	}
	return []test{
		flow("publish-and-receive", "3.2.0-1 3.8.4-1 4.3.2-4 4.3.3-8 4.3.3-11 3.8.4-8", "3.2.0-1 3.8.4-1 4.3.2-2 4.3.3-2", func(t *T, address string) {
			t.needQoS(2)
			pub := t.client(address, user{})
			for qos := range byte(3) {
				sub, topic := t.client(address, user{}), t.topic()
				sub.subscribe(filter{topic, qos})
				for sent := range byte(3) {
					pub.publish(topic, "m", sent, false)
					sub.expect(fmt.Sprintf("%s=m/%d", topic, min(qos, sent)))
				}
				sub.disconnect()
			}
			pub.disconnect()
		}),
		flow("order", "4.6.0-5 4.6.0-6", "4.6.0-5 4.6.0-6", func(t *T, address string) {
			for qos := range byte(offered.qos) + 1 {
				pub, sub, topic := t.client(address, user{}), t.client(address, user{}), t.topic()
				sub.subscribe(filter{topic, qos})
				var want []string
				for i := range 50 {
					pub.publish(topic, fmt.Sprint(i), qos, false)
					want = append(want, fmt.Sprintf("%s=%d/%d", topic, i, qos))
				}
				sub.expect(want...)
			}
		}),
		flow("many-filters", "3.8.4-5 3.8.4-6 3.10.4-6 3.11.3-1", "3.8.4-4 3.10.4-6", func(t *T, address string) {
			c, base := t.client(address, user{}), t.topic()
			var filters []filter
			var names []string
			for i := range 50 {
				names = append(names, fmt.Sprintf("%s/%d", base, i))
				filters = append(filters, filter{names[i], byte(i) % (byte(offered.qos) + 1)})
			}
			c.subscribe(filters...)
			for i, name := range names {
				c.publish(name, "m", byte(offered.qos), false)
				c.expect(fmt.Sprintf("%s=m/%d", name, filters[i].qos))
			}
			c.unsubscribe(names[:49]...)
			for _, name := range names {
				c.publish(name, "n", 0, false)
			}
			c.expect(names[49] + "=n/0")
		}),
		flow("unsubscribe", "3.10.4-1 3.10.4-2 3.10.4-4", "3.10.4-1 3.10.4-2 3.10.4-4", func(t *T, address string) {
			c, a, b := t.client(address, user{}), t.topic(), t.topic()
			c.subscribe(filter{a, 0}, filter{b, 0})
			c.unsubscribe(a)
			c.publish(a, "unsubscribed", 0, false)
			c.publish(b, "stays", 0, false)
			c.expect(b + "=stays/0")
		}),
		flow("will", "3.1.2-7 3.1.2-8", "3.1.2-8", func(t *T, address string) {
			qos := byte(offered.qos)
			watch, topic := t.client(address, user{}), t.topic()
			watch.subscribe(filter{topic, qos})
			t.client(address, user{will: topic}).disconnect() // takes it along
			t.client(address, user{will: topic}).drop()
			watch.expect(fmt.Sprintf("%s=gone/%d", topic, qos))
			watch.publish(topic, "mark", qos, false)
			watch.expect(fmt.Sprintf("%s=mark/%d", topic, qos))
		}),
		flow("retained", "3.3.1-5 3.3.1-6 3.3.1-9 3.3.1-12", "3.3.1-5 3.3.1-6 3.3.1-8 3.3.1-9 3.3.1-10", func(t *T, address string) {
			t.needRetain()
			topic := t.topic()
			t.Cleanup(func() { t.unretain(topic) })
			pub := t.client(address, user{})
			qos := byte(offered.qos)
			pub.publish(topic, "old", 0, true)
			pub.publish(topic, "new", qos, true)
			late := t.client(address, user{})
			late.subscribe(filter{topic, qos})
			late.expect(fmt.Sprintf("%s=new/%d retained", topic, qos))
			pub.publish(topic, "newer", qos, true)
			late.expect(fmt.Sprintf("%s=newer/%d", topic, qos))
			pub.publish(topic, "", qos, true)
			late.expect(fmt.Sprintf("%s=/%d", topic, qos))
			last := t.client(address, user{})
			last.subscribe(filter{topic, qos})
			pub.publish(topic, "live", qos, false)
			last.expect(fmt.Sprintf("%s=live/%d", topic, qos))
		}),
		flow("resumed-session", "3.1.2-5 3.1.2-23 3.2.2-3 4.6.0-5 4.6.0-6", "3.1.2-4 3.2.2-2 3.2.2-3 4.6.0-5 4.6.0-6", func(t *T, address string) {
			t.needQoS(2)
			for qos := byte(1); qos <= 2; qos++ {
				id, topic := t.clientID(), t.topic()
				t.Cleanup(func() { t.forget(id) })
				c := t.client(address, user{id: id, durable: true})
				if c.present() {
					t.Errorf("a session of nobody is present")
				}
				c.subscribe(filter{topic, qos})
				c.drop()
				pub := t.client(address, user{})
				var want []string
				for i := range 20 {
					pub.publish(topic, fmt.Sprint(i), qos, false)
					want = append(want, fmt.Sprintf("%s=%d/%d", topic, i, qos))
				}
				again := t.client(address, user{id: id, durable: true})
				if !again.present() {
					t.Errorf("no session is present")
				}
				pub.publish(topic, "live", qos, false)
				again.expect(append(want, fmt.Sprintf("%s=live/%d", topic, qos))...)
				again.disconnect()
			}
		}),
		flow("ping", "3.12.4-1", "3.12.4-1", func(t *T, address string) {
			// The client pings up to a quarter late; the rest of one and a half times
			// is for a machine that has other things to do, and may be too little.
			for _, keepAlive := range []uint16{5, 30} {
				c, topic := t.client(address, user{keepAlive: keepAlive}), t.topic()
				c.subscribe(filter{topic, 0})
				select {
				case <-c.pongs():
				case <-time.After(lifetime(2 * uint32(keepAlive))):
					continue
				}
				c.publish(topic, "still here", 0, false)
				c.expect(topic + "=still here/0")
				return
			}
			t.Fatalf("no PINGRESP")
		}),
		flow("large", "beyond", "beyond", func(t *T, address string) {
			if limit := offered.packetBytesMax; limit > 0 && limit < 101_000 {
				t.NotOffered("packets of 100,000 bytes")
			}
			c, topic := t.client(address, user{}), t.topic()
			payload := string(bytes.Repeat([]byte("0123456789"), 10_000))
			c.subscribe(filter{topic, 0})
			for range 5 {
				c.publish(topic, payload, 0, false)
				c.expect(topic + "=" + payload + "/0")
			}
		}),
		flow("properties", "3.3.2-15 3.3.2-16 3.3.2-17 3.3.2-18 3.3.2-20", "", func(t *T, address string) {
			// A request and its response, as MQTT 5 has them.
			client, server := t.client5(address, user{}), t.client5(address, user{})
			request, response := t.topic(), t.topic()
			server.subscribe(filter{request, 0})
			client.subscribe(filter{response, 0})
			want := paho.UserProperties{{Key: "b", Value: "1"}, {Key: "a", Value: "2"}, {Key: "b", Value: "3"}}
			if _, err := client.Publish(client.soon(), &paho.Publish{Topic: request, Payload: []byte("?"), Properties: &paho.PublishProperties{
				ResponseTopic: response, CorrelationData: []byte{0, 1, 0xFF}, ContentType: "text/plain", User: want,
			}}); err != nil {
				t.Fatalf("%v", err)
			}
			server.expect(request + "=?/0")
			got := server.last.Properties
			if got.ContentType != "text/plain" || !slices.Equal(got.User, want) {
				t.Errorf("Content Type %q, User Properties %q", got.ContentType, got.User)
			}
			if _, err := server.Publish(server.soon(), &paho.Publish{Topic: got.ResponseTopic, Payload: []byte("!"), Properties: &paho.PublishProperties{
				CorrelationData: got.CorrelationData,
			}}); err != nil {
				t.Fatalf("%v", err)
			}
			client.expect(response + "=!/0")
			if got := client.last.Properties.CorrelationData; !bytes.Equal(got, []byte{0, 1, 0xFF}) {
				t.Errorf("Correlation Data % x", got)
			}
		}),
	}
}

// A user says how a client connects.
type user struct {
	id        string // empty: a new one
	durable   bool   // its session outlives the connection
	will      string // topic of a Will "gone" with the highest QoS; empty: none
	keepAlive uint16 // seconds; 0: 60
}

// A filter is a subscription.
type filter struct {
	name string
	qos  byte
}

// A client is what both libraries have in common.
type client interface {
	present() bool // Session Present
	subscribe(filters ...filter)
	unsubscribe(names ...string)
	publish(topic, payload string, qos byte, retain bool) // until it is acknowledged
	expect(want ...string)                                // these messages, "topic=payload/QoS", and no others before them
	pongs() <-chan struct{}                               // one for each PINGRESP
	drop()
	disconnect()
}

// client connects a client of the library for the version of the test.
func (t *T) client(address string, u user) client {
	t.Helper()
	if t.v5() {
		return t.client5(address, u)
	}
	return t.client3(address, u)
}

// A received gathers what a client gets.
type received struct {
	t    *T
	came chan string
}

func newReceived(t *T) *received { return &received{t, make(chan string, 10_000)} }

func (r *received) put(topic string, payload []byte, qos byte, retained bool) {
	text := fmt.Sprintf("%s=%s/%d", topic, payload, qos)
	if retained {
		text += " retained"
	}
	r.came <- text
}

func (r *received) expect(want ...string) {
	r.t.Helper()
	deadline := time.After(answerTime)
	for _, w := range want {
		select {
		case got := <-r.came:
			if got != w {
				r.t.Fatalf("got %q, expected %q", clip(got), clip(w))
			}
		case <-deadline:
			r.t.Fatalf("%q does not come", clip(w))
		}
	}
}

// A tapped connection tells of each PINGRESP.
type tapped struct {
	net.Conn
	pong chan struct{}
}

func (c *tapped) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && b[0] == 0xD0 { // nothing else comes when a client pings, and it reads byte by byte
		select {
		case c.pong <- struct{}{}:
		default:
		}
	}
	return n, err
}

func (t *T) tap(address string) *tapped {
	t.Helper()
	nc, err := open(address)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return &tapped{nc, make(chan struct{}, 1)}
}

func (c *tapped) pongs() <-chan struct{} { return c.pong }

func (c *tapped) drop() { _ = c.Close() }

// A client5 is paho for MQTT 5.
type client5 struct {
	*paho.Client
	*tapped
	*received
	ack  *paho.Connack
	last *paho.Publish
}

func (t *T) client5(address string, u user) *client5 {
	t.Helper()
	c := &client5{tapped: t.tap(address), received: newReceived(t)}
	if u.id == "" {
		u.id = t.clientID()
	}
	c.Client = paho.NewClient(paho.ClientConfig{
		ClientID: u.id, Conn: packets.NewThreadSafeConn(c.tapped), PacketTimeout: answerTime,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			c.last = p.Packet
			c.put(p.Packet.Topic, p.Packet.Payload, p.Packet.QoS, p.Packet.Retain)
			return true, nil
		}},
	})
	connect := &paho.Connect{ClientID: u.id, KeepAlive: 60, CleanStart: !u.durable}
	if u.keepAlive > 0 {
		connect.KeepAlive = u.keepAlive
	}
	if u.durable {
		seconds := uint32(300)
		connect.Properties = &paho.ConnectProperties{SessionExpiryInterval: &seconds}
	}
	if u.will != "" {
		connect.WillMessage = &paho.WillMessage{Topic: u.will, Payload: []byte("gone"), QoS: byte(offered.qos)}
	}
	var err error
	if c.ack, err = c.Connect(c.soon(), connect); err != nil {
		t.Fatalf("CONNECT: %v", err)
	}
	return c
}

func (c *client5) soon() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	c.t.Cleanup(cancel)
	return ctx
}

func (c *client5) present() bool { return c.ack.SessionPresent }

func (c *client5) subscribe(filters ...filter) {
	c.t.Helper()
	s := &paho.Subscribe{}
	for _, f := range filters {
		s.Subscriptions = append(s.Subscriptions, paho.SubscribeOptions{Topic: f.name, QoS: f.qos})
	}
	ack, err := c.Subscribe(c.soon(), s)
	if err != nil {
		c.t.Fatalf("SUBSCRIBE: %v", err)
	}
	for i, reason := range ack.Reasons {
		if reason != filters[i].qos {
			c.t.Fatalf("SUBACK has %d for a filter with QoS %d", reason, filters[i].qos)
		}
	}
}

func (c *client5) unsubscribe(names ...string) {
	c.t.Helper()
	if _, err := c.Unsubscribe(c.soon(), &paho.Unsubscribe{Topics: names}); err != nil {
		c.t.Fatalf("UNSUBSCRIBE: %v", err)
	}
}

func (c *client5) publish(topic, payload string, qos byte, retain bool) {
	c.t.Helper()
	if _, err := c.Publish(c.soon(), &paho.Publish{Topic: topic, Payload: []byte(payload), QoS: qos, Retain: retain}); err != nil {
		c.t.Fatalf("PUBLISH with QoS %d: %v", qos, err)
	}
}

func (c *client5) disconnect() {
	c.t.Helper()
	if err := c.Disconnect(&paho.Disconnect{}); err != nil {
		c.t.Fatalf("DISCONNECT: %v", err)
	}
}

// A client3 is paho for MQTT 3.1.1.
type client3 struct {
	mqtt3.Client
	*tapped
	*received
	sessionPresent bool
}

func (t *T) client3(address string, u user) *client3 {
	t.Helper()
	c := &client3{tapped: t.tap(address), received: newReceived(t)}
	if u.id == "" {
		u.id = t.clientID()
	}
	once := sync.OnceValues(func() (net.Conn, error) { return c.tapped, nil })
	o := mqtt3.NewClientOptions().AddBroker("tcp://connection.already.open").SetClientID(u.id).SetCleanSession(!u.durable).
		SetProtocolVersion(4).SetAutoReconnect(false).SetConnectRetry(false).SetKeepAlive(60 * time.Second).
		SetCustomOpenConnectionFn(func(*url.URL, mqtt3.ClientOptions) (net.Conn, error) { return once() }).
		SetDefaultPublishHandler(func(_ mqtt3.Client, m mqtt3.Message) {
			c.put(m.Topic(), m.Payload(), m.Qos(), m.Retained())
		})
	if u.keepAlive > 0 {
		o.SetKeepAlive(time.Duration(u.keepAlive) * time.Second)
	}
	if u.will != "" {
		o.SetWill(u.will, "gone", byte(offered.qos), false)
	}
	c.Client = mqtt3.NewClient(o)
	token := c.Connect()
	c.done("CONNECT", token)
	c.sessionPresent = token.(*mqtt3.ConnectToken).SessionPresent()
	t.Cleanup(func() { c.Client.Disconnect(0) })
	return c
}

// done waits until what the library does is complete.
func (c *client3) done(what string, token mqtt3.Token) {
	c.t.Helper()
	err := errors.New("no answer")
	if token.WaitTimeout(answerTime) {
		err = token.Error()
	}
	if err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
}

func (c *client3) present() bool { return c.sessionPresent }

func (c *client3) subscribe(filters ...filter) {
	c.t.Helper()
	asked := map[string]byte{}
	for _, f := range filters {
		asked[f.name] = f.qos
	}
	token := c.SubscribeMultiple(asked, nil)
	c.done("SUBSCRIBE", token)
	for name, granted := range token.(*mqtt3.SubscribeToken).Result() {
		if granted != asked[name] {
			c.t.Fatalf("SUBACK has %d for a filter with QoS %d", granted, asked[name])
		}
	}
}

func (c *client3) unsubscribe(names ...string) {
	c.t.Helper()
	c.done("UNSUBSCRIBE", c.Unsubscribe(names...))
}

func (c *client3) publish(topic, payload string, qos byte, retain bool) {
	c.t.Helper()
	c.done("PUBLISH", c.Publish(topic, qos, retain, payload))
}

func (c *client3) disconnect() { c.Client.Disconnect(uint(time.Second.Milliseconds())) }
