package inspect

// A Listener is where Clients connect to.
type Listener struct {
	Name    string `json:"name"`
	Kind    string `json:"kind" doc:"tcp, ws, tls, wss or unix."`
	Address string `json:"address"`
	TLS     bool   `json:"tls"`
}

// A Store is the database of a broker.
type Store struct {
	DatabaseBytes   int64  `json:"database_bytes"`
	WALBytes        int64  `json:"wal_bytes"`
	Commits         uint64 `json:"commits" doc:"Since the start."`
	RowsWritten     uint64 `json:"rows_written" doc:"Since the start."`
	RemovalsPending int64  `json:"removals_pending" doc:"Sessions that have ended and of which something is still to be removed."`
	FileSystem      string `json:"file_system,omitempty"`
}
