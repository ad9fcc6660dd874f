package broker

import (
	"unsafe"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

const (
	slabMessages = 8
	slabBytes    = 2048
	// slabBytesMax is how many bytes a message of a slab may have in all. One that
	// stays keeps its neighbours from being freed: about 3 kB.
	slabBytesMax = slabBytes / slabMessages
)

// A messageSlab makes small messages, several with one allocation. Its zero
// value is ready.
type messageSlab struct {
	messages []session.Message
	bytes    []byte
}

// message returns a Message with copies of the topic, the payload and the
// encoded properties to forward, which appendForward appends. If s is nil, the
// message is alone, and its topic apart from the rest, so that either may stay.
func (s *messageSlab) message(topic, payload []byte, forwardBytes int, appendForward func([]byte) []byte) *session.Message {
	size := len(topic) + len(payload) + forwardBytes
	if s == nil {
		return &session.Message{Topic: string(topic), Payload: append([]byte(nil), payload...), Forward: appendForward(nil)}
	}
	m, b := s.take(size)
	b = append(append(b, topic...), payload...)
	end := len(b)
	b = appendForward(b)
	if len(topic) > 0 {
		m.Topic = unsafe.String(&b[0], len(topic)) // nothing writes to b any more
	}
	m.Payload, m.Forward = b[len(topic):end:end], b[end:len(b):len(b)]
	return m
}

// take returns an empty Message and an empty slice with room for size bytes.
func (s *messageSlab) take(size int) (*session.Message, []byte) {
	if size > slabBytesMax {
		return new(session.Message), make([]byte, 0, size)
	}
	if len(s.messages) == 0 {
		s.messages = make([]session.Message, slabMessages)
	}
	if len(s.bytes) < size {
		s.bytes = make([]byte, slabBytes)
	}
	m, b := &s.messages[0], s.bytes[:0:size]
	s.messages, s.bytes = s.messages[1:], s.bytes[size:]
	return m, b
}

// viewOf returns the bytes of s, for encoding only: they must not be changed.
func viewOf(s string) codec.View { return unsafe.Slice(unsafe.StringData(s), len(s)) }
