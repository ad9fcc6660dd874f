package client

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// dialWithin bounds how long a connection may take.
const dialWithin = 15 * time.Second

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
			return (&tls.Dialer{Config: config}).DialContext(ctx, network, address)
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
