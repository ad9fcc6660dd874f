package broker_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	mqtt3 "github.com/eclipse/paho.mqtt.golang"
)

// These tests use the clients that users have: paho for MQTT 5, over TCP and
// WebSocket, and the older paho for 3.1.1.

// An inbox gathers what a client receives.
type inbox struct {
	mu       sync.Mutex
	messages []string
	came     chan struct{}
}

func newInbox() *inbox { return &inbox{came: make(chan struct{}, 1000)} }

func (in *inbox) put(text string) {
	in.mu.Lock()
	in.messages = append(in.messages, text)
	in.mu.Unlock()
	in.came <- struct{}{}
}

// await waits until as many messages have come as are wanted.
func (in *inbox) await(t *testing.T, want []string) {
	t.Helper()
	deadline := time.After(patience)
	for range want {
		select {
		case <-in.came:
		case <-deadline:
			t.Fatalf("got %q, expected %q", in.messages, want)
		}
	}
}

// expect waits until exactly these messages have come, in this order.
func (in *inbox) expect(t *testing.T, want ...string) {
	t.Helper()
	in.await(t, want)
	in.mu.Lock()
	defer in.mu.Unlock()
	if fmt.Sprint(in.messages) != fmt.Sprint(want) {
		t.Errorf("got %q, expected %q", in.messages, want)
	}
	in.messages = nil
}

// A v5 is a paho client with its inbox.
type v5 struct {
	*paho.Client
	t    *testing.T
	conn net.Conn
	in   *inbox
	// present is Session Present in CONNACK.
	present bool
}

func dialWebSocket(t *testing.T, addr string) net.Conn {
	t.Helper()
	ws, _, err := websocket.Dial(t.Context(), "ws://"+addr+"/any/path", &websocket.DialOptions{Subprotocols: []string{"mqtt"}})
	if err != nil {
		t.Fatal(err)
	}
	return websocket.NetConn(context.Background(), ws, websocket.MessageBinary)
}

// connectV5 connects; change may alter the CONNECT.
func connectV5(t *testing.T, nc net.Conn, id string, change func(*paho.Connect)) *v5 {
	t.Helper()
	c := &v5{t: t, conn: nc, in: newInbox()}
	c.Client = paho.NewClient(paho.ClientConfig{
		ClientID: id, Conn: packets.NewThreadSafeConn(nc), PacketTimeout: patience,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			text := fmt.Sprintf("%s=%s/%d", p.Packet.Topic, p.Packet.Payload, p.Packet.QoS)
			if p.Packet.Retain {
				text += " retained"
			}
			for _, u := range p.Packet.Properties.User {
				text += fmt.Sprintf(" %s:%s", u.Key, u.Value)
			}
			c.in.put(text)
			return true, nil
		}},
	})
	connect := &paho.Connect{ClientID: id, KeepAlive: 30, CleanStart: true}
	if change != nil {
		change(connect)
	}
	ack, err := c.Connect(c.soon(), connect)
	if err != nil {
		t.Fatal(err)
	}
	c.present = ack.SessionPresent
	t.Cleanup(func() { _ = nc.Close() })
	return c
}

func (c *v5) soon() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	c.t.Cleanup(cancel)
	return ctx
}

func (c *v5) subscribe(filter string, qos byte) {
	c.t.Helper()
	if _, err := c.Subscribe(c.soon(), &paho.Subscribe{
		Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: qos}},
	}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *v5) publish(p *paho.Publish) {
	c.t.Helper()
	if _, err := c.Publish(c.soon(), p); err != nil {
		c.t.Fatal(err)
	}
}

func (c *v5) send(topic, payload string, qos byte, retain bool) {
	c.t.Helper()
	c.publish(&paho.Publish{Topic: topic, Payload: []byte(payload), QoS: qos, Retain: retain})
}

func durable(c *paho.Connect) {
	seconds := uint32(3600)
	c.CleanStart, c.Properties = false, &paho.ConnectProperties{SessionExpiryInterval: &seconds}
}

func TestV5Client(t *testing.T) {
	t.Parallel()
	s := newListening(t)
	for name, dial := range map[string]func() net.Conn{
		"tcp":       func() net.Conn { return dialTCP(t, s.addr()) },
		"websocket": func() net.Conn { return dialWebSocket(t, s.wsAddr()) },
	} {
		t.Run(name, func(t *testing.T) {
			sub := connectV5(t, dial(), name+"-sub", nil)
			pub := connectV5(t, dial(), name+"-pub", nil)
			for _, qos := range []byte{0, 1, 2} {
				topic := fmt.Sprintf("%s/qos%d", name, qos)
				sub.subscribe(topic, qos)
				for _, sent := range []byte{0, 1, 2} {
					pub.send(topic, "m", sent, false)
					sub.in.expect(t, fmt.Sprintf("%s=m/%d", topic, min(qos, sent)))
				}
			}
			pub.send(name+"/kept", "old", 1, true)
			pub.send(name+"/kept", "new", 2, true)
			sub.subscribe(name+"/kept", 1)
			sub.in.expect(t, name+"/kept=new/1 retained")

			sub.subscribe(name+"/properties", 1)
			pub.publish(&paho.Publish{Topic: name + "/properties", QoS: 1, Properties: &paho.PublishProperties{
				User: paho.UserProperties{{Key: "b", Value: "1"}, {Key: "a", Value: "2"}, {Key: "b", Value: "3"}},
			}})
			sub.in.expect(t, name+"/properties=/1 b:1 a:2 b:3")

			big := make([]byte, 100000) // more than a frame, more than a buffer
			sub.subscribe(name+"/big", 1)
			pub.publish(&paho.Publish{Topic: name + "/big", QoS: 1, Payload: big})
			sub.in.expect(t, fmt.Sprintf("%s/big=%s/1", name, big))

			dying := connectV5(t, dial(), name+"-dying", func(c *paho.Connect) {
				c.WillMessage = &paho.WillMessage{Topic: name + "/will", Payload: []byte("gone"), QoS: 1}
			})
			sub.subscribe(name+"/will", 1)
			_ = dying.conn.Close()
			sub.in.expect(t, name+"/will=gone/1")
		})
	}
}

// TestV5Resume: a session goes on after the client and after the broker died.
func TestV5Resume(t *testing.T) {
	t.Parallel()
	s := newListening(t)
	for _, broker := range []string{"client", "kill", "stop"} {
		sub := connectV5(t, dialTCP(t, s.addr()), "resume-"+broker, durable)
		sub.subscribe(broker+"/#", 2)
		_ = sub.conn.Close()
		pub := connectV5(t, dialTCP(t, s.addr()), "resume-pub", nil)
		var want []string
		for i := range 10 {
			topic, qos := fmt.Sprintf("%s/%d", broker, i), byte(1+i%2)
			pub.send(topic, "queued", qos, false)
			want = append(want, fmt.Sprintf("%s=queued/%d", topic, qos))
		}
		pub.send(broker+"/kept", "retained", 1, true)
		want = append(want, broker+"/kept=retained/1")
		switch broker {
		case "kill":
			s.kill()
			s.restart()
		case "stop":
			s.stop()
			s.restart()
		}
		sub = connectV5(t, dialTCP(t, s.addr()), "resume-"+broker, durable)
		if !sub.present {
			t.Errorf("%s: the session is gone", broker)
		}
		expectByQoS(t, sub.in, want)
		fresh := connectV5(t, dialTCP(t, s.addr()), "fresh", nil)
		fresh.subscribe(broker+"/kept", 0)
		fresh.in.expect(t, broker+"/kept=retained/0 retained")
	}
}

// expectByQoS compares as expect does, but messages of different QoS may
// overtake each other. [MQTT-4.6.0-5]
func expectByQoS(t *testing.T, in *inbox, want []string) {
	t.Helper()
	in.await(t, want)
	of := func(messages []string, qos byte) (s []string) {
		for _, m := range messages {
			if m[len(m)-1] == qos {
				s = append(s, m)
			}
		}
		return s
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, qos := range []byte{'1', '2'} {
		if got, want := fmt.Sprint(of(in.messages, qos)), fmt.Sprint(of(want, qos)); got != want {
			t.Errorf("got %s, expected %s", got, want)
		}
	}
	in.messages = nil
}

func connectPaho311(t *testing.T, s *fixture, id string, clean bool, change func(*mqtt3.ClientOptions)) (mqtt3.Client, *inbox) {
	t.Helper()
	in := newInbox()
	u := &url.URL{Scheme: "tcp", Host: s.addr()}
	o := mqtt3.NewClientOptions().AddBroker(u.String()).SetClientID(id).SetCleanSession(clean).
		SetProtocolVersion(4).SetAutoReconnect(false).SetConnectRetry(false).
		SetDefaultPublishHandler(func(_ mqtt3.Client, m mqtt3.Message) {
			in.put(fmt.Sprintf("%s=%s/%d", m.Topic(), m.Payload(), m.Qos()))
		})
	if change != nil {
		change(o)
	}
	c := mqtt3.NewClient(o)
	done311(t, c.Connect())
	t.Cleanup(func() { c.Disconnect(0) })
	return c, in
}

func done311(t *testing.T, token mqtt3.Token) {
	t.Helper()
	if !token.WaitTimeout(patience) {
		t.Fatal("no answer")
	}
	if err := token.Error(); err != nil {
		t.Fatal(err)
	}
}

func Test311Client(t *testing.T) {
	t.Parallel()
	s := newListening(t)
	pub, _ := connectPaho311(t, s, "pub", true, nil)
	for _, qos := range []byte{0, 1, 2} {
		sub, in := connectPaho311(t, s, fmt.Sprintf("sub%d", qos), true, nil)
		topic := fmt.Sprintf("three/%d", qos)
		done311(t, sub.Subscribe(topic, qos, nil))
		for _, sent := range []byte{0, 1, 2} {
			done311(t, pub.Publish(topic, sent, false, "m"))
			in.expect(t, fmt.Sprintf("%s=m/%d", topic, min(qos, sent)))
		}
	}
	done311(t, pub.Publish("three/kept", 1, true, "kept"))
	watcher, in := connectPaho311(t, s, "watcher", true, nil)
	done311(t, watcher.Subscribe("three/kept", 1, nil))
	in.expect(t, "three/kept=kept/1")

	done311(t, watcher.Subscribe("three/will", 1, nil))
	var raw net.Conn
	connectPaho311(t, s, "dying", true, func(o *mqtt3.ClientOptions) {
		o.SetWill("three/will", "gone", 1, false)
		o.SetCustomOpenConnectionFn(func(u *url.URL, _ mqtt3.ClientOptions) (net.Conn, error) {
			var err error
			raw, err = net.Dial("tcp", u.Host)
			return raw, err
		})
	})
	_ = raw.Close()
	in.expect(t, "three/will=gone/1")
}

func Test311Resume(t *testing.T) {
	t.Parallel()
	s := newListening(t)
	sub, _ := connectPaho311(t, s, "resume", false, nil)
	done311(t, sub.Subscribe("three/#", 2, nil))
	sub.Disconnect(100)
	pub, _ := connectPaho311(t, s, "pub", true, nil)
	var want []string
	for i := range 6 {
		qos := byte(1 + i%2)
		done311(t, pub.Publish("three/queued", qos, false, fmt.Sprint(i)))
		want = append(want, fmt.Sprintf("three/queued=%d/%d", i, qos))
	}
	s.kill()
	s.restart()
	_, in := connectPaho311(t, s, "resume", false, nil)
	expectByQoS(t, in, want)
}
