package main

import (
	"fmt"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// TestEndComesWithLastPacket: a client without a Keep Alive that ends with its last
// packet in flight is gone at once, and its Will published, also after it has sent
// so much before that its socket is no longer read until it is empty.
func TestEndComesWithLastPacket(t *testing.T) {
	t.Parallel()
	const clients, before = 40, 30
	s := start(t, "")
	wills := v5Of(t, s, "wills", nil)
	wills.subscribeOne("gone/#", 0)
	want := make(map[string]bool)
	for i := range clients {
		name := fmt.Sprint("gone/", i)
		want[name] = true
		p, _ := connectRaw(t, s.mqtt, codec.Version5, fmt.Sprint("c", i), func(c *codec.Connect) {
			c.HasWill, c.Will.Topic = true, codec.View(name)
		})
		for range before {
			p.quiet()
		}
		p.send(codec.AppendPublish(nil, &codec.Publish{Topic: codec.View("last")}, p.v))
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for range clients {
		m := wills.receive()
		if !want[m.Topic.String()] {
			t.Errorf("%s twice, or not asked for", m.Topic)
		}
		delete(want, m.Topic.String())
	}
}
