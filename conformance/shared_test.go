package conformance

import (
	"fmt"
	"slices"

	"github.com/x0a1b/promptmq/codec"
)

// Shared Subscriptions, section 4.8.2. A server may choose any member for each
// message; where a test needs to know whom it chose, there is one member at that
// time.
var sharedTests = []test{
	{"shared/malformed", "4.8.2-1 4.8.2-2", "", func(t *T) {
		t.needShared()
		topic := t.topic()
		for _, filter := range []string{
			"$share//" + topic,       // [MQTT-4.8.2-1]
			"$share/", "$share/name", // [MQTT-4.8.2-2], as are the following
			"$share/name/",
			"$share/na+me/" + topic, "$share/na#me/" + topic, "$share/+/" + topic, "$share/#/" + topic, "$share/#",
			"$share/name/" + topic + "#", "$share/name/#/" + topic, "$share/name/+" + topic,
		} {
			t.refusesFilter(filter)
		}
	}},
	{"shared/prefix-alone", "4.8.2-1", beyond, func(t *T) {
		// Without the separator behind it, $share begins no Shared Subscription.
		p := t.connect()
		p.subscribe(sub("$share", 0))
		p.isOpen()
		p.unsubscribe("$share")
		p.isOpen()
	}},
	{"shared/share-names", "beyond", "", func(t *T) {
		t.needShared()
		for _, name := range []string{"x", "name with blanks", "名前", "$name", "share", unique("")} {
			topic := t.topic()
			p := t.connect()
			p.subscribe(sub("$share/"+name+"/"+topic, 0))
			p.publish(topic, "x", 0)
			p.expect("x")
		}
	}},
	{"shared/filter-behind-the-name", "beyond", "", func(t *T) {
		t.needShared()
		t.needWildcard()
		p := t.connect()
		a, b, c := t.topic(), "/"+t.topic(), t.topic()
		p.subscribe(sub("$share/name/"+a+"/+/x", 0), sub("$share/name/"+b, 0), sub("$share/name/"+c+"/#", 0))
		p.publish(a+"/y", "no", 0)
		p.publish(b[1:], "no", 0)
		p.publish(a+"/1/x", "a", 0)
		p.publish(b, "b", 0)
		p.publish(c+"/deep/er", "c", 0)
		for _, payload := range []string{"a", "b", "c"} {
			p.expect(payload)
		}
		p.quiet()
	}},
	{"shared/no-local", "3.8.3-4", "", func(t *T) {
		t.needShared()
		p := t.connect()
		p.append(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, []codec.Subscription{sub("$share/name/"+t.topic(), 0, noLocal)}, p.version))
		p.closed(codec.ProtocolError)
	}},
	{"shared/granted-qos", "4.8.2-3 3.8.4-8", "", func(t *T) {
		t.needShared()
		topic := t.topic()
		sender := t.connect()
		granted := map[*peer]codec.QoS{}
		var members []*peer
		for asked := range codec.QoS(3) { // each alone, then each beside those before
			p := t.connect()
			alone := topic + fmt.Sprint(asked)
			granted[p] = codec.QoS(p.trySubscribe(0, sub("$share/alone/"+alone, asked))[0])
			p.trySubscribe(0, sub("$share/group/"+topic, asked))
			for sent := range offered.qos + 1 {
				sender.publish(alone, "x", sent)
				if m := p.expect("x"); m.qos != min(sent, granted[p]) {
					t.Errorf("%v, was published with QoS %d, granted is %d", m, sent, granted[p])
				}
			}
			members = append(members, p)
		}
		want := map[string]codec.QoS{}
		for i := range 30 {
			payload, qos := fmt.Sprint(i), codec.QoS(i)%(offered.qos+1)
			sender.publish(topic, payload, qos)
			want[payload] = qos
		}
		for _, m := range t.gather(30, members...) {
			if low := min(want[m.payload], granted[m.to]); m.qos != low {
				t.Errorf("%v, was published with QoS %d, granted is %d", m.message, want[m.payload], granted[m.to])
			}
		}
	}},
	{"shared/one-copy-for-the-group", "beyond", "beyond", func(t *T) {
		t.needShared()
		topic := t.topic()
		members := t.members(3, "$share/group/"+topic, offered.qos)
		sender := t.connect()
		for i := range 60 {
			sender.publish(topic, fmt.Sprint(i), codec.QoS(i)%(offered.qos+1))
		}
		sender.settle()
		t.eachOnce(60, t.gather(60, members...))
	}},
	{"shared/each-group-one-copy", "beyond", "beyond", func(t *T) {
		t.needShared()
		t.needWildcard()
		topic := t.topic()
		sender := t.connect()
		groups := [][]*peer{
			t.members(2, "$share/one/"+topic, 0),
			t.members(2, "$share/two/"+topic, 0),
			t.members(2, "$share/one/"+topic+"/#", 0), // the same name with another filter is another group
			t.members(1, topic, 0),                    // and this is none
		}
		for i := range 20 {
			sender.publish(topic, fmt.Sprint(i), 0)
		}
		for _, members := range groups {
			t.eachOnce(20, t.gather(20, members...))
		}
	}},
	{"shared/beside-a-normal-subscription", "beyond", "", func(t *T) {
		t.needShared()
		topic := t.topic()
		both, member, sender := t.connect(), t.connect(), t.connect()
		both.subscribe(sub(topic, 0), sub("$share/group/"+topic, 0))
		member.subscribe(sub("$share/group/"+topic, 0))
		for i := range 20 {
			sender.publish(topic, fmt.Sprint(i), 0)
		}
		all := t.gather(40, both, member)
		copies := map[*peer]map[string]int{both: {}, member: {}}
		for _, m := range all {
			copies[m.to][m.payload]++
		}
		for i := range 20 {
			own, other := copies[both][fmt.Sprint(i)], copies[member][fmt.Sprint(i)]
			if own < 1 || own+other != 2 {
				t.Errorf("message %d: %d copies to whom has both subscriptions, %d to the other member", i, own, other)
			}
		}
	}},
	{"shared/subscription-identifier", "3.3.4-3", "", func(t *T) {
		t.needShared()
		t.needSubscriptionIDs()
		p := t.connect()
		topic := t.topic()
		p.subscribeID(77, sub("$share/group/"+topic, 0))
		p.publish(topic, "x", 0)
		if m := p.expect("x"); !slices.Equal(m.subIDs, []uint32{77}) {
			t.Errorf("Subscription Identifiers %v", m.subIDs)
		}
	}},
	{"shared/unsubscribe", "3.10.4-1 3.10.4-2 3.10.4-4 3.11.3-2", "", func(t *T) {
		t.needShared()
		topic := t.topic()
		shared := "$share/group/" + topic
		p, q, sender := t.connect(), t.connect(), t.connect()
		p.subscribe(sub(shared, 0))
		p.subscribe(sub(shared, 0)) // again: it is a member once
		q.subscribe(sub(shared, 0))
		for _, other := range []string{topic, "$share/other/" + topic, "$share/group/" + topic + "/#"} {
			if got := p.unsubscribe(other)[0]; got != byte(codec.NoSubscriptionExisted) {
				t.Errorf("UNSUBSCRIBE of %q: %v", other, codec.ReasonCode(got))
			}
		}
		for i := range 10 {
			sender.publish(topic, fmt.Sprint(i), 0)
		}
		t.eachOnce(10, t.gather(10, p, q))
		if got := p.unsubscribe(shared)[0]; got != 0 {
			t.Errorf("UNSUBSCRIBE of %q: %v", shared, codec.ReasonCode(got))
		}
		for i := range 10 { // all to the member that is left
			sender.publish(topic, fmt.Sprint(i), 0)
		}
		for i := range 10 {
			q.expect(fmt.Sprint(i))
		}
		p.quiet()
		q.unsubscribe(shared)
		sender.publish(topic, "to nobody", 0)
		sender.settle()
		p.quiet()
		q.quiet()
	}},
	{"shared/member-leaves", "4.1.0-2", "", func(t *T) {
		t.needShared()
		topic := t.topic()
		members := t.members(3, "$share/group/"+topic, 0)
		sender := t.connect()
		members[0].disconnect() // its Session ends with the connection
		members[1].disconnect()
		for i := range 10 {
			sender.publish(topic, fmt.Sprint(i), 0)
		}
		for i := range 10 {
			members[2].expect(fmt.Sprint(i))
		}
	}},
	{"shared/no-retained", "beyond", "", func(t *T) {
		t.needShared()
		p, topic := t.keeper()
		p.retained(topic, "kept", 0)
		for range 2 { // to the first member, and to one more
			member := t.connect()
			member.subscribe(sub("$share/group/"+topic, 0))
			member.quiet()
		}
	}},
	{"shared/queue-of-the-only-member", "3.1.2-5 4.1.0-1", "", func(t *T) {
		t.needShared()
		t.needQoS(2)
		id, topic := t.clientID(), t.topic()
		p := t.connect(t.durable(id))
		p.subscribe(sub("$share/group/"+topic, 2))
		p.disconnect()
		sender := t.connect()
		for i := range 10 {
			sender.publish(topic, fmt.Sprint(i), codec.QoS(1+i/5))
		}
		again := t.connect(t.durable(id))
		for i := range 10 {
			again.expect(fmt.Sprint(i))
		}
		sender.publish(topic, "live", 1)
		again.expect("live")
		again.quiet()
	}},
	{"shared/completed-after-reconnect", "4.8.2-4 4.4.0-1", "", func(t *T) {
		t.needShared()
		t.needQoS(2)
		id, topic := t.clientID(), t.topic()
		p, other, sender := t.connect(t.durable(id)), t.connect(), t.connect()
		p.subscribe(sub("$share/group/"+topic, 2))
		sender.publish(topic, "released", 2)
		sender.publish(topic, "sent", 2)
		released, sent := p.receive(), p.receive()
		p.sendAck(codec.TypePubrec, released.id)
		p.acked(codec.TypePubrel, released.id)
		other.subscribe(sub("$share/group/"+topic, 2))
		p.drop()
		other.quiet()
		again := t.connect(t.durable(id))
		again.acked(codec.TypePubrel, released.id)
		again.sendAck(codec.TypePubcomp, released.id)
		if m := again.expect("sent"); m.id != sent.id || !m.dup || m.qos != 2 {
			t.Errorf("%v, was sent as %v", m, sent)
		}
		again.quiet()
		other.quiet()
	}},
	{"shared/session-ends-while-sending", "4.8.2-5", "", func(t *T) {
		t.needShared()
		t.needQoS(2)
		for name, end := range map[string]func(p *peer, id string){
			"a connection without Session": func(p *peer, id string) {
				p.drop()
				t.connect(keepsSession(id, 0)).disconnect() // Clean Start
			},
			"DISCONNECT": func(p *peer, id string) {
				p.disconnect(func(d *codec.Disconnect) { d.HasSessionExpiry = true })
			},
			"its Session Expiry Interval": func(p *peer, id string) {
				p.drop()
				t.afterSeconds(3)
			},
		} {
			id, topic := t.clientID(), t.topic()
			p, other, sender := t.connect(keepsSession(id, 1)), t.connect(), t.connect()
			p.subscribe(sub("$share/group/"+topic, 2))
			sender.publish(topic, "released", 2)
			sender.publish(topic, "sent", 2)
			m := p.receive()
			p.receive()
			p.sendAck(codec.TypePubrec, m.id)
			p.acked(codec.TypePubrel, m.id)
			other.subscribe(sub("$share/group/"+topic, 2))
			end(p, id)
			sender.publish(topic, "new", 2)
			if m := other.take(); m.payload != "new" {
				t.Errorf("%v came to another member after the Session had ended by %s", m, name)
			}
			other.quiet()
		}
	}},
	{"shared/refused-by-a-member", "4.8.2-6 4.4.0-2", "", func(t *T) {
		t.needShared()
		t.needQoS(2)
		for qos, ack := range map[codec.QoS]codec.PacketType{1: codec.TypePuback, 2: codec.TypePubrec} {
			id, topic := t.clientID(), t.topic()
			p, other, sender := t.connect(t.durable(id)), t.connect(), t.connect()
			p.subscribe(sub("$share/group/"+topic, 2))
			sender.publish(topic, "refused", qos)
			m := p.receive()
			other.subscribe(sub("$share/group/"+topic, 2))
			p.sendAck(ack, m.id, codec.QuotaExceeded)
			p.quiet()
			other.quiet()
			p.drop()
			again := t.connect(t.durable(id))
			again.quiet()
			other.quiet()
			again.disconnect(func(d *codec.Disconnect) { d.HasSessionExpiry = true })
			sender.publish(topic, "new", qos)
			other.expect("new")
			other.quiet()
		}
	}},
	{"shared/qos1-goes-to-another-member", "beyond", "", func(t *T) {
		// Section 4.8.2 recommends it: a Session ends that had QoS 1 messages
		// which it did not acknowledge, or which were not even sent to it.
		t.own("")
		id, topic := t.clientID(), t.topic()
		p, other, sender := t.connect(keepsSession(id, 60)), t.connect(), t.connect()
		p.subscribe(sub("$share/group/"+topic, 1))
		sender.publish(topic, "1", 1)
		p.receive()
		p.drop()
		sender.publish(topic, "2", 1)
		other.subscribe(sub("$share/group/"+topic, 1))
		t.forget(id)
		t.eachOf([]string{"1", "2"}, t.gather(2, other))
	}},
}

// members connects n clients that have subscribed.
func (t *T) members(n int, filter string, qos codec.QoS) (all []*peer) {
	t.Helper()
	for range n {
		p := t.connect()
		p.subscribe(sub(filter, qos))
		all = append(all, p)
	}
	return all
}

// A delivery is a message and who got it.
type delivery struct {
	*message
	to *peer
}

// gather takes messages from all these peers until n have come and none has
// more.
func (t *T) gather(n int, peers ...*peer) (all []delivery) {
	t.Helper()
	for deadline := soon(); ; {
		came := 0
		for _, p := range peers {
			for _, m := range p.untilQuiet() {
				all = append(all, delivery{m, p})
				came++
			}
		}
		if came == 0 && len(all) >= n {
			return all
		}
		if tooLate(deadline) {
			t.Fatalf("%d messages came, expected %d", len(all), n)
		}
	}
}

// eachOnce checks that the numbers from 0 to n-1 have come once each.
func (t *T) eachOnce(n int, all []delivery) {
	t.Helper()
	var want []string
	for i := range n {
		want = append(want, fmt.Sprint(i))
	}
	t.eachOf(want, all)
}

// eachOf checks that these Payloads have come once each.
func (t *T) eachOf(want []string, all []delivery) {
	t.Helper()
	var got []string
	for _, m := range all {
		got = append(got, m.payload)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, expected %q", got, want)
	}
}
