package broker

import (
	"testing"

	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/metrics"
)

// routed finds where a message goes, as its publisher does before it delivers.
func (p *path) routed(topic string, qos codec.QoS, retain bool) (*publication, *routing) {
	p.tb.Helper()
	pk := &codec.Publish{Topic: codec.View(topic), Payload: codec.View("late"), QoS: qos, Retain: retain}
	pub, s := &publication{p: pk, origin: origin{fromClient, p.pub.client, &p.pub.out}, now: p.b.clock.Now()}, new(routing)
	p.b.router.recall(s, pk.Topic)
	var pend pending
	if !retain {
		p.find(pub, s)
	} else if !p.b.findAndRetain(pub, s, &pend) {
		p.tb.Fatal("no room")
	}
	pend.flush(p.b.m)
	return pub, s
}

func (p *path) find(pub *publication, s *routing) {
	if !s.recalled {
		p.b.find(pub, s)
	}
}

// deliverAll is what the publisher does then.
func (p *path) deliverAll(pub *publication, s *routing) {
	var pend pending
	defer pend.flush(p.b.m)
	p.b.commits.Enter()
	defer p.b.commits.Leave()
	pub.routed = s.routed
	for i := range s.targets {
		if pub.deliver(&s.targets[i], &pend) == passedOn {
			p.b.deliverToAnother(s.targets[i], pub, &pend)
		}
	}
}

// sentBy counts the messages that fn makes the broker send.
func (p *path) sentBy(fn func()) (sent [3]int) {
	for qos := range sent {
		sent[qos] = -int(p.b.m.MessagesSent[qos].Get())
	}
	fn()
	for qos := range sent {
		sent[qos] += int(p.b.m.MessagesSent[qos].Get())
	}
	return sent
}

// TestNoCopyAfterUnsuback: a message that was routed before a subscription was
// removed goes by the subscriptions that are left. [MQTT-3.10.4-2]
func TestNoCopyAfterUnsuback(t *testing.T) {
	for _, test := range []struct {
		name          string
		before, after []string // subscribed to, with the QoS of their place
		remove        []string
		retain        bool
		want          [3]int
	}{
		{"the only one", []string{"a/b"}, nil, []string{"a/b"}, false, [3]int{}},
		{"another", []string{"a/b", "c"}, nil, []string{"c"}, false, [3]int{1}},
		{"one of two", []string{"a/b", "a/+"}, nil, []string{"a/+"}, false, [3]int{1}},
		{"the lower of two", []string{"a/b", "a/+"}, nil, []string{"a/b"}, false, [3]int{0, 1}},
		{"one of three", []string{"a/b", "a/+", "#"}, nil, []string{"#"}, false, [3]int{0, 1}},
		{"all of two", []string{"a/b", "a/+"}, nil, []string{"a/b", "a/+"}, false, [3]int{}},
		{"retained", []string{"a/b"}, nil, []string{"a/b"}, true, [3]int{}},
		{"retained, one of two", []string{"a/b", "a/+"}, nil, []string{"a/b"}, true, [3]int{0, 1}},
		// The new one gets it as retained at once, and not once more.
		{"retained, made again", []string{"a/b"}, []string{"a/b"}, []string{"a/b"}, true, [3]int{1}},
		{"retained, a new one", []string{"a/b"}, []string{"a/+"}, []string{"a/b"}, true, [3]int{1}},
		{"made again", []string{"a/b"}, []string{"a/b"}, []string{"a/b"}, false, [3]int{1}},
	} {
		for _, known := range []bool{false, true} { // is the Topic Name remembered?
			p := newPath(t, 0, 0)
			c := p.connect("c", new(sink))
			for qos, filter := range test.before {
				p.subscribe(c, codec.QoS(qos), filter)
			}
			p.pub.work()
			pub, s := p.routed("a/b", 2, test.retain)
			if known && !test.retain {
				for range 2 {
					pub, s = p.again(s)
				}
				if !s.recalled {
					t.Fatal("the targets were not remembered")
				}
			}
			got := p.sentBy(func() {
				p.unsubscribe(c, test.remove...)
				for qos, filter := range test.after {
					p.subscribe(c, codec.QoS(qos), filter)
				}
				p.deliverAll(pub, s)
			})
			if got != test.want {
				t.Errorf("%s, remembered %v: sent by QoS %v, expected %v", test.name, known, got, test.want)
			}
			if n := p.b.m.Dropped[metrics.DropSessionEnded].Get(); n != 0 {
				t.Errorf("%s: %d dropped", test.name, n)
			}
		}
	}
}

// again routes the same message once more with the same memory.
func (p *path) again(s *routing) (*publication, *routing) {
	pk := &codec.Publish{Topic: codec.View("a/b"), Payload: codec.View("late"), QoS: 2}
	pub := &publication{p: pk, origin: origin{fromClient, p.pub.client, &p.pub.out}, now: p.b.clock.Now()}
	p.b.router.recall(s, pk.Topic)
	p.find(pub, s)
	return pub, s
}

// TestLateForAMember: a message of a Shared Subscription whose chosen member ends
// its Session or unsubscribes before it is delivered goes to another member, and
// is counted if there is none. What is late for any other Session is counted too.
func TestLateForAMember(t *testing.T) {
	const shared = "$share/g/u"
	ended := make(map[*conn]bool)
	end := func(p *path, c *conn) {
		c.finish()
		ended[c] = true
	}
	leave := func(p *path, c *conn) { p.unsubscribe(c, shared) }
	for _, test := range []struct {
		name    string
		members int
		late    []func(*path, *conn) // what the members do, the chosen one first
		want    [3]int
		dropped metrics.DropReason
	}{
		{"the chosen one ends", 2, []func(*path, *conn){end}, [3]int{1}, -1},
		{"the chosen one leaves", 2, []func(*path, *conn){leave}, [3]int{1}, -1},
		{"two of three", 3, []func(*path, *conn){leave, end}, [3]int{1}, -1},
		{"all end", 2, []func(*path, *conn){end, end}, [3]int{}, metrics.DropNoMember},
		{"all leave", 2, []func(*path, *conn){leave, leave}, [3]int{}, metrics.DropNoMember},
		{"not shared", 0, []func(*path, *conn){end}, [3]int{}, metrics.DropSessionEnded},
	} {
		p := newPath(t, 0, 0)
		conns := make(map[*Client]*conn)
		for i := range max(1, test.members) {
			c := p.connectBriefly([]string{"m0", "m1", "m2"}[i])
			conns[c.client] = c
			p.subscribe(c, 0, []string{"u", shared}[min(test.members, 1)])
		}
		pub, s := p.routed("u", 0, false)
		if len(s.targets) != 1 {
			t.Fatalf("%s: %d targets", test.name, len(s.targets))
		}
		order := []*conn{conns[s.targets[0].client]}
		for cl, c := range conns {
			if cl != s.targets[0].client {
				order = append(order, c)
			}
		}
		for i, late := range test.late {
			late(p, order[i])
		}
		if got := p.sentBy(func() { p.deliverAll(pub, s) }); got != test.want {
			t.Errorf("%s: sent by QoS %v, expected %v", test.name, got, test.want)
		}
		for _, c := range conns {
			if !ended[c] {
				c.finish()
			}
		}
		for r := range metrics.NumDropReasons {
			want := uint64(0)
			if r == test.dropped {
				want = 1
			}
			if n := uint64(p.b.m.Dropped[r].Get()); n != want {
				t.Errorf("%s: %d counted as %v, expected %d", test.name, n, r, want)
			}
		}
	}
}

// connectBriefly is connect for a connection that the test itself may end.
func (p *path) connectBriefly(id string) *conn {
	c := p.b.newConn(link.Accepted{Transport: new(sink), At: p.b.clock.Now(), Local: true})
	p.b.addConn(c)
	b, err := codec.AppendConnect(nil, &codec.Connect{ClientID: codec.View(id), CleanStart: true, ReceiveMaximum: 65535}, codec.Version5)
	if err != nil {
		p.tb.Fatal(err)
	}
	p.put(c, b)
	return c
}
