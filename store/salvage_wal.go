package store

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
)

// walVersion is that of SQLite's format of the WAL.
const walVersion = 3007000

// copyWithMendedWAL copies a database whose WAL is damaged, and of that all up to
// the last commit that was found, with new checksums. SQLite reads it then: a
// damaged frame is a page whose rows are verified one by one, like any other.
func copyWithMendedWAL(path, spare string) error {
	if _, err := copyFile(path, spare); err != nil {
		return err
	}
	from, err := os.Open(path + "-wal")
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }() // only read
	info, err := from.Stat()
	if err != nil {
		return err
	}
	scan, err := scanWAL(from, info.Size())
	if err != nil {
		return err
	}
	to, err := os.OpenFile(spare+"-wal", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(scan.mend(to, from), to.Close())
}

// mend writes a WAL of the frames before s.end.
func (s *walScan) mend(to io.Writer, from io.ReaderAt) error {
	header := s.header[:]
	if s.badHeader {
		header = s.newHeader()
	}
	if _, err := to.Write(header); err != nil {
		return err
	}
	sum := storedSum(header[walHeaderSummed:])
	frame := make([]byte, frameHeaderBytes+s.pageBytes)
	for i := range s.end {
		if _, err := from.ReadAt(frame, s.offset(i)); err != nil {
			return err
		}
		if [saltsBytes]byte(frame[frameSalts:]) != s.salts || binary.BigEndian.Uint32(frame) == 0 {
			continue // where its page belongs is not to be believed either
		}
		sum = s.sum(sum, frame)
		sum.put(frame[frameSum:])
		if _, err := to.Write(frame); err != nil {
			return err
		}
	}
	return nil
}

// newHeader is a header for frames with s.salts.
func (s *walScan) newHeader() []byte {
	h := make([]byte, walHeaderBytes)
	magic := uint32(walMagic)
	if s.order == binary.BigEndian {
		magic = walMagicBig
	}
	for i, v := range []uint32{magic, walVersion, uint32(s.pageBytes)} {
		binary.BigEndian.PutUint32(h[4*i:], v)
	}
	copy(h[walSalts:], s.salts[:])
	walSum{}.over(s.order, h[:walHeaderSummed]).put(h[walHeaderSummed:])
	return h
}
