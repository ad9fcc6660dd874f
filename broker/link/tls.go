package link

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/x0a1b/promptmq/broker/trouble"
)

func init() {
	kinds[KindTLS] = &kind{open: openTCP, serve: serveStreams, foreign: foreignToMQTT, secure: true}
	kinds[KindWSS] = &kind{open: openTCP, serve: serveHTTP, foreign: foreignToHTTP, layered: true, secure: true}
}

// handshake makes TLS of a socket. It returns the Transport over it, and what can be read and
// written in the meantime; nil: it failed, and s is closed.
func (l *Listener) handshake(s *socket) (Transport, net.Conn) {
	hs := &l.network.handshakes
	h := hs.begin(s)
	t := &secure{socket: s, handshake: h}
	t.conn = tls.Server(ciphertext{t}, l.tls)
	err := s.SetDeadline(time.Now().Add(l.handshakeTimeout()))
	if err == nil && !h.refused.Load() { // after the deadline is set: it would undo that of who refuses
		err = t.conn.Handshake()
	}
	hs.end(h)
	if err == nil {
		err = s.SetDeadline(time.Time{})
	}
	if err != nil || h.refused.Load() {
		l.refuseHandshake(s, h, err)
		_ = s.Close()
		return nil, nil
	}
	t.handshake = nil
	return t.start(), t.conn
}

func (l *Listener) handshakeTimeout() time.Duration {
	if d := l.config.Load().TLS.HandshakeTimeout; d > 0 {
		return d
	}
	return l.network.c.ConnectTimeout
}

// start returns the Transport. Until it is used, what is below can block.
func (t *secure) start() Transport {
	if Nonblocking {
		raw, err := t.rawConn()
		if err == nil {
			t.raw, t.ready = raw, t.readReady
			return t
		}
	}
	return &stream{Conn: t.conn, listener: t.listener, socket: t.socket}
}

// refuseHandshake counts and logs a handshake that failed. One that was begun with nothing, as
// by a load balancer that tries the port, is not logged.
func (l *Listener) refuseHandshake(s *socket, h *handshake, err error) {
	c := &l.network.c
	if s.counted.Swap(true) {
		return
	}
	reason := "too many at once"
	if !h.refused.Load() {
		reason = handshakeFailure(err)
	}
	c.Metrics.Refused("TLS handshake").Inc()
	c.Metrics.HandshakeFailures(reason).Inc()
	if reason == "closed" && !h.spoke.Load() {
		return
	}
	c.Notices.Info("TLS handshake: "+reason, HostOf(s.RemoteAddr()), "TLS handshake failed", trouble.TLSHandshake, "listener", l.String(), "remote", s.RemoteAddr().String(),
		"reason", reason, "error", err)
}

// handshakeFailure names what made a handshake fail, in one of few words.
func handshakeFailure(err error) string {
	var record tls.RecordHeaderError
	var certificate *certificateError
	var invalid x509.CertificateInvalidError
	var authority x509.UnknownAuthorityError
	var verification *tls.CertificateVerificationError
	var op *net.OpError
	switch {
	case errors.As(err, &certificate):
		return certificate.reason
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "expired certificate"
	case errors.As(err, &authority):
		return "unknown authority"
	case errors.As(err, &verification):
		return "bad certificate"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	case errors.As(err, &record) && !strings.Contains(record.Msg, "oversized"):
		return "no TLS"
	case errors.As(err, &op) && op.Op == "remote error":
		return "alert"
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "closed"
	}
	for text, reason := range map[string]string{ // errors of crypto/tls that have no type
		"didn't provide a certificate":   "no certificate",
		"unsupported versions":           "protocol version",
		"protocol version not supported": "protocol version",
		"no cipher suite supported":      "no common cipher",
		"no ECDHE curve supported":       "no common cipher",
		"no key exchanges supported":     "no common cipher",
		"signature algorithm":            "no common cipher",
		"exceeds maximum":                "too large",
		"oversized record":               "too large",
		"unexpected":                     "malformed",
		"bad record MAC":                 "malformed",
		"error decoding message":         "malformed",
		"too many non-advancing records": "malformed",
	} {
		if strings.Contains(err.Error(), text) {
			return reason
		}
	}
	return "other"
}

// openTLS reads the files of a listener with TLS.
func (l *Listener) openTLS() error {
	c := l.config.Load()
	k, err := loadCredentials(c.TLS, l.network.c.Now)
	if err != nil {
		return fmt.Errorf("listener %q: %w", c.Name, err)
	}
	l.credentials.Store(k)
	// The keys for resumption are those of this Config, whatever it returns.
	l.tls = &tls.Config{Time: l.network.c.Now, GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if h := hello.Conn.(ciphertext).t.handshake; h != nil {
			h.greeted.Store(true)
		}
		return l.credentials.Load().config, nil
	}}
	return nil
}

// tlsOf returns the TLS under a Transport; nil: there is none.
func tlsOf(t Transport) *tls.Conn {
	switch t := t.(type) {
	case *secure:
		return t.conn
	case *webSocket:
		return tlsOf(t.out)
	case *stream:
		c, _ := t.Conn.(*tls.Conn)
		return c
	}
	return nil
}
