package store

// A FileSystem is what a data directory is on.
type FileSystem struct {
	Name string // empty: not known
	// Doubt says why what was acknowledged may not be kept; empty: there is no doubt.
	Doubt string
}

const (
	inMemory  = "it is in memory: nothing on it outlives the machine"
	elsewhere = "it is another machine's or another program's, on which it depends whether a sync reaches a disk"
)

// FileSystem returns what the store is on.
func (db *DB) FileSystem() FileSystem { return fileSystemOf(db.o.DataDir) }
