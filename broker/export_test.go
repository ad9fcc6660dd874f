package broker

// SetPacketIDs lets the Sessions of b, which has not started, use so few Packet Identifiers.
func (b *Broker) SetPacketIDs(n int) { b.limits.SetPacketIDs(n) }
