package broker

import "github.com/x0a1b/promptmq/codec"

// handlePingreq answers PINGREQ. [MQTT-3.12.4-1]
func (c *conn) handlePingreq(f codec.Frame) error {
	if err := codec.DecodePing(f); err != nil {
		return err
	}
	c.out.Queue(&c.pending.Pending, codec.AppendPingresp)
	return nil
}
