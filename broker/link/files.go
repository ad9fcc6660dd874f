package link

import (
	"log/slog"
	"math"

	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/metrics"
)

// Of the files that the process may have open, these are kept from sockets of Clients.
const (
	// filesOwn: 19 are open all the time: the standard streams, the store with its lock, log
	// and index, what the runtime and acceptors wait with, the sockets for commands and for metrics. The
	// others are for what is open for a moment: files that a reload reads, a directory or a
	// journal that is synced, /proc, sockets that are being closed.
	filesOwn = 32
	// filesCommands is for connections to the socket for commands.
	filesCommands = 8
	// filesListener is for the socket of a listener, and what it has accepted and not counted.
	filesListener = 2
	// scrapesMax connections to the listener for metrics; fewer where the limit is low.
	scrapesMax, scrapesMin = 64, 4
)

// A fileShare says how many files the process may have open, and for what.
type fileShare struct {
	limit   int64 // math.MaxInt64: there is none, or it is not known
	kept    int64 // for all but sockets of Clients
	sockets int64 // of Clients
}

// shareFiles shares a limit of open files out; 0: there is none that is known. beside is
// Config.FilesBeside.
func shareFiles(limit uint64, listeners, beside int) fileShare {
	if limit == 0 || limit > math.MaxInt64 {
		return fileShare{limit: math.MaxInt64, sockets: math.MaxInt64}
	}
	f := fileShare{limit: int64(limit), kept: int64(filesOwn + filesCommands + filesListener*listeners + beside + scrapesFor(limit))}
	if control.Broken(control.FilesNotKept) {
		f.kept = 0
	}
	f.sockets = max(1, f.limit-f.kept)
	return f
}

func scrapesFor(limit uint64) int {
	if limit == 0 {
		return scrapesMax
	}
	return int(max(scrapesMin, min(limit/8, scrapesMax)))
}

// ScrapesMax is how many connections the listener for metrics may have.
func ScrapesMax() int { return scrapesFor(metrics.OpenFilesMax()) }

// say logs the share, and that it is less than the connections that there should be.
func (f fileShare) say(connections int64, log *slog.Logger) {
	if f.limit == math.MaxInt64 {
		return
	}
	log.Info("open files are limited", "limit", f.limit, "kept", f.kept, "connections", f.sockets)
	if f.sockets < connections {
		log.Warn("the limit of open files allows fewer connections than mqtt.max-connections: raise it (ulimit -n, LimitNOFILE= in a unit of systemd), "+
			"or lower mqtt.max-connections", trouble.OpenFiles, "max_connections", connections, "open_files", f.limit, "kept", f.kept, "connections", f.sockets)
	}
}

// A socketLimit is how many sockets may be open, and what is said of one that is too many.
type socketLimit struct {
	sockets int64
	cause   string // by which it is counted
	shown   int64  // the limit as it is logged
	key     string // what sets it
}

const (
	causeConnections = "too many connections"
	causeFiles       = "limit of open files"
)

// limitSockets returns the limit for so many connections, or that of files if it is lower.
func limitSockets(connections int64, files fileShare) *socketLimit {
	sockets := connections + min(max(connections, handshakesMin), handshakesMax)
	if files.sockets < sockets {
		return &socketLimit{files.sockets, causeFiles, files.sockets, causeFiles}
	}
	return &socketLimit{sockets, causeConnections, connections, "mqtt.max-connections"}
}

// ConnectionsMax is the most Network Connections at a time: Config.MaxConnections, or what the
// limit of open files allows if that is less.
func (n *Network) ConnectionsMax() int64 { return min(n.c.MaxConnections, n.limit.Load().shown) }

// SetFilesBeside is for another Config.FilesBeside. One goroutine at a time calls it.
func (n *Network) SetFilesBeside(beside int) {
	if beside != n.filesBeside {
		n.filesBeside = beside
		n.shareFiles()
	}
}

func (n *Network) shareFiles() {
	files := shareFiles(metrics.OpenFilesMax(), n.c.Listeners, n.filesBeside)
	files.say(n.c.MaxConnections, n.c.Log)
	n.limit.Store(limitSockets(n.c.MaxConnections, files))
}

// FilesAllow returns how many connections of Clients a limit of open files allows a broker with so
// many listeners, and files for other things beside them; known is false if there is no limit.
func FilesAllow(listeners, beside int) (connections, limit int64, known bool) {
	f := shareFiles(metrics.OpenFilesMax(), listeners, beside)
	return f.sockets, f.limit, f.limit != math.MaxInt64
}
