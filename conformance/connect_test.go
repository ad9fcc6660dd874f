package conformance

import (
	"github.com/x0a1b/promptmq/codec"
)

// Section 3.1 (CONNECT) and 3.2 (CONNACK).
var connectTests = []test{
	{"connect/first-packet", "3.1.0-1", "3.1.0-1", func(t *T) {
		p := t.dial()
		p.append(codec.AppendPingreq(nil), nil)
		p.closed()
	}},
	{"connect/second-connect", "3.1.0-2 4.13.1-1", "3.1.0-2", func(t *T) {
		p := t.connect()
		p.append(codec.AppendConnect(nil, &p.connect, p.version))
		p.closed(codec.ProtocolError)
	}},
}
