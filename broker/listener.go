package broker

import "net"

// A listenerKind says where a Network Connection came from.
type listenerKind uint8

const (
	noListener listenerKind = iota // ServeConn
	mqttListener
	webSocketListener
)

func (k listenerKind) String() string { return [...]string{"none", "mqtt", "websocket"}[k] }

// A listener accepts Network Connections of one kind.
type listener struct {
	kind  listenerKind
	addr  net.Addr
	close func()
}

// listen opens the listeners that the options ask for.
func (b *Broker) listen() error {
	if b.o.Bind != "" {
		ln, err := Listen("server.bind", b.o.Bind)
		if err != nil {
			return err
		}
		b.addListener(&listener{kind: mqttListener, addr: ln.Addr(), close: func() { _ = ln.Close() }})
		go b.acceptTCP(&acceptor{ln, b, mqttListener})
	}
	if b.o.WSBind != "" {
		ln, err := Listen("server.ws-bind", b.o.WSBind)
		if err != nil {
			return err
		}
		b.listenWebSocket(&acceptor{ln, b, webSocketListener})
	}
	return nil
}

func (b *Broker) addListener(l *listener) {
	b.mu.Lock()
	b.listeners = append(b.listeners, l)
	b.mu.Unlock()
}

func (b *Broker) closeListeners() {
	b.mu.Lock()
	listeners := b.listeners
	b.listeners = nil
	b.mu.Unlock()
	for _, l := range listeners {
		l.close()
	}
}

// Addr and WSAddr return the addresses of the listeners; nil: not open.
func (b *Broker) Addr() net.Addr   { return b.listenerAddr(mqttListener) }
func (b *Broker) WSAddr() net.Addr { return b.listenerAddr(webSocketListener) }

func (b *Broker) listenerAddr(kind listenerKind) net.Addr {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.listeners {
		if l.kind == kind {
			return l.addr
		}
	}
	return nil
}

// acceptTCP serves each connection in its own goroutine, until the listener is
// closed.
func (b *Broker) acceptTCP(ln *acceptor) {
	for {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		go b.serve(newTransport(nc), mqttListener, true)
	}
}
