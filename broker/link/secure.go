package link

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

const (
	// pieceMax is how much is encrypted before it is written.
	pieceMax = 64 << 10
	// encryptedMax bounds what is encrypted and not yet written: a piece, and what TLS itself
	// has to answer to a peer that does not read.
	encryptedMax = 2 * pieceMax
)

// A secure is a Transport over TLS. Like raw it asks its socket without blocking, and handles
// what comes inside the call that waits, so an idle one has no buffer and a small stack.
// crypto/tls loses nothing when a read says os.ErrDeadlineExceeded. All that it writes goes
// to rest, and from there to the socket: one system call for many records.
type secure struct {
	*socket

	// Static after the handshake.
	conn        *tls.Conn
	raw         syscall.RawConn
	ready       func(uintptr) bool
	established bool       // no read or write of ciphertext blocks any more; set before the first of the methods below
	handshake   *handshake // nil: it is over

	reader Reader // for which Receive was called; owned by the reader

	writing sync.Mutex // held while rest is written; guards the following
	owed    int        // bytes whose records are in rest, or were, which no write has returned

	encrypting sync.Mutex // guards the following
	rest       []byte     // encrypted, and not yet taken by the socket; borrowed
}

// errTakesNothing ends a connection whose peer makes TLS answer and does not read it.
var errTakesNothing = errors.New("TLS: the peer does not read what it asks for")

// A ciphertext is the socket as crypto/tls sees it.
type ciphertext struct{ t *secure }

func (w ciphertext) Read(b []byte) (int, error) {
	if !w.t.established {
		n, err := w.t.netSocket.Read(b)
		if h := w.t.handshake; n > 0 && h != nil {
			h.spoke.Store(true)
		}
		return n, err
	}
	n, again, err := readSocket(uintptr(w.t.fd), b)
	switch {
	case again:
		return 0, os.ErrDeadlineExceeded
	case err == nil && n == 0 && len(b) > 0:
		return 0, io.EOF
	}
	return n, err
}

func (w ciphertext) Write(b []byte) (int, error) {
	t := w.t
	if !t.established {
		return t.netSocket.Write(b)
	}
	t.encrypting.Lock()
	defer t.encrypting.Unlock()
	if len(t.rest)+len(b) > encryptedMax {
		return 0, errTakesNothing
	}
	if t.rest == nil {
		t.rest = OutBuffers.Get(len(b))
	}
	t.rest = append(t.rest, b...)
	return len(b), nil
}

func (w ciphertext) Close() error                      { return w.t.socket.Close() }
func (w ciphertext) LocalAddr() net.Addr               { return w.t.LocalAddr() }
func (w ciphertext) RemoteAddr() net.Addr              { return w.t.RemoteAddr() }
func (w ciphertext) SetDeadline(d time.Time) error     { return w.t.SetDeadline(d) }
func (w ciphertext) SetReadDeadline(d time.Time) error { return w.t.SetReadDeadline(d) }

// SetWriteDeadline does nothing after the handshake: then no Write waits.
func (w ciphertext) SetWriteDeadline(d time.Time) error {
	if w.t.established {
		return nil
	}
	return w.t.SetWriteDeadline(d)
}

func (t *secure) Wake() { wake(t.netSocket) }

func (t *secure) Listener() *Listener { return t.listener }

func (t *secure) EndWith(codec.ReasonCode) {}

// readNow decrypts what there is; again says that it is no whole record yet. The caller has
// entered, or is called by the RawConn.
func (t *secure) readNow(b []byte) (n int, again bool, err error) {
	n, err = t.conn.Read(b)
	switch {
	case n > 0:
		return n, false, nil // an error comes again
	case err == os.ErrDeadlineExceeded:
		t.flushAnswers()
		return 0, true, nil
	case err != nil:
		t.flushAnswers() // the alert
		t.count(err)
	}
	return 0, false, err
}

// count counts what ended the connection, if it was not an end as over TCP.
func (t *secure) count(err error) {
	if reason := handshakeFailure(err); reason != "closed" && t.state.Load()&socketClosed == 0 {
		t.listener.network.c.Metrics.TLSErrors(reason).Inc()
	}
}

// flushAnswers writes what TLS itself has to say, as far as the socket takes it.
func (t *secure) flushAnswers() {
	if t.writing.TryLock() {
		_, _ = t.writeRestNow() // an error comes again
		t.writing.Unlock()
	}
}

func (t *secure) ReadNow(r Reader) (int, error) {
	if !t.enter() {
		return 0, net.ErrClosed
	}
	defer t.leave()
	n, again, err := t.readNow(r.Room())
	if again {
		return 0, os.ErrDeadlineExceeded
	}
	return n, err
}

func (t *secure) Receive(r Reader) error {
	if !t.enter() {
		return net.ErrClosed
	}
	defer t.leave() // also in a panic
	t.reader = r
	for {
		t.connected = r.Connected()
		if err := t.raw.Read(t.ready); err != nil || r.State().Ended != nil || t.connected {
			return err
		}
		if !r.Received(r.State().came) || r.Connected() { // outside of the call that waits: see receiveFirst
			return nil
		}
	}
}

// readReady reads and handles what there is. It reports false to wait for more.
func (t *secure) readReady(uintptr) bool {
	for {
		room := t.reader.Room()
		if t.state.Load()&socketClosed != 0 {
			t.reader.State().Ended = net.ErrClosed
			return true
		}
		n, again, err := t.readNow(room)
		switch {
		case err != nil:
			t.reader.State().Ended = err
			return true
		case !again && !t.connected:
			t.reader.State().came = n
			return true
		case !again:
			if !t.reader.Received(n) {
				return true
			}
			continue
		}
		if err := t.reader.Rearm(); err != nil {
			t.reader.State().Ended = err
			return true
		}
		if t.state.Load()&socketClosed == 0 { // who closes sets it before the deadline is moved
			t.reader.Idle()
			return false
		}
	}
}

// TryWrite writes what can be written without blocking. If the socket takes a part of what
// was encrypted, the next WriteWithin writes the rest.
func (t *secure) TryWrite(b []byte) (sent int, err error) {
	if !t.writing.TryLock() {
		return 0, nil
	}
	defer t.writing.Unlock()
	if t.owed > 0 {
		return 0, nil
	}
	if done, err := t.writeRestNow(); !done {
		return 0, err
	}
	for sent < len(b) {
		piece := b[sent:min(len(b), sent+pieceMax)]
		if _, err := t.conn.Write(piece); err != nil {
			return sent, err
		}
		if done, err := t.writeRestNow(); !done {
			t.owed = len(piece)
			return sent, err
		}
		sent += len(piece)
	}
	return sent, nil
}

// writeRestNow writes of rest what the socket takes, and reports whether that was all. The
// caller holds writing.
func (t *secure) writeRestNow() (done bool, err error) {
	t.encrypting.Lock()
	defer t.encrypting.Unlock()
	if t.rest == nil {
		return true, nil
	}
	if !t.enter() {
		return false, net.ErrClosed
	}
	defer t.leave()
	n, err := writeSocket(uintptr(t.fd), t.rest)
	if err != nil {
		return false, err
	}
	if n < len(t.rest) {
		t.rest = append(t.rest[:0], t.rest[n:]...)
		return false, nil
	}
	OutBuffers.Put(t.rest)
	t.rest = nil
	return true, nil
}

// WriteWithin writes b, and fails if that takes longer than timeout. b goes on where the last
// write ended.
func (t *secure) WriteWithin(b []byte, timeout time.Duration) (sent int, err error) {
	t.writing.Lock()
	defer t.writing.Unlock()
	if err := t.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return 0, err
	}
	sent, t.owed = t.owed, 0
	for {
		if err := t.writeRest(); err != nil {
			return 0, err // the connection is of no use any more
		}
		if sent == len(b) {
			return sent, t.SetWriteDeadline(time.Time{})
		}
		piece := b[sent:min(len(b), sent+pieceMax)]
		if _, err := t.conn.Write(piece); err != nil {
			return sent, err
		}
		sent += len(piece)
	}
}

// writeRest writes all of rest. The caller holds writing.
func (t *secure) writeRest() error {
	t.encrypting.Lock()
	rest := t.rest
	t.rest = nil
	t.encrypting.Unlock()
	if rest == nil {
		return nil
	}
	_, err := t.netSocket.Write(rest)
	OutBuffers.Put(rest)
	return err
}

// sayEnd tells the peer that nothing follows, if the socket takes it at once.
func (t *secure) sayEnd() {
	if !t.writing.TryLock() {
		return
	}
	defer t.writing.Unlock()
	if t.owed == 0 {
		_ = t.conn.CloseWrite() // it goes to rest
		_, _ = t.writeRestNow() // it is closed in any case
	}
}

func (t *secure) CloseWrite() bool {
	t.sayEnd()
	return closeWrite(t.netSocket)
}

func (t *secure) Close() error {
	if t.state.Load()&socketClosed == 0 {
		t.sayEnd()
	}
	return t.socket.Close()
}
