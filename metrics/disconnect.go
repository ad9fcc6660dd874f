package metrics

import "fmt"

// A Disconnect is why a Network Connection ended.
type Disconnect uint8

// The reasons.
const (
	ByClient        Disconnect = iota // DISCONNECT came
	ByLoss                            // the Client or the network ended it without DISCONNECT
	ByKeepAlive                       // nothing came for one and a half Keep Alive
	ByTakeover                        // another connection has the Session
	ByWriteTimeout                    // the Client took nothing of what waited for it
	ByProtocolError                   // of what the Client sent, or more of it than it may send
	ByIdentity                        // who the Client is has ended, or was revoked
	ByAdministrator                   // an operator wanted it
	ByOverload                        // memory was short
	ByShutdown                        // the broker stops
	ByFailure                         // a panic, or a queue that could not be read
	BeforeConnack                     // it was refused, or had not come to a CONNACK of success
	NumDisconnects
)

var disconnectNames = [NumDisconnects]string{
	"client", "lost", "keep_alive", "taken_over", "write_timeout", "protocol_error", "identity_ended", "administrator",
	"overload", "shutdown", "failure", "no_connack",
}

// String returns the label value in promptmq_disconnects_total.
func (d Disconnect) String() string { return disconnectNames[d] }

// A Listener has the counters of one listener. Those of a nil *Listener count nothing.
type Listener struct {
	connections *Counter
	disconnects [NumDisconnects]*Counter
}

// Listener returns the counters of a listener; those of one name are the same.
func (b *Broker) Listener(name string) *Listener {
	l := &Listener{connections: b.set.GetOrCreateCounter(labelled("promptmq_listener_connections_total", "listener", name))}
	for d := range NumDisconnects {
		l.disconnects[d] = b.set.GetOrCreateCounter(fmt.Sprintf("promptmq_disconnects_total{listener=%q,reason=%q}", name, d))
	}
	return l
}

// Connected counts a Network Connection that was opened.
func (l *Listener) Connected() {
	if l != nil {
		l.connections.Inc()
	}
}

// Disconnected counts one that has ended.
func (l *Listener) Disconnected(why Disconnect) {
	if l != nil {
		l.disconnects[why].Inc()
	}
}
