package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"
)

// SQLite's file format defines the WAL: a header, and frames of a header and a
// page. The checksum of a frame goes over everything before it. A WAL is begun
// anew without being cut; frames of before have other salts.
const (
	walHeaderBytes   = 32
	walHeaderSummed  = 24 // of the header its own checksum covers, which follows
	walMagic         = 0x377f0682
	walMagicBig      = walMagic | 1 // checksums of big-endian words
	walPageSize      = 8
	walSalts         = 16
	frameHeaderBytes = 24
	framePages       = 4 // of a commit: the pages of the database; else 0
	frameSummed      = 8 // of a frame's header its checksum covers
	frameSalts       = 8
	frameSum         = 16
	saltsBytes       = 8
	walPageMin       = 512
	walPageMax       = 64 << 10
	diskSectorBytes  = 512 // what a disk writes wholly or not at all
)

// A walSum is a checksum of the WAL.
type walSum [2]uint32

// over goes on with b, whose length is a multiple of 8.
func (s walSum) over(order binary.ByteOrder, b []byte) walSum {
	for ; len(b) >= 8; b = b[8:] {
		s[0] += order.Uint32(b) + s[1]
		s[1] += order.Uint32(b[4:]) + s[0]
	}
	return s
}

func storedSum(b []byte) walSum {
	return walSum{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}
}

func (s walSum) put(b []byte) {
	binary.BigEndian.PutUint32(b, s[0])
	binary.BigEndian.PutUint32(b[4:], s[1])
}

// walOrder is the byte order of the words that the checksums are made of.
func walOrder(header []byte) binary.ByteOrder {
	if binary.BigEndian.Uint32(header) == walMagicBig {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// soundHeader reports whether SQLite would read the WAL behind this header.
func soundHeader(h []byte) bool {
	if magic := binary.BigEndian.Uint32(h); magic != walMagic && magic != walMagicBig {
		return false
	}
	page := binary.BigEndian.Uint32(h[walPageSize:])
	return page >= walPageMin && page <= walPageMax && page&(page-1) == 0 &&
		walSum{}.over(walOrder(h), h[:walHeaderSummed]) == storedSum(h[walHeaderSummed:])
}

// A walScan says what is in a WAL. Frames are counted from 0.
type walScan struct {
	header    [walHeaderBytes]byte
	badHeader bool
	order     binary.ByteOrder
	salts     [saltsBytes]byte
	pageBytes int
	frames    int // whole ones, of whatever age
	broken    int // the first that SQLite will not read
	// damaged: the header, or the frame broken, is not what was synced.
	damaged bool
	// end is behind the last commit that was found.
	end int
}

func (s *walScan) offset(frame int) int64 {
	return walHeaderBytes + int64(frame)*int64(frameHeaderBytes+s.pageBytes)
}

// scanWAL reads a WAL each of whose commits was synced before the next one began.
//
// A frame is verified by the checksum that stands in the one before it, so also
// behind a damaged one. If it follows a commit, that commit had been synced when
// the frame was written, and with it all that stands before: what SQLite will
// not read of that is damage. Without such a frame, what it will not read may be
// what a power cut left of one transaction that nobody was told of, or what a
// transaction left whose sync failed.
func scanWAL(f io.ReaderAt, size int64) (*walScan, error) {
	s := &walScan{pageBytes: pageSize}
	if size <= walHeaderBytes {
		return s, nil // the header is synced before the first frame is written
	}
	if _, err := f.ReadAt(s.header[:], 0); err != nil {
		return nil, err
	}
	s.badHeader = !soundHeader(s.header[:])
	s.damaged = s.badHeader
	s.order = walOrder(s.header[:])
	if !s.badHeader {
		s.pageBytes = int(binary.BigEndian.Uint32(s.header[walPageSize:]))
		copy(s.salts[:], s.header[walSalts:])
	}
	s.frames = int((size - walHeaderBytes) / int64(frameHeaderBytes+s.pageBytes))
	s.broken = s.frames
	return s, s.scanFrames(f)
}

func (s *walScan) scanFrames(f io.ReaderAt) error {
	frame := make([]byte, frameHeaderBytes+s.pageBytes)
	last := storedSum(s.header[walHeaderSummed:])
	lastCommits, lastSalts := false, s.salts // of the frame before
	whole := true                            // from the last proven commit on, or from the header
	for i := range s.frames {
		if _, err := f.ReadAt(frame, s.offset(i)); err != nil {
			return err
		}
		salts := [saltsBytes]byte(frame[frameSalts:])
		current := salts == lastSalts && (s.badHeader || salts == s.salts)
		verified := current && binary.BigEndian.Uint32(frame) != 0 && s.sum(last, frame) == storedSum(frame[frameSum:])
		if s.badHeader && verified && s.salts == [saltsBytes]byte{} {
			s.salts = salts // frames of before are behind those of now
		}
		switch {
		case !verified:
			s.broken, whole = min(s.broken, i), false
		case (lastCommits || broken("torn-wal-refused")) && s.broken < i && salts == s.salts:
			s.damaged, whole, s.end = true, true, max(s.end, i)
		}
		commits := binary.BigEndian.Uint32(frame[framePages:]) != 0
		if commits && verified && whole {
			s.end = i + 1
		}
		lastCommits = commits && (verified || s.inOneSector(i))
		last, lastSalts = storedSum(frame[frameSum:]), salts
	}
	return nil
}

// sum is the checksum that a frame must have behind one with the checksum last.
func (s *walScan) sum(last walSum, frame []byte) walSum {
	return last.over(s.order, frame[:frameSummed]).over(s.order, frame[frameHeaderBytes:])
}

// inOneSector reports whether the header of a frame is all of one age, even if
// the power went while it was written: then it can be believed to be a commit.
func (s *walScan) inOneSector(frame int) bool {
	return s.offset(frame)%diskSectorBytes <= diskSectorBytes-frameHeaderBytes
}

// err is the damage, nil if there is none.
func (s *walScan) err() error {
	switch {
	case !s.damaged:
		return nil
	case s.badHeader:
		return damaged(errors.New("the header of the WAL is not what was written"))
	}
	return damaged(fmt.Errorf("the WAL: frame %d of %d, at byte %d, is not what was written, and a later commit stands behind it",
		s.broken+1, s.frames, s.offset(s.broken)))
}

// walFile returns the WAL as SQLite has it open; nil: there is none.
func walFile(c *sqlite3.Conn) (vfs.File, error) {
	mode, err := queryText(c, "PRAGMA journal_mode")
	if err != nil || mode != "wal" {
		return nil, err
	}
	if _, err := queryInt(c, "SELECT count(*) FROM sqlite_schema"); err != nil { // opens the WAL
		return nil, err
	}
	pointer, err := c.FileControl("main", sqlite3.FCNTL_JOURNAL_POINTER)
	if err != nil {
		return nil, err
	}
	wal, ok := pointer.(vfs.File)
	if !ok {
		return nil, fmt.Errorf("the WAL is no file but a %T", pointer)
	}
	return wal, nil
}
