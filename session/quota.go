package session

// quota is what is under way to the Client on the connection attached now, and which
// Packet Identifiers that takes. Session.receiveMaximum bounds it.
type quota struct {
	inflight int         // sent and not done
	ids      identifiers // of this connection and those before
}
