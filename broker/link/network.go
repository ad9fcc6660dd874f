package link

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/metrics"
)

// A Config is what a Network needs of its broker.
type Config struct {
	// Serve takes over each new Network Connection, and starts the goroutine that reads it:
	// the fewer frames that has when it waits, the smaller its stack.
	Serve func(Accepted)
	Now   func() time.Time
	// Banned reports whether connections from an address are closed before anything of MQTT,
	// TLS or HTTP is read; nil: none are.
	Banned         func(netip.Addr) bool
	MaxConnections int64
	Listeners      int      // how many there will be
	Sockets        *Sockets // that were passed for them; nil: none
	// FilesBeside is how many files the process may have open beside those of the store,
	// listeners, commands and metrics. SetFilesBeside changes it.
	FilesBeside    int
	ReadBuffer     int           // in bytes, of each connection that has something to handle
	ConnectTimeout time.Duration // from accept to CONNECT
	Log            *slog.Logger
	Notices        *notice.Log
	Metrics        *metrics.Broker
}

// An Accepted is a new Network Connection.
type Accepted struct {
	Transport Transport
	At        time.Time // by Config.Now
	// Local says that its peer is on this machine, and that no proxy has handed it on, as far
	// as that can be told.
	Local bool
}

// A Network is the listeners of a broker, and the sockets that they have accepted.
type Network struct {
	// Static after NewNetwork; hangups and turns after the last Listen.
	c       Config
	hangups *hangups  // of the connections of listeners that want it; nil: there is none
	turns   *turns    // of acceptors; nil: there is none
	direct  *Listener // of connections that no listener accepted

	// With locks of their own.
	writers    Writers
	handshakes handshakes
	rateLimits rateLimits

	filesBeside int // Config.FilesBeside, or what SetFilesBeside was told

	limit     atomic.Pointer[socketLimit]
	open      atomic.Int64 // sockets, from accept to close
	lingering atomic.Int64 // see Lingering
	stopping  atomic.Bool
	stopped   chan struct{} // closed by Stop
	watching  sync.Once     // starts watch

	mu        sync.Mutex // guards the following
	listeners []*Listener
}

// NewNetwork returns a Network without listeners.
func NewNetwork(c Config) *Network {
	n := &Network{c: c, handshakes: handshakes{room: make(chan struct{}, handshakesAtOnce)}, stopped: make(chan struct{}), filesBeside: c.FilesBeside}
	n.direct = newListener(n, direct, &ListenerConfig{})
	n.shareFiles()
	return n
}

// Transport returns the Transport over a stream that no listener accepted.
func (n *Network) Transport(nc net.Conn) Transport {
	if c, ok := nc.(netSocket); ok {
		return newTransport(&socket{netSocket: c, listener: n.direct})
	}
	return &stream{Conn: nc, listener: n.direct}
}

// SocketsMax is how many sockets of listeners may be open.
func (n *Network) SocketsMax() int64 { return n.limit.Load().sockets }

// Sockets is how many sockets of listeners are open.
func (n *Network) Sockets() int64 { return n.open.Load() }

// Connected says that the CONNECT of a Transport has come: it makes no room for others any
// more.
func (n *Network) Connected(t Transport) {
	if s := socketOf(t); s != nil {
		s.listener.waiting.remove(s)
	}
}

// oldest takes out the socket that has waited longest; nil: none waits.
func (n *Network) oldest() *socket {
	for {
		var out *socket
		for _, l := range n.Listeners() {
			if s := l.waiting.peek(); s != nil && (out == nil || s.accepted < out.accepted) {
				out = s
			}
		}
		if out == nil || out.listener.waiting.remove(out) {
			return out
		}
	}
}

// closed is called when the descriptor of a socket is closed.
func (n *Network) closed(s *socket) {
	s.listener.waiting.remove(s)
	s.listener.open.Add(-1)
	n.open.Add(-1)
}

// Stop closes the listeners; a connection that lingers ends when it is woken. It is called
// once or more.
func (n *Network) Stop() {
	if !n.stopping.Swap(true) {
		close(n.stopped)
	}
	n.mu.Lock()
	listeners := n.listeners
	n.listeners = nil
	n.mu.Unlock()
	for _, l := range listeners {
		_ = l.accepting.Close()
	}
}

// Close ends what is left after Stop, when all connections have ended.
func (n *Network) Close() {
	n.hangups.close()
	n.turns.close()
	n.writers.Close()
}

// socketOf returns the socket of a Transport; nil: it has none.
func socketOf(t Transport) *socket {
	switch t := t.(type) {
	case *webSocket:
		return t.s
	case *raw:
		return t.socket
	case *secure:
		return t.socket
	case *stream:
		return t.socket
	}
	return nil
}
