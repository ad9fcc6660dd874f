package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/ncruces/go-sqlite3"
)

// Offsets in the first page of a database, which SQLite's file format defines.
const (
	headerFormats     = 18 // of writing and of reading: 2 with a WAL
	headerChanges     = 24
	headerPages       = 28
	headerFreelist    = 32 // its first page and its length
	headerValidFor    = 92 // the value of headerChanges for which headerPages holds
	headerBytes       = 100
	pageLeafOfTable   = 0x0d
	headerFormatOfWAL = 2
)

// openForSalvage opens what is at path, or a copy at spare that SQLite can read
// more of.
//
// If the first page cannot be read, nothing else can: then the copy has the first
// page of a new database, which says the same: which tables there are, and where.
// What is not there after all has no right checksum. Of a damaged WAL SQLite would
// not read what stands behind the damage: then the copy has a mended one.
func openForSalvage(path, spare string) (*sqlite3.Conn, error) {
	c, err := openDamaged(path)
	if err == nil && readable(c) {
		if !errors.Is(checkWAL(c), ErrDamaged) {
			return c, nil
		}
		_ = c.Close() // nothing was written
		return openCopy(path, spare, copyWithMendedWAL)
	}
	if err == nil {
		_ = c.Close() // nor here
	}
	return openCopy(path, spare, copyWithNewHeader)
}

// readable reports whether SQLite finds our tables, whatever the version may be.
func readable(c *sqlite3.Conn) bool {
	t, err := tablesOf(c)
	return err == nil && t.ours == tablesOurs
}

func openCopy(path, spare string, makeCopy func(path, spare string) error) (*sqlite3.Conn, error) {
	if makeCopy(path, spare) == nil {
		if c, err := openDamaged(spare); err == nil {
			if readable(c) {
				return c, nil
			}
			_ = c.Close() // nothing was written
		}
	}
	return openDamaged(path) // some of it, perhaps
}

// removeSpare removes a copy that openForSalvage made.
func removeSpare(spare string) {
	for _, suffix := range []string{"", "-wal", "-shm", "-journal", ".model"} {
		_ = os.Remove(spare + suffix) // most are not there
	}
}

func copyWithNewHeader(path, spare string) error {
	page, err := modelPage(spare + ".model")
	if err != nil {
		return err
	}
	size, err := copyFile(path, spare)
	if err != nil {
		return err
	}
	if _, err := copyFile(path+"-wal", spare+"-wal"); err == nil {
		page[headerFormats], page[headerFormats+1] = headerFormatOfWAL, headerFormatOfWAL
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	binary.BigEndian.PutUint32(page[headerPages:], uint32(size/pageSize))
	copy(page[headerValidFor:], page[headerChanges:headerChanges+4])
	clear(page[headerFreelist : headerFreelist+8])
	f, err := os.OpenFile(spare, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(page, 0)
	return errors.Join(err, f.Close())
}

// modelPage returns the first page of a new database, which has the whole schema.
func modelPage(path string) ([]byte, error) {
	if err := createDatabase(path); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(b) < pageSize || b[headerBytes] != pageLeafOfTable {
		return nil, fmt.Errorf("the schema of a new database does not fit its first page of %d bytes", pageSize)
	}
	return b[:pageSize], nil
}

func copyFile(from, to string) (size int64, err error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer func() { _ = in.Close() }() // only read
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	size, err = io.Copy(out, in)
	return size, errors.Join(err, out.Close())
}
