package broker

import "math"

// filesKept is how many of the files that the process may have open are kept for
// other things than sockets of clients: the store, the listeners and 64 connections
// to that for metrics. Where the limit is very low, half of it.
const filesKept = 96

// socketsOfFiles is how many sockets of clients a limit of open files allows.
func socketsOfFiles(limit uint64) int64 {
	if limit == 0 || limit > math.MaxInt64 {
		return math.MaxInt64
	}
	n := int64(limit)
	return max(1, n-min(filesKept, n/2))
}

// A socketLimit is how many sockets of clients may be open, and why no more.
type socketLimit struct {
	sockets     int64
	connections int64 // what is said to be the limit
	key         string
}

// limitSockets finds the limit, which a low limit of open files lowers: so that
// sockets leave files for the store and for who asks whether the broker is ready.
func (b *Broker) limitSockets(files uint64) {
	most := int64(b.o.MaxConnections)
	b.limit = socketLimit{most + min(max(most, handshakesMin), handshakesMax), most, "mqtt.max-connections"}
	allowed := socketsOfFiles(files)
	if allowed >= b.limit.sockets {
		return
	}
	b.limit.sockets = allowed
	if allowed >= most {
		return
	}
	b.limit.connections, b.limit.key = allowed, "limit of open files"
	b.log.Warn("the limit of open files allows fewer connections than mqtt.max-connections: raise it (ulimit -n, LimitNOFILE= in a unit of systemd), "+
		"or lower mqtt.max-connections", "max_connections", most, "open_files", files, "kept", min(filesKept, files/2), "connections", allowed)
}
