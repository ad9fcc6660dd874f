package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/coder/websocket"
)

// dialWithin bounds how long a connection may take.
const dialWithin = 15 * time.Second

// A MismatchError is a connection that ended before the broker said anything in the protocol that
// was expected: as a rule one with TLS to a port without, or the other way round.
type MismatchError struct {
	TLS bool // the client spoke it
	Err error
}

// Error implements error.
func (e *MismatchError) Error() string {
	if e.TLS {
		return fmt.Sprintf("there was no TLS handshake (%v): is it a port without TLS?", e.Err)
	}
	return fmt.Sprintf("%v before it answered: is it a port with TLS? Then say --cafile FILE, or --tls-use-os-certs", e.Err)
}

// Unwrap is for package errors.
func (e *MismatchError) Unwrap() error { return e.Err }

// isMismatch reports whether the other side has closed, or has said something that is no TLS.
func isMismatch(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, errClosed) || errors.Is(err, syscall.ECONNRESET) || errors.As(err, new(tls.RecordHeaderError))
}

// Dialer returns what dials address ("host:port", or the path of a socket) in network ("tcp" or "unix"), with
// TLS if config is not nil, and with WebSocket over "tcp" at path if that is not empty.
func Dialer(network, address, path string, config *tls.Config) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialWithin)
		defer cancel()
		if path == "" && config == nil {
			return new(net.Dialer).DialContext(ctx, network, address)
		}
		if path == "" {
			conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, network, address)
			if err != nil && isMismatch(err) {
				err = &MismatchError{TLS: true, Err: err}
			}
			return conn, err
		}
		scheme := "ws://"
		if config != nil {
			scheme = "wss://"
		}
		ws, answer, err := websocket.Dial(ctx, scheme+address+path, &websocket.DialOptions{ // [MQTT-6.0.0-3]
			Subprotocols: []string{"mqtt"},
			HTTPClient:   &http.Client{Transport: &http.Transport{TLSClientConfig: config}},
		})
		if answer != nil && answer.Body != nil {
			_ = answer.Body.Close()
		}
		if err != nil {
			return nil, err
		}
		return websocket.NetConn(context.Background(), ws, websocket.MessageBinary), nil
	}
}
