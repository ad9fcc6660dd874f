package broker

import "github.com/x0a1b/promptmq/codec"

// handleAuth refuses AUTH: no Authentication Method was accepted in CONNECT, so
// the Client must not send it. [MQTT-4.12.0-7]
func (c *conn) handleAuth(codec.Frame) error {
	return refuse(codec.ProtocolError, "AUTH without an Authentication Method in CONNECT")
}
