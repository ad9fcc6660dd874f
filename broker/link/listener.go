package link

import (
	"crypto/tls"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/x0a1b/promptmq/metrics"
)

// A kind is what listeners of one ListenerConfig.Kind do with the sockets that they accept.
type kind struct {
	open func(c *ListenerConfig) (net.Listener, error)
	// serve hands on what is accepted, until a is closed.
	serve func(l *Listener, a *acceptor)
	// foreign says what a connection begins with if that is known and not for this kind,
	// else "".
	foreign func(b []byte) string
	layered bool // MQTT comes within another protocol
	secure  bool // it is one that comes within TLS
	watches bool // its connections want hangups
}

// kinds has those that there are, by ListenerConfig.Kind.
var kinds = map[string]*kind{
	KindTCP: {open: openTCP, serve: serveStreams, foreign: foreignToMQTT, watches: true},
	KindWS:  {open: openTCP, serve: serveHTTP, foreign: foreignToHTTP, layered: true},
}

// direct is the kind of connections that no listener accepted.
var direct = &kind{foreign: foreignToMQTT}

// A Listener accepts Network Connections of one kind.
type Listener struct {
	// Static after Listen.
	network *Network
	kind    *kind
	addr    net.Addr
	// accepting has its socket; nil: it is direct.
	accepting net.Listener

	tls *tls.Config // nil: none

	config      atomic.Pointer[ListenerConfig]
	credentials atomic.Pointer[credentials] // nil: no TLS

	counts *metrics.Listener // nil: nobody counts
	open   atomic.Int64      // sockets, from accept to close
	// handling is when it accepted a socket, in Unix nanoseconds by Config.Now; 0: it waits for
	// the next.
	handling atomic.Int64
	waiting  waitingSockets
	pings    pings
	rates    rates
}

func newListener(n *Network, k *kind, c *ListenerConfig) *Listener {
	l := &Listener{network: n, kind: k}
	l.config.Store(c)
	return l
}

// Listen opens a listener. Its error names the key and says what can be done.
func (n *Network) Listen(c ListenerConfig) error {
	k := kinds[c.Kind]
	if err := c.check(); err != nil {
		return err
	}
	if n.Listener(c.Name) != nil {
		return fmt.Errorf("%s: there is another listener with the name %q", c.Key, c.Name)
	}
	if c.OriginsKey == "" {
		c.OriginsKey = c.sibling("origins")
	}
	l := newListener(n, k, &c)
	if k.secure {
		if err := l.openTLS(); err != nil {
			return err
		}
	}
	ln := n.c.Sockets.take(c.Name)
	if ln == nil {
		var err error
		if ln, err = k.open(&c); err != nil {
			return err
		}
	}
	if k.watches && n.hangups == nil {
		n.hangups = newHangups()
	}
	if n.turns == nil {
		n.turns = newTurns()
	}
	l.addr, l.accepting = ln.Addr(), ln
	l.counts = n.c.Metrics.Listener(c.Name)
	n.mu.Lock()
	n.listeners = append(n.listeners, l)
	n.mu.Unlock()
	n.gauges(l)
	if k.secure {
		l.credentials.Load().warn(l)
		n.watching.Do(func() { go n.watch(n.stopped) })
	}
	go k.serve(l, &acceptor{Listener: ln, l: l})
	return nil
}

// gauges has the metrics show l.
func (n *Network) gauges(l *Listener) {
	n.c.Metrics.Gauge(fmt.Sprintf("promptmq_listener_connections{listener=%q}", l), func() float64 { return float64(l.open.Load()) })
	if l.kind.secure {
		n.c.Metrics.Gauge(fmt.Sprintf("promptmq_tls_cert_expiry_seconds{listener=%q}", l), func() float64 {
			return l.credentials.Load().certificate.NotAfter.Sub(n.c.Now()).Seconds()
		})
	}
}

func openTCP(c *ListenerConfig) (net.Listener, error) { return Listen(c.Key, c.Address) }

// Listeners returns those that are open, in the order in which they were opened.
func (n *Network) Listeners() []*Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]*Listener(nil), n.listeners...)
}

// Listener returns the listener of a name; nil: it is not open.
func (n *Network) Listener(name string) *Listener {
	for _, l := range n.Listeners() {
		if l.String() == name {
			return l
		}
	}
	return nil
}

// String is its name.
func (l *Listener) String() string {
	if l == nil || l.kind == direct {
		return "none"
	}
	return l.config.Load().Name
}

// Config returns its settings, which nobody changes.
func (l *Listener) Config() *ListenerConfig { return l.config.Load() }

// Counts has the counters of its connections; nil: nobody counts. l may be nil.
func (l *Listener) Counts() *metrics.Listener {
	if l == nil {
		return nil
	}
	return l.counts
}

// Addr is where it listens.
func (l *Listener) Addr() net.Addr { return l.addr }

// Anonymous says whether it admits Clients without credentials.
func (l *Listener) Anonymous() Anonymous {
	if l == nil {
		return AnonymousDefault
	}
	return l.config.Load().Anonymous
}

// Accepts reports whether its connections count, and make room for new ones: see acceptor.
func (l *Listener) Accepts() bool { return l != nil && l.kind != direct }
