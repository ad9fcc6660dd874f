package store

// A FileSystem is what a data directory is on.
type FileSystem struct {
	Name string // empty: not known
	// Doubtful says that it cannot be told from here whether a sync reaches a
	// disk: it is in memory, on another machine, or another program's.
	Doubtful bool
}

// FileSystem returns what the store is on.
func (db *DB) FileSystem() FileSystem { return fileSystemOf(db.o.DataDir) }
