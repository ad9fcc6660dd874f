package link

import "net"

// A Kind is one way to come to Network Connections over TCP. To add one takes a file with
// its Kind here, and a line in the list of the broker. What does not listen on TCP needs
// another socket too: acceptor and socket are about a *net.TCPConn.
type Kind struct {
	Name string // in log lines
	Key  string // the setting with its address
	// serve hands on what ln accepts, until it is closed.
	serve func(l *Listener, ln *acceptor)
	// foreign says what a connection begins with if that is known and not for this kind,
	// else "".
	foreign func(b []byte) string
	layered bool // MQTT comes within another protocol
	watches bool // its connections want hangups
}

// direct is the kind of connections that no listener accepted.
var direct = &Kind{Name: "none", foreign: foreignToMQTT}

// A Listener accepts Network Connections of one kind.
type Listener struct {
	// Static after Listen.
	network *Network
	kind    *Kind
	addr    net.Addr
	close   func()
}

// Listen opens a listener; an empty address asks for none. Its error names the key
// and says what can be done.
func (n *Network) Listen(kind *Kind, address string) error {
	if address == "" {
		return nil
	}
	ln, err := Listen(kind.Key, address)
	if err != nil {
		return err
	}
	if kind.watches && n.hangups == nil {
		n.hangups = newHangups()
	}
	l := &Listener{network: n, kind: kind, addr: ln.Addr(), close: func() { _ = ln.Close() }}
	n.mu.Lock()
	n.listeners = append(n.listeners, l)
	n.mu.Unlock()
	go kind.serve(l, &acceptor{ln, l})
	return nil
}

// Addr returns the address of the listener of a kind; nil: it is not open.
func (n *Network) Addr(kind *Kind) net.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.listeners {
		if l.kind == kind {
			return l.addr
		}
	}
	return nil
}

// String is the name of its kind.
func (l *Listener) String() string {
	if l == nil {
		return direct.Name
	}
	return l.kind.Name
}

// Accepts reports whether its connections count, and make room for new ones: see acceptor.
func (l *Listener) Accepts() bool { return l != nil && l.kind != direct }
