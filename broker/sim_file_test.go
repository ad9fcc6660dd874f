package broker_test

import (
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"
)

// sectorBytes is what a disk writes wholly or not at all.
const sectorBytes = 512

// A faultPlan makes times operations fail after so many more have succeeded.
type faultPlan struct{ after, times int }

func (p *faultPlan) hit() bool {
	if p.times == 0 {
		return false
	}
	if p.after > 0 {
		p.after--
		return false
	}
	p.times--
	return true
}

type diskImage struct {
	durable []byte
	pending []diskWrite
	named   bool // its directory entry is durable
	// unlinked: the name is gone from the page cache, and from the disk with luck.
	unlinked bool
	// before is the removed file that had this name, which may still have it on
	// the disk.
	before *diskImage
}

// survivor returns which file has the name after a power cut, as it is then; nil:
// none.
func (img *diskImage) survivor(keep func() bool) *diskImage {
	for ; img != nil; img = img.before {
		if img.named || keep() {
			for _, w := range img.pending {
				img.durable = w.apply(img.durable, keep)
			}
			img.pending = nil
			return img
		}
	}
	return nil
}

// A diskWrite puts data at off or, without data, cuts the file to off bytes.
type diskWrite struct {
	off  int64
	data []byte
}

// apply carries out w on b, sector by sector where keep says so.
func (w diskWrite) apply(b []byte, keep func() bool) []byte {
	if w.data == nil {
		if !keep() {
			return b
		}
		return resize(b, w.off)
	}
	for from := int64(0); from < int64(len(w.data)); {
		at := w.off + from
		to := min(int64(len(w.data)), from+sectorBytes-at%sectorBytes)
		if keep() {
			if end := w.off + to; end > int64(len(b)) {
				b = resize(b, end)
			}
			copy(b[at:], w.data[from:to])
		}
		from = to
	}
	return b
}

func resize(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		return b[:size]
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}

func always() bool { return true }

type simFile struct {
	vfs.File
	d     *simDisk
	img   *diskImage
	epoch int
}

func (f *simFile) deadLocked() bool { return f.d.off || f.epoch != f.d.epoch }

// note puts w on the list of what is not synced.
func (f *simFile) note(w diskWrite) error {
	d := f.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.deadLocked() {
		return errPowerOff
	}
	if d.failWrite.hit() || f.fullLocked(w) {
		d.faults++
		return sqlite3.FULL
	}
	f.img.pending = append(f.img.pending, w)
	return d.stepLocked()
}

// fullLocked reports whether there is no space for w.
func (f *simFile) fullLocked(w diskWrite) bool {
	if w.data == nil || !time.Now().Before(f.d.fullUntil) {
		return false
	}
	size, err := f.File.Size()
	return !f.d.fullGrowth || err != nil || w.off+int64(len(w.data)) > size
}

func (f *simFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.note(diskWrite{off: off, data: append([]byte{}, p...)}); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, off)
}

func (f *simFile) Truncate(size int64) error {
	if err := f.note(diskWrite{off: size}); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *simFile) ReadAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	dead := f.deadLocked()
	f.d.mu.Unlock()
	if dead {
		return 0, errPowerOff
	}
	return f.File.ReadAt(p, off)
}

func (f *simFile) Sync(vfs.SyncFlag) error {
	d := f.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.deadLocked() {
		return errPowerOff
	}
	if err := d.stepLocked(); err != nil {
		return err
	}
	n := len(f.img.pending)
	if d.delay != nil {
		delay := d.delay()
		d.mu.Unlock()
		time.Sleep(delay)
		d.mu.Lock()
		if f.deadLocked() {
			return errPowerOff
		}
	}
	keep := always
	fails := d.failSync.hit()
	if fails {
		keep = func() bool { return d.r.IntN(2) == 0 }
	} else if d.lying {
		return nil
	}
	for _, w := range f.img.pending[:n] {
		f.img.durable = w.apply(f.img.durable, keep)
	}
	f.img.pending = append([]diskWrite(nil), f.img.pending[n:]...)
	if fails {
		d.faults++
		return sqlite3.IOERR_FSYNC
	}
	f.img.named, f.img.before = !f.img.unlinked, nil
	d.synced++
	return nil
}

func (f *simFile) SharedMemory() vfs.SharedMemory {
	return f.File.(vfs.FileSharedMemory).SharedMemory()
}

func (f *simFile) MemoryMapper() vfs.MemoryMapper {
	if m, ok := f.File.(vfs.FileMemoryMapper); ok {
		return m.MemoryMapper()
	}
	return nil
}
