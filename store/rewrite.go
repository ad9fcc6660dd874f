package store

import (
	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"
)

// rewriteWAL writes the WAL over itself and syncs it.
//
// When a sync failed and the process died, the page cache can show frames that
// the disk does not have and that no later sync writes, because the system holds
// them to be clean. A checkpoint copies such frames into the database; a power
// cut during it would then leave some of their pages there and none of the
// frames that complete them: a corrupt database. Written again, they are synced.
//
// Nothing else may be using the database.
func rewriteWAL(c *sqlite3.Conn) error {
	wal, err := walFile(c)
	if err != nil || wal == nil {
		return err
	}
	size, err := wal.Size()
	if err != nil || size == 0 {
		return err
	}
	buf := make([]byte, min(size, 1<<20))
	for off := int64(0); off < size; {
		b := buf[:min(size-off, int64(len(buf)))]
		if _, err := wal.ReadAt(b, off); err != nil {
			return err
		}
		if _, err := wal.WriteAt(b, off); err != nil {
			return err
		}
		off += int64(len(b))
	}
	return wal.Sync(vfs.SYNC_FULL)
}
