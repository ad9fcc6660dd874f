package broker_test

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/x0a1b/promptmq/codec"
)

// publishRange publishes the numbers from <= i < to at QoS 1, padded to bytes,
// and expects each to be acknowledged with success.
func (p *peer) publishRange(topic string, from, to, bytes int) {
	p.t.Helper()
	const window = 50
	for ; from < to; from += window {
		n := min(window, to-from)
		var batch []byte
		for i := range n {
			payload := fmt.Sprintf("%-*d", bytes, from+i)
			batch, _ = codec.AppendPublish(batch, &codec.Publish{QoS: 1, PacketID: uint16(1 + i), Topic: codec.View(topic), Payload: codec.View(payload)}, p.v)
		}
		p.write(batch, nil)
		for range n {
			if r := p.acked(codec.TypePuback).Reason; r >= 0x80 {
				p.t.Fatalf("one of the messages from %d on: %v", from, r)
			}
		}
	}
}

// takeNumber receives a message of publishRange and acknowledges it.
func (p *peer) takeNumber() (n int, dup bool) {
	p.t.Helper()
	m := p.receive()
	n, err := strconv.Atoi(strings.TrimSpace(m.Payload.String()))
	if err != nil {
		p.t.Fatal(err)
	}
	p.ack(codec.TypePuback, m.PacketID)
	return n, m.Dup
}

// expectRange takes the numbers from <= i < to, in order, and nothing else.
func (p *peer) expectRange(from, to int) {
	p.t.Helper()
	for i := from; i < to; i++ {
		if n, _ := p.takeNumber(); n != i {
			p.t.Fatalf("message %d in the place of %d", n, i)
		}
	}
	p.quiet()
}

// absent leaves a session behind that is subscribed to the topic.
func (f *fixture) absent(id, topic string) {
	f.t.Helper()
	p := f.connectV5(id, lasting)
	p.subscribeOne(topic, 1)
	p.leave(nil)
}
