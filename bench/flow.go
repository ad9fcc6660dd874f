package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// A flow is one publisher. It keeps at most a window of messages that were not
// delivered to every subscriber that should have them, so its speed is the
// broker's; at QoS 1 and 2 also of messages that were not acknowledged.
type flow struct {
	*client
	batches   []batch
	window    int64
	ackWindow int64 // QoS 1 and 2; Receive Maximum bounds it
	copies    int64 // deliveries per message; 0: nobody subscribes
	limit     int64 // messages to send; 0: until stopped

	// acknowledged notes which messages were acknowledged; each has its number
	// in the payload then, after the index. nil: neither.
	acknowledged []bool

	// due are the intended times of messages of a pacer that were not sent yet.
	due []time.Duration

	sent, acked, delivered atomic.Int64
	wake                   chan struct{}
	packetID               uint16
}

// A batch is the packets of one write, encoded once. Only Packet Identifiers
// change between writes.
type batch struct {
	bytes    []byte
	ids      []int // where the Packet Identifiers stand
	payloads []int // where the payloads stand
	messages int64
}

// indexBytes are the first bytes of a payload, where the publisher says which
// one it is: a subscriber with several publishers credits the right one.
const indexBytes = 4

// appendMessage adds a PUBLISH to the batch.
func (b *batch) appendMessage(p *codec.Publish, v codec.Version) (err error) {
	start := len(b.bytes)
	p.PacketID = 0
	if p.QoS > 0 {
		p.PacketID = 1
	}
	if b.bytes, err = codec.AppendPublish(b.bytes, p, v); err != nil {
		return err
	}
	b.messages++
	b.payloads = append(b.payloads, len(b.bytes)-len(p.Payload))
	if p.QoS > 0 {
		header := 2 // the first byte and one of the Remaining Length
		for b.bytes[start+header-1] >= 0x80 {
			header++
		}
		b.ids = append(b.ids, start+header+2+len(p.Topic))
	}
	return nil
}

// nextID returns the next Packet Identifier, which is never 0.
func (f *flow) nextID() uint16 {
	f.packetID++
	if f.packetID == 0 {
		f.packetID = 1
	}
	return f.packetID
}

// publish writes batches while the windows have room, until stop is closed, the
// limit is reached or the connection fails.
func (f *flow) publish(stop <-chan struct{}) error {
	for i := 0; f.limit == 0 || f.sent.Load() < f.limit; i++ {
		b := &f.batches[i%len(f.batches)]
		for !f.room(b.messages) {
			select {
			case <-f.wake:
			case <-stop:
				return nil
			}
		}
		select {
		case <-stop:
			return nil
		default:
		}
		for _, at := range b.ids {
			binary.BigEndian.PutUint16(b.bytes[at:], f.nextID())
		}
		if f.acknowledged != nil {
			for i, at := range b.payloads {
				binary.BigEndian.PutUint64(b.bytes[at+indexBytes:], uint64(f.sent.Load())+uint64(i))
			}
		}
		f.sent.Add(b.messages) // first: the delivery may be faster than this goroutine
		if _, err := f.nc.Write(b.bytes); err != nil {
			return err
		}
	}
	return nil
}

func (f *flow) room(n int64) bool {
	after := f.sent.Load() + n
	if f.copies > 0 && after-f.delivered.Load()/f.copies > f.window {
		return false
	}
	return f.ackWindow == 0 || after-f.acked.Load() <= f.ackWindow
}

// credit counts n deliveries and lets the publisher go on.
func (f *flow) credit(n int64) {
	f.delivered.Add(n)
	f.nudge()
}

func (f *flow) nudge() {
	select {
	case f.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// done reports whether all that was sent has arrived.
func (f *flow) done() bool {
	sent := f.sent.Load()
	return f.delivered.Load() >= sent*f.copies && (f.ackWindow == 0 || f.acked.Load() >= sent)
}

// acknowledgements reads what the broker answers a publisher, and answers
// PUBREC with PUBREL, all of one read in one write.
func (f *flow) acknowledgements() error {
	var out []byte
	for {
		if err := f.fill(); err != nil {
			return err
		}
		out = out[:0]
		var acked int64
		for {
			p, err := f.r.Next()
			if err == codec.ErrIncomplete {
				break
			}
			if err != nil {
				return err
			}
			switch t := p.Type(); t {
			case codec.TypePuback, codec.TypePubrec, codec.TypePubcomp:
				if len(p.Body) > 2 && p.Body[2] >= 0x80 {
					return fmt.Errorf("the broker refused a message: %v with %v", t, codec.ReasonCode(p.Body[2]))
				}
				if len(p.Body) < 2 {
					return errShortAck
				}
				if t == codec.TypePubrec {
					out = append(out, byte(codec.TypePubrel)<<4|2, 2, p.Body[0], p.Body[1])
				} else {
					f.note(binary.BigEndian.Uint16(p.Body))
					acked++
				}
			default:
				return f.unexpected(p)
			}
		}
		if len(out) > 0 {
			if _, err := f.nc.Write(out); err != nil {
				return err
			}
		}
		if acked > 0 {
			f.acked.Add(acked)
			f.nudge()
		}
	}
}

// note marks the message with that Packet Identifier as acknowledged. Message n
// has identifier n % 65535 + 1, and fewer than that are under way.
func (f *flow) note(id uint16) {
	if f.acknowledged == nil {
		return
	}
	const identifiers = 65535
	last := f.sent.Load() - 1
	n := last - (last-(int64(id)-1)+identifiers)%identifiers
	if n >= 0 && n < int64(len(f.acknowledged)) {
		f.acknowledged[n] = true
	}
}

var errShortAck = errors.New("the broker sent an acknowledgement without a Packet Identifier")
