package conformance

import (
	"fmt"

	"github.com/x0a1b/promptmq/codec"
)

// Retained messages, sections 3.3.1.3 and 3.8.4.
var retainTests = []test{
	{"retain/kept-and-replaced", "3.3.1-5 3.3.1-9", "3.3.1-5 3.3.1-6", func(t *T) {
		for qos := range offered.qos + 1 {
			p, topic := t.keeper()
			p.retained(topic, "first", qos)
			p.retained(topic, "second", qos)
			late := t.connect()
			late.subscribe(sub(topic, 2))
			if m := late.expect("second"); !m.retain || m.qos != qos || m.dup {
				t.Errorf("%v, was published with QoS %d", m, qos)
			}
			late.quiet()
		}
	}},
	{"retain/qos-0-replaces", "3.3.1-5", "3.3.1-7", func(t *T) {
		t.needQoS(1)
		p, topic := t.keeper()
		p.retained(topic, "old", 1)
		p.retained(topic, "new", 0)
		late := t.connect()
		late.subscribe(sub(topic, 1))
		for _, m := range late.untilQuiet() { // before MQTT 5 a server may drop the new one, but never keep the old
			if m.payload != "new" {
				t.Errorf("%v", m)
			}
		}
	}},
	{"retain/survives-publisher", "3.3.1-5", "3.3.1-5", func(t *T) {
		p, topic := t.keeper()
		p.retained(topic, "stays", 0)
		p.disconnect()
		late := t.connect()
		late.subscribe(sub(topic, 0))
		late.expect("stays")
	}},
	{"retain/empty-payload-removes", "3.3.1-6 3.3.1-7", "3.3.1-10 3.3.1-11", func(t *T) {
		for qos := range offered.qos + 1 {
			p, topic := t.keeper()
			present := t.connect()
			present.subscribe(sub(topic, qos))
			p.retained(topic, "to be removed", qos)
			present.expect("to be removed")
			p.retained(topic, "", qos)
			if m := present.expect(""); m.retain { // it is delivered as any other
				t.Errorf("%v", m)
			}
			late := t.connect()
			late.subscribe(sub(topic, 0))
			late.quiet()
		}
	}},
	{"retain/only-with-flag", "3.3.1-8", "3.3.1-12", func(t *T) {
		p, topic := t.keeper()
		p.publish(topic, "passing", 0)
		p.settle()
		late := t.connect()
		late.subscribe(sub(topic, 0))
		late.quiet()
		p.retained(topic, "kept", 0)
		p.publish(topic, "passing", 0)
		p.publish(topic, "", 0)
		p.settle()
		later := t.connect()
		later.subscribe(sub(topic, 0))
		later.expect("kept")
		later.quiet()
	}},
	{"retain/flag-of-a-live-message", "3.3.1-12 3.3.1-13", "3.3.1-8 3.3.1-9", func(t *T) {
		p, topic := t.keeper()
		p.subscribe(sub(topic, 0))
		published := t.connect()
		if t.v5() {
			published.subscribe(sub(topic, 0, retainAsPublished))
		} else {
			published.subscribe(sub(topic, 0))
		}
		p.retained(topic, "with", 0)
		p.publish(topic, "without", 0)
		for _, payload := range []string{"with", "without"} {
			if m := p.expect(payload); m.retain {
				t.Errorf("%v to an established subscription", m)
			}
			if m := published.expect(payload); m.retain != (t.v5() && payload == "with") {
				t.Errorf("%v with Retain As Published", m)
			}
		}
		late := t.connect()
		late.subscribe(sub(topic, 0))
		if m := late.expect("with"); !m.retain {
			t.Errorf("%v because of a new subscription", m)
		}
	}},
	{"retain/qos-is-the-lower", "3.8.4-8", "", func(t *T) {
		for stored := range offered.qos + 1 {
			p, topic := t.keeper()
			p.retained(topic, "kept", stored)
			for asked := range codec.QoS(3) {
				late := t.connect()
				granted := codec.QoS(late.trySubscribe(0, sub(topic, asked))[0])
				if m := late.expect("kept"); m.qos != min(stored, granted) {
					t.Errorf("%v, was published with QoS %d, granted is %d", m, stored, granted)
				}
			}
		}
	}},
	{"retain/handling-0", "3.3.1-9 3.8.4-4", "3.3.1-6", func(t *T) {
		p, topic := t.keeper()
		p.retained(topic, "again", 0)
		for range 3 { // at each SUBSCRIBE, also of the same filter
			p.subscribe(sub(topic, 0))
			p.expect("again")
		}
		p.quiet()
	}},
	{"retain/handling-1", "3.3.1-10", "", func(t *T) {
		p, topic := t.keeper()
		p.retained(topic, "only for new", 0)
		p.subscribe(sub(topic, 0, retainHandling(1)))
		p.expect("only for new")
		p.subscribe(sub(topic, 0, retainHandling(1)))
		p.quiet()
		p.unsubscribe(topic)
		p.subscribe(sub(topic, 0, retainHandling(1)))
		p.expect("only for new")
		// A resumed session has the subscription already.
		id := t.clientID()
		q := t.connect(t.durable(id))
		q.subscribe(sub(topic, 0, retainHandling(1)))
		q.expect("only for new")
		q.drop()
		q = t.connect(t.durable(id))
		q.subscribe(sub(topic, 0, retainHandling(1)))
		q.quiet()
	}},
	{"retain/handling-2", "3.3.1-11", "", func(t *T) {
		p, topic := t.keeper()
		p.retained(topic, "never", 0)
		p.subscribe(sub(topic, 0, retainHandling(2)))
		p.quiet()
		p.subscribe(sub(topic, 1, retainHandling(2)))
		p.quiet()
		p.publish(topic, "live", 0)
		p.expect("live")
	}},
	{"retain/each-matching-topic", "3.3.1-9", "3.3.1-6", func(t *T) {
		t.needWildcard()
		p, topic := t.keeper()
		want := map[string]bool{}
		for i := range 20 {
			name := fmt.Sprintf("%s/%d", topic, i)
			p.retained(name, name, 0)
			want[name] = true
		}
		late := t.connect()
		late.subscribe(sub(topic+"/#", 0))
		for range 20 {
			m := late.take()
			if m.payload != m.topic || !want[m.topic] || !m.retain {
				t.Errorf("%v", m)
			}
			delete(want, m.topic)
		}
		late.quiet()
	}},
	{"retain/each-filter-of-one-subscribe", "3.8.4-5 3.3.1-9", "3.8.4-4 3.3.1-6", func(t *T) {
		p, topic := t.keeper()
		p.retained(topic+"/a", "a", 0)
		p.retained(topic+"/b", "b", 0)
		late := t.connect()
		late.subscribe(sub(topic+"/a", 0), sub(topic+"/b", 0))
		first, second := late.take(), late.take()
		if first.payload+second.payload != "ab" && first.payload+second.payload != "ba" {
			t.Errorf("%v, %v", first, second)
		}
		late.quiet()
	}},
	{"retain/dollar-topics", "4.7.2-1", "4.7.2-1", func(t *T) {
		t.needWildcard()
		t.needRetain()
		name := unique("conformance")
		q := t.connect() // which a server may refuse or disconnect for it
		t.Cleanup(func() { t.unretain("$conformance/" + name) })
		q.publishOnly("$conformance/"+name, "hidden", 0, retain)
		q.closedOrServed()
		p := t.connect()
		p.subscribe(sub("+/"+name, 0), sub("+/"+name+"/#", 0))
		p.quiet()
	}},
	{"retain/subscription-identifier", "3.3.4-3", "", func(t *T) {
		t.needSubscriptionIDs()
		p, topic := t.keeper()
		p.retained(topic, "kept", 0)
		p.subscribeID(77, sub(topic, 0))
		if m := p.expect("kept"); len(m.subIDs) != 1 || m.subIDs[0] != 77 {
			t.Errorf("Subscription Identifiers %v", m.subIDs)
		}
	}},
}

// keeper connects a client that is to publish retained messages to a new topic.
func (t *T) keeper() (*peer, string) {
	t.Helper()
	t.needRetain()
	return t.connect(), t.topic()
}

// untilQuiet takes all messages that come before the peer's own mark.
func (p *peer) untilQuiet() (all []*message) {
	p.t.Helper()
	mark := unique("conformance/")
	p.subscribe(sub(mark, 0))
	p.publish(mark, "mark", 0)
	for {
		m := p.take()
		if m.topic == mark {
			return all
		}
		all = append(all, m)
	}
}
