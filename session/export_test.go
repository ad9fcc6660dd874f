package session

// SetPacketIDs makes Sessions use so few Packet Identifiers.
func (l *Limits) SetPacketIDs(n int) { l.packetIDs = n }
