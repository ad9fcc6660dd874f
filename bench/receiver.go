package bench

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/x0a1b/promptmq/codec"
)

// A receiver is one subscriber. It credits what it gets to the flows.
type receiver struct {
	*client
	// flows are those it subscribes to. If there are several, the payload says
	// which one a message is from.
	flows []*flow
	// each sees every PUBLISH, if set.
	each func(first byte, body codec.View)
	// granting is the QoS that a SUBACK still to come must grant.
	granting codec.QoS

	received atomic.Int64
}

// run reads until the connection fails. Packets may have come with the CONNACK.
func (s *receiver) run() error {
	var out []byte
	for {
		var err error
		if out, err = s.drain(out[:0]); err != nil {
			return err
		}
		if len(out) > 0 {
			if _, err := s.nc.Write(out); err != nil {
				return err
			}
		}
		if err := s.fill(); err != nil {
			return err
		}
	}
}

// drain takes all packets that are in the buffer and appends their
// acknowledgements. Deliveries of one publisher in a row are credited together.
func (s *receiver) drain(out []byte) ([]byte, error) {
	var from *flow
	var n, all int64
	for {
		p, err := s.r.Next()
		if err == codec.ErrIncomplete {
			break
		}
		if err != nil {
			return out, err
		}
		switch p.Type() {
		case codec.TypePublish:
			if p.First&0x06 != 0 {
				out = appendAnswer(out, p)
			}
			if s.each != nil {
				s.each(p.First, p.Body)
			}
			all++
			to := s.origin(p)
			if to != from && from != nil {
				from.credit(n)
				n = 0
			}
			from = to
			n++
		case codec.TypePubrel:
			if len(p.Body) < 2 {
				return out, errShortAck
			}
			out = append(out, byte(codec.TypePubcomp)<<4, 2, p.Body[0], p.Body[1])
		case codec.TypePingresp:
		case codec.TypeSuback:
			if err := s.granted(p, s.granting); err != nil {
				return out, err
			}
		default:
			return out, s.unexpected(p)
		}
	}
	s.received.Add(all)
	if from != nil {
		from.credit(n)
	}
	return out, nil
}

// appendAnswer appends the PUBACK or PUBREC for a message of QoS 1 or 2.
func appendAnswer(out []byte, p codec.Frame) []byte {
	t := codec.TypePuback
	if p.First&0x06 == 4 {
		t = codec.TypePubrec
	}
	at := 2
	if len(p.Body) >= 2 {
		at += int(binary.BigEndian.Uint16(p.Body))
	}
	if len(p.Body) < at+2 {
		return out // malformed: the missing acknowledgement will show
	}
	return append(out, byte(t)<<4, 2, p.Body[at], p.Body[at+1])
}

// origin returns the flow a message belongs to, nil if that is unknown.
func (s *receiver) origin(p codec.Frame) *flow {
	switch len(s.flows) {
	case 0:
		return nil
	case 1:
		return s.flows[0]
	}
	b := payload(p, s.v)
	if len(b) < indexBytes {
		return nil
	}
	if i := binary.BigEndian.Uint32(b); int(i) < len(s.flows) {
		return s.flows[i]
	}
	return nil
}

// payload finds the payload without looking at anything else.
func payload(p codec.Frame, v codec.Version) []byte {
	b := p.Body
	if len(b) < 2 {
		return nil
	}
	at := 2 + int(binary.BigEndian.Uint16(b))
	if p.First&0x06 != 0 {
		at += 2
	}
	if v == codec.Version5 {
		length, shift := 0, 0
		for at < len(b) {
			c := b[at]
			at++
			length |= int(c&0x7F) << shift
			shift += 7
			if c < 0x80 {
				break
			}
		}
		at += length
	}
	if at > len(b) {
		return nil
	}
	return b[at:]
}
