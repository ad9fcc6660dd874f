package broker

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/coder/websocket"
)

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
		go b.acceptTCP(ln)
	}
	if b.o.WSBind != "" {
		ln, err := Listen("server.ws-bind", b.o.WSBind)
		if err != nil {
			return err
		}
		b.listenWebSocket(ln)
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

// acceptTCP serves each connection in its own goroutine. When the process runs
// out of file descriptors it waits and tries again.
func (b *Broker) acceptTCP(ln net.Listener) {
	const waitMin, waitMax = 5 * time.Millisecond, time.Second
	wait := waitMin
	for {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			wait = waitMin
			go b.serve(newTransport(nc), mqttListener, true)
		case errors.Is(err, net.ErrClosed):
			return
		default:
			b.notices.warn("accept", "", "accept failed", "error", err, "again_in", wait.String())
			time.Sleep(wait)
			wait = min(2*wait, waitMax)
		}
	}
}

// subprotocol is the only one of MQTT over WebSocket. [MQTT-6.0.0-3] [MQTT-6.0.0-4]
const subprotocol = "mqtt"

// listenWebSocket serves MQTT over WebSocket at any path. Section 6.
func (b *Broker) listenWebSocket(ln net.Listener) {
	ctx, cancel := context.WithCancel(b.ctx)
	srv := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { b.serveWebSocket(ctx, w, r) }),
		ReadHeaderTimeout: b.o.ReadTimeout,
		IdleTimeout:       b.o.ReadTimeout, // without it what asked for no WebSocket could stay for ever
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          b.httpErrorLog(),
	}
	b.addListener(&listener{kind: webSocketListener, addr: ln.Addr(), close: func() {
		_ = ln.Close()
		go func() { // the connections taken over by WebSocket are not the server's any more
			b.background.Wait()
			cancel()
			_ = srv.Close()
		}()
	}})
	go func() { _ = srv.Serve(ln) }() // ends when ln is closed
}

func (b *Broker) serveWebSocket(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	// Without OriginPatterns a browser's Origin must be this host.
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols:    []string{subprotocol},
		CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		b.m.Refused("websocket").Inc()
		return // Accept has answered
	}
	if ws.Subprotocol() != subprotocol {
		b.m.Refused("websocket").Inc()
		_ = ws.Close(websocket.StatusPolicyViolation, "the sub-protocol must be mqtt")
		return
	}
	// NetConn joins and splits frames: packets need not be aligned with them
	// [MQTT-6.0.0-2], and any other frame than a binary one ends it [MQTT-6.0.0-1].
	nc := websocket.NetConn(ctx, ws, websocket.MessageBinary)
	ws.SetReadLimit(-1) // a frame is read in pieces; the limit is that of a packet
	b.serve(webSocketTransport{streamTransport{nc}, remoteAddr(r)}, webSocketListener, false)
}

// webSocketTransport tells the address of the peer, which the stream does not.
type webSocketTransport struct {
	streamTransport
	remote net.Addr
}

func (t webSocketTransport) RemoteAddr() net.Addr { return t.remote }

// wake and readNow cannot: a deadline that passes while a read waits ends a WebSocket.
func (t webSocketTransport) wake() bool { return false }

func (t webSocketTransport) readNow(*conn) (int, error) { return 0, os.ErrDeadlineExceeded }

// Close does not wait for the peer's half of the closing handshake.
func (t webSocketTransport) Close() error {
	go func() { _ = t.Conn.Close() }() // what it reports is the peer's manners
	return nil
}

func remoteAddr(r *http.Request) net.Addr {
	a, err := net.ResolveTCPAddr("tcp", r.RemoteAddr)
	if err != nil { // the HTTP server always gives host:port
		return &net.TCPAddr{}
	}
	return a
}
