package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/x0a1b/promptmq/codec"
)

// A Relay forwards the bytes of PUBLISH packets to everyone who subscribed to
// exactly that topic, and answers acknowledgements as a broker would, by
// echoing identifiers. It keeps no state, checks nothing and matches no
// wildcards: what it costs, no broker can undercut.
type Relay struct {
	listener net.Listener

	mu      sync.RWMutex
	topics  map[string][]*relayed
	all     map[*relayed]bool
	version atomic.Uint64 // of topics
}

// A relayed is one connection.
type relayed struct {
	nc *quickConn
	v  codec.Version
	mu sync.Mutex // one write at a time

	filters []string // guarded by Relay.mu
	answers []byte
	rest    []byte // the beginning of a packet

	// The last topic that this connection published to.
	topic   string
	to      []*relayed
	version uint64
}

// ListenRelay opens a Relay.
func ListenRelay(addr string) (*Relay, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &Relay{listener: l, topics: make(map[string][]*relayed), all: make(map[*relayed]bool)}, nil
}

// Addr is where it listens.
func (y *Relay) Addr() net.Addr { return y.listener.Addr() }

// Serve runs until ctx ends.
func (y *Relay) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = y.listener.Close() })
	defer stop()
	for {
		nc, err := y.listener.Accept()
		if err != nil {
			y.mu.Lock()
			for c := range y.all {
				go c.nc.Close() // it waits for the reader, which may wait for mu
			}
			y.mu.Unlock()
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		quick, err := newQuickConn(nc)
		if err != nil {
			_ = nc.Close()
			continue
		}
		c := &relayed{nc: quick}
		y.mu.Lock()
		y.all[c] = true
		y.mu.Unlock()
		go y.serve(c)
	}
}

// relayBuffers are for connections that have something to say.
var relayBuffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// serve waits without a buffer, like the brokers whose floor this is.
func (y *Relay) serve(c *relayed) {
	defer y.forget(c)
	_ = c.nc.readEach(&relayBuffers, func(b []byte) error { return y.takeAll(c, b) }) // it has ended, whatever ended it
}

// takeAll forwards what was read, and keeps the beginning of a packet until the
// rest of it has come.
func (y *Relay) takeAll(c *relayed, b []byte) error {
	if len(c.rest) > 0 {
		c.rest = append(c.rest, b...)
		b = c.rest
	}
	taken, err := y.take(c, b)
	if err != nil {
		return err
	}
	switch {
	case taken == len(b):
		c.rest = nil
	case len(c.rest) > 0:
		c.rest = c.rest[:copy(c.rest, b[taken:])]
	default:
		c.rest = append([]byte(nil), b[taken:]...)
	}
	return nil
}

// take handles all whole packets of b and returns how many bytes they have.
// PUBLISH packets to one topic in a row leave in one write, and so do all
// answers.
func (y *Relay) take(c *relayed, b []byte) (at int, err error) {
	run := 0 // where the PUBLISH packets begin that were not forwarded
	answers := c.answers[:0]
	for {
		p, n := frameOf(b[at:])
		if n == 0 {
			break
		}
		if p.Type() != codec.TypePublish {
			c.forward(b[run:at])
			if answers, err = y.answer(c, p, answers); err != nil {
				return at, err
			}
			at += n
			run = at
			continue
		}
		if len(p.Body) < 2 || len(p.Body) < 2+int(binary.BigEndian.Uint16(p.Body)) {
			return at, errors.New("a PUBLISH without a topic")
		}
		topic := p.Body[2 : 2+int(binary.BigEndian.Uint16(p.Body))]
		if string(topic) != c.topic || c.version != y.version.Load() {
			c.forward(b[run:at])
			run = at
			y.look(c, topic)
		}
		if p.First&0x06 != 0 {
			answers = appendAnswer(answers, p)
		}
		at += n
	}
	c.forward(b[run:at])
	c.answers = answers
	return at, c.write(answers)
}

// frameOf cuts off the first packet; n is 0 if it is not whole.
func frameOf(b []byte) (p codec.Frame, n int) {
	length, shift := 0, 0
	for n = 1; n < len(b) && n < 5; n++ {
		length |= int(b[n]&0x7F) << shift
		shift += 7
		if b[n] < 0x80 {
			n++
			if len(b) < n+length {
				return p, 0
			}
			return codec.Frame{First: b[0], Body: b[n : n+length]}, n + length
		}
	}
	return p, 0
}

// look finds the subscribers of a topic.
func (y *Relay) look(c *relayed, topic []byte) {
	y.mu.RLock()
	defer y.mu.RUnlock()
	c.topic, c.to, c.version = string(topic), y.topics[string(topic)], y.version.Load()
}

func (c *relayed) forward(run []byte) {
	if len(run) == 0 {
		return
	}
	for _, to := range c.to {
		_ = to.write(run) // its own reader sees the failure
	}
}

func (c *relayed) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.nc.Write(b)
	return err
}

// answer appends what a broker would reply to a packet other than PUBLISH.
func (y *Relay) answer(c *relayed, p codec.Frame, out []byte) ([]byte, error) {
	switch p.Type() {
	case codec.TypeConnect:
		var connect codec.Connect
		if err := connect.Decode(p); err != nil {
			return out, err
		}
		c.v = connect.Version
		return codec.AppendConnack(out, &codec.Connack{}, c.v)
	case codec.TypeSubscribe:
		return y.subscribe(c, p, out)
	case codec.TypePubrec, codec.TypePubrel:
		if len(p.Body) < 2 {
			return out, errShortAck
		}
		reply := codec.TypePubcomp
		if p.Type() == codec.TypePubrec {
			reply = codec.TypePubrel
		}
		return codec.AppendAck(out, &codec.Ack{Type: reply, PacketID: binary.BigEndian.Uint16(p.Body)}, c.v)
	case codec.TypePingreq:
		return codec.AppendPingresp(out), nil
	case codec.TypePuback, codec.TypePubcomp:
		return out, nil
	}
	return out, errors.New("the end, or what a relay does not know")
}

func (y *Relay) subscribe(c *relayed, p codec.Frame, out []byte) ([]byte, error) {
	var s codec.Subscribe
	if err := s.Decode(p, c.v); err != nil {
		return out, err
	}
	var granted codec.View
	y.mu.Lock()
	defer y.mu.Unlock()
	s.Each(func(sub codec.Subscription) bool {
		granted = append(granted, byte(sub.QoS))
		filter := string(sub.Filter)
		// A new slice: the old one may be walked right now.
		y.topics[filter] = append(slices.Clip(y.topics[filter]), c)
		c.filters = append(c.filters, filter)
		return true
	})
	y.version.Add(1)
	return codec.AppendSuback(out, &codec.Suback{PacketID: s.PacketID, Reasons: granted}, c.v)
}

// forget removes a connection that has ended.
func (y *Relay) forget(c *relayed) {
	_ = c.nc.Close()
	y.mu.Lock()
	defer y.mu.Unlock()
	delete(y.all, c)
	for _, filter := range c.filters {
		rest := slices.DeleteFunc(slices.Clone(y.topics[filter]), func(o *relayed) bool { return o == c })
		if y.topics[filter] = rest; len(rest) == 0 {
			delete(y.topics, filter)
		}
	}
	y.version.Add(1)
}
