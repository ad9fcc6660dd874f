package broker_test

import (
	"fmt"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// connectAliased opens a durable Session that takes Topic Aliases.
func (f *fixture) connectAliased(id string, maximum uint16, packetBytesMax uint32) *peer {
	f.t.Helper()
	p := f.dial()
	p.write(codec.AppendConnect(nil, &codec.Connect{
		ClientID: codec.View(id), HasSessionExpiry: true, SessionExpirySeconds: 3600, ReceiveMaximum: 65535,
		TopicAliasMaximum: maximum, MaximumPacketSize: packetBytesMax, RequestProblemInformation: true,
	}, codec.Version5))
	p.expect(codec.TypeConnack)
	return p
}

// took describes the next PUBLISH: Payload, QoS, Topic Name and Topic Alias as
// they stand in it.
func (p *peer) took(want string) {
	p.t.Helper()
	var m codec.Publish
	if err := m.Decode(p.expect(codec.TypePublish), codec.Version5); err != nil {
		p.t.Fatal(err)
	}
	if got := fmt.Sprintf("%s %d %q %d", m.Payload, m.QoS, m.Topic, m.TopicAlias); got != want {
		p.t.Errorf("got %s, expected %s", got, want)
	}
}

// TestAliasesOfHeldMessages: a QoS 2 message has a Topic Alias too, and what goes
// ahead of it while it awaits its commit uses none that it is to set.
func TestAliasesOfHeldMessages(t *testing.T) {
	f := newFixture(t)
	sub, pub := f.connectAliased("sub", 2, 0), f.connect("pub")
	sub.subscribe(1, "#", 2)
	sub.expect(codec.TypeSuback)
	topics := map[string]string{"a": "first/topic", "b": "second/topic", "c": "third/topic"}
	id := uint16(0)
	send := func(qos codec.QoS, topic, payload string) {
		t.Helper()
		id++
		pub.publish(qos, id, topics[topic], payload)
		if qos == 0 {
			pub.quiet() // it is routed
		}
	}
	open := f.store.close()
	send(2, "a", "a1")
	pub.quiet()
	send(2, "a", "a2")
	send(2, "b", "b1")
	pub.quiet()
	send(0, "a", "a3")
	sub.took(`a3 0 "first/topic" 1`) // ahead of those that are held
	send(0, "a", "a4")
	sub.took(`a4 0 "" 1`)
	send(2, "b", "b2")
	send(2, "c", "c1")
	pub.quiet()
	open()
	sub.took(`a1 2 "first/topic" 1`)
	sub.took(`a2 2 "" 1`)
	sub.took(`b1 2 "second/topic" 2`)
	sub.took(`b2 2 "" 2`)
	sub.took(`c1 2 "third/topic" 0`)
	for range 5 {
		pub.expect(codec.TypePubrec)
	}
	send(0, "b", "b3") // set by one that was released
	sub.took(`b3 0 "" 2`)
	send(1, "b", "b4")
	sub.took(`b4 1 "" 2`)
	pub.expect(codec.TypePuback)

	// Nothing of it holds on another connection.
	_ = sub.Close()
	sub = f.connectAliased("sub", 2, 0)
	sub.took(`a1 2 "first/topic" 1`)
}

// TestAliasFits: a Topic Alias that would make a packet too large is left out. It
// takes three bytes, and the Topic Name may have fewer.
func TestAliasFits(t *testing.T) {
	f := newFixture(t)
	const limit = 40
	sub, pub := f.connectAliased("sub", 2, limit), f.connect("pub")
	sub.subscribe(1, "#", 0)
	sub.expect(codec.TypeSuback)
	pub.publish(0, 0, "t", "sets it")
	sub.took(`sets it 0 "t" 1`)
	for size := limit - 12; size <= limit-6; size++ { // 2 + 2 + 1 + 1 bytes before it
		payload := fmt.Sprintf("%0*d", size, size)
		pub.publish(0, 0, "t", payload)
		want := payload + ` 0 "" 1`
		if size > limit-8 {
			want = payload + ` 0 "t" 0`
		}
		sub.took(want)
	}
}
