package link

import (
	"log/slog"
	"math"
)

// Of the files that the process may open, filesOwn are for the store, the listeners and the
// runtime, and scrapesMax for connections to the listener for metrics: fewer where the limit
// is low, so that half of it is left for sockets of clients.
const filesOwn, scrapesMax, scrapesMin = 32, 64, 4

// shareFiles returns how many sockets of clients, and how many connections to the listener
// for metrics, a limit of open files allows. 0: the limit is not known.
func shareFiles(limit uint64) (sockets, scrapes int64) {
	if limit == 0 || limit > math.MaxInt64 {
		return math.MaxInt64, scrapesMax
	}
	n := int64(limit)
	scrapes = max(scrapesMin, min(scrapesMax, n/2-filesOwn))
	return max(1, n-filesOwn-scrapes), scrapes
}

// ScrapesMax is how many connections the listener for metrics may have.
func ScrapesMax() int {
	_, scrapes := shareFiles(openFilesMax())
	return int(scrapes)
}

// A socketLimit is how many sockets of clients may be open.
type socketLimit struct {
	sockets     int64
	connections int64  // the limit as it is logged
	key         string // what sets it
}

// limitSockets returns the limit for so many connections. A low limit of open files lowers
// it, so that there are files for the store and for who asks whether the broker is ready.
func limitSockets(connections int64, files uint64, log *slog.Logger) socketLimit {
	limit := socketLimit{connections + min(max(connections, handshakesMin), handshakesMax), connections, "mqtt.max-connections"}
	allowed, scrapes := shareFiles(files)
	if allowed >= limit.sockets {
		return limit
	}
	limit.sockets = allowed
	if allowed >= connections {
		return limit
	}
	limit.connections, limit.key = allowed, "limit of open files"
	log.Warn("the limit of open files allows fewer connections than mqtt.max-connections: raise it (ulimit -n, LimitNOFILE= in a unit of systemd), "+
		"or lower mqtt.max-connections", "max_connections", connections, "open_files", files, "kept", filesOwn+scrapes, "connections", allowed)
	return limit
}
