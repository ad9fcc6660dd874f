package broker_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"
)

// A simDisk is a VFS over files of the operating system that also knows which
// bytes would be there after a power cut. The files are what the page cache
// shows, so both connections of the store work as in production; beside each
// stands an image of what was synced and a list of the writes that were not. A
// power cut gives the next process a new directory, made from the images.
//
// Model: an unsynced write survives or not per sector; the name of a new file is
// durable from the file's first sync on (where go-sqlite3 syncs the directory), and
// until then, or until the removal of a file is synced, the file that had the name
// before may come back; after a failed sync the page cache keeps what the disk may have lost, and no
// later sync writes it, as ext4 does.
type simDisk struct {
	vfs.VFSFilename // "os"
	name            string
	root            string

	mu     sync.Mutex // guards the following
	r      *rand.Rand
	images map[string]*diskImage // by file name without directory
	dir    string                // of the process that lives
	epoch  int                   // of the process that lives; files of another are dead
	off    bool                  // the power is off, or the process was killed
	ops    int                   // writes, truncations, deletions and syncs so far

	cutAfter  int // operations until the power goes; negative: never
	onCut     func()
	failSync  faultPlan
	failWrite faultPlan
	// Until fullUntil nothing can be written; fullGrowth: that makes a file larger.
	fullUntil  time.Time
	fullGrowth bool
	lying      bool // syncs do nothing
	// flipPayloads: flip hits payloads in the database, which no start sees that
	// does not read all queues.
	flipPayloads bool
	delay        func() time.Duration // of a sync
	synced       int                  // syncs that succeeded
	faults       int                  // operations that failed on order
}

// newSimDisk registers a disk that holds one file, durably. close ends it.
func newSimDisk(root, name string, r *rand.Rand, file string, content []byte) (*simDisk, error) {
	d := &simDisk{
		VFSFilename: vfs.Find("os").(vfs.VFSFilename), name: name, root: root, r: r,
		images: map[string]*diskImage{file: {durable: slices.Clone(content), named: true}}, off: true, cutAfter: -1,
	}
	vfs.Register(name, d)
	return d, d.powerOn()
}

func (d *simDisk) close() {
	vfs.Unregister(d.name)
	_ = os.RemoveAll(d.dir) // what is left goes with the test's directory
}

// kill ends the process: nothing it does reaches the disk any more.
func (d *simDisk) kill() {
	d.mu.Lock()
	d.off = true
	d.mu.Unlock()
}

// calm lets nothing more go wrong.
func (d *simDisk) calm() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calmLocked()
}

func (d *simDisk) calmLocked() {
	d.cutAfter, d.failSync, d.failWrite = -1, faultPlan{}, faultPlan{}
}

// setDelay replaces what says how long syncs take.
func (d *simDisk) setDelay(delay func() time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.delay = delay
}

// faultsSoFar is the number of operations that failed on order.
func (d *simDisk) faultsSoFar() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.faults
}

// powerOn starts the machine after a power cut: what was not synced may be
// there, wholly, in part, or not at all.
func (d *simDisk) powerOn() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calmLocked()
	chance := []float64{0, 1, 0.5, d.r.Float64()}[d.r.IntN(4)]
	keep := func() bool { return d.r.Float64() < chance }
	contents := make(map[string][]byte)
	for _, file := range sortedKeys(d.images) {
		img := d.images[file]
		if img = img.survivor(keep); img == nil {
			delete(d.images, file)
			continue
		}
		img.named, img.unlinked, img.before = true, false, nil
		d.images[file] = img
		contents[file] = img.durable
	}
	return d.bootLocked(contents)
}

// restart starts a process after the last one was killed: it sees all that was
// written, synced or not.
func (d *simDisk) restart() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	contents := make(map[string][]byte)
	for file, img := range d.images {
		if img.unlinked {
			continue
		}
		b, err := os.ReadFile(filepath.Join(d.dir, file))
		if err != nil {
			return err
		}
		contents[file] = b
	}
	return d.bootLocked(contents)
}

// flip turns bits of the files over, where the broker will read them; half of the
// time in the database only, since a start finds most of those in the WAL.
func (d *simDisk) flip(bits int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	files := sortedKeys(d.images)
	if d.r.IntN(2) == 0 {
		files = files[:1] // the others have longer names
	}
	if d.flipPayloads {
		files, bits = files[:1], 1
	}
	for range bits {
		file := files[d.r.IntN(len(files))]
		path := filepath.Join(d.dir, file)
		b, err := os.ReadFile(path)
		if err != nil || len(b) == 0 {
			continue // a name without bytes
		}
		at := d.somewhere(b)
		if n := bytes.Count(b, simPayload); d.flipPayloads && n > 0 {
			at = -1
			for range 1 + d.r.IntN(n) {
				at += 1 + bytes.Index(b[at+1:], simPayload)
			}
		}
		b[at] ^= 1 << d.r.IntN(8)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			return err
		}
		d.images[file].durable = b
	}
	return nil
}

// somewhere is an index of b, mostly of a byte that is not zero: most of a small
// database is zero and never read.
func (d *simDisk) somewhere(b []byte) int {
	at := d.r.IntN(len(b))
	for tries := 0; b[at] == 0 && tries < 100; tries++ {
		at = d.r.IntN(len(b))
	}
	return at
}

func (d *simDisk) bootLocked(contents map[string][]byte) error {
	dir, err := os.MkdirTemp(d.root, "boot")
	if err != nil {
		return err
	}
	for file, b := range contents {
		if err := os.WriteFile(filepath.Join(dir, file), b, 0o600); err != nil {
			return err
		}
	}
	if d.dir != "" {
		if err := os.RemoveAll(d.dir); err != nil {
			return err
		}
	}
	d.dir, d.off = dir, false
	d.epoch++
	return nil
}

var errPowerOff = error(sqlite3.IOERR)

// step counts an operation, which the power may not outlast.
func (d *simDisk) stepLocked() error {
	d.ops++
	if d.cutAfter != 0 {
		d.cutAfter = max(d.cutAfter-1, -1)
		return nil
	}
	d.off = true
	if d.onCut != nil {
		d.onCut()
	}
	return errPowerOff
}

func (d *simDisk) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	d.mu.Lock()
	epoch, off := d.epoch, d.off
	d.mu.Unlock()
	if off {
		return nil, flags, errPowerOff
	}
	f, flags, err := d.VFSFilename.OpenFilename(name, flags)
	if err != nil || name == nil {
		return f, flags, err
	}
	file := filepath.Base(name.String())
	d.mu.Lock()
	img := d.images[file]
	if img == nil || img.unlinked {
		img = &diskImage{before: img}
		d.images[file] = img
	}
	d.mu.Unlock()
	return &simFile{File: f, d: d, img: img, epoch: epoch}, flags, nil
}

func (d *simDisk) Delete(path string, syncDir bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return errPowerOff
	}
	if err := d.stepLocked(); err != nil {
		return err
	}
	file := filepath.Base(path)
	if img := d.images[file]; img != nil {
		if syncDir {
			delete(d.images, file)
		} else {
			img.named, img.unlinked = false, true
		}
	}
	return d.VFSFilename.Delete(path, false)
}
