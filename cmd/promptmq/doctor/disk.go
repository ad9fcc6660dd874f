package doctor

import (
	"cmp"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/store"
)

const aboutData, aboutDisk = "data directory", "disk"

// dataDirectory looks at where the data live, or would.
func (e *Examination) dataDirectory() {
	dir := e.Config.Store.DataDir
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.say(Note, aboutData, "nothing: the first start makes it; if that is not what you expected, look at storage.data-dir", "%s is not there yet", dir)
	case err != nil:
		e.say(Fault, aboutData, "let the user of the broker through to it, or set storage.data-dir", "%v", err)
		return
	case !info.IsDir():
		e.say(Fault, aboutData, "set storage.data-dir to a directory", "%s is no directory", dir)
		return
	default:
		e.access(dir, info)
	}
	e.room(existing(dir))
}

// existing is a directory, or the first above it that is there.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || filepath.Dir(dir) == dir {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// access says who can get at the data.
func (e *Examination) access(dir string, info fs.FileInfo) {
	sound := true
	if owner, known := store.Owner(dir); known && owner != os.Geteuid() {
		sound = false
		level, do := Note, "nothing, if the broker runs as that user"
		if os.Geteuid() != 0 {
			level, do = Warning, "run the broker, and this command, as that user, or give the directory away (chown -R)"
		}
		e.say(level, aboutData, do, "%s belongs to user %d, and this is user %d", dir, owner, os.Geteuid())
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		sound = false
		e.say(Warning, aboutData, "chmod 700 "+dir, "other users of this machine can look into %s (mode %v)", dir, info.Mode().Perm())
	}
	for _, file := range []string{store.File(dir), store.File(dir) + "-wal"} {
		if info, err := os.Stat(file); err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
			sound = false
			e.say(Warning, aboutData, "chmod 600 "+file, "other users of this machine can get at %s (mode %v)", file, info.Mode().Perm())
		}
	}
	if sound {
		e.say(OK, aboutData, "", "%s is there, and nobody else gets in", dir)
	}
}

// freeLeast is from where on a disk is nearly full.
const freeLeast = 1 << 30

// room looks at the file system.
func (e *Examination) room(dir string) {
	system, free := store.DirFileSystem(dir)
	name := cmp.Or(system.Name, "an unknown file system")
	switch {
	case system.Doubt != "":
		e.say(Warning, aboutDisk, "put storage.data-dir on a disk of this machine; docs/storage.md has a section on file systems", "%s is on %s: %s", dir, name, system.Doubt)
	case system.Name == "overlay":
		e.say(Warning, aboutDisk, "mount a volume for storage.data-dir", "%s is in the layer of a container, and goes with it", dir)
	default:
		e.say(OK, aboutDisk, "", "%s is on %s", dir, name)
	}
	if free < 0 {
		return
	}
	level, do := OK, ""
	if size := e.Config.Store.MaxSize; size > free {
		level, do = Note, "lower storage.max-size, or make room"
	}
	if info, err := os.Stat(store.File(e.Config.Store.DataDir)); free < freeLeast || err == nil && free < info.Size()/10 {
		level, do = Warning, "make room: with a full disk the broker refuses what it would have to store"
	}
	e.say(level, aboutDisk, do, "%s free", inspect.BytesText(free))
	e.queues(free)
}

// queuesLeast is how many full queues there should be room for.
const queuesLeast = 10

// queues compares the limit of a queue with the room there is for all of them.
func (e *Examination) queues(free int64) {
	room, of := free, "free on the disk"
	if size := e.Config.Store.MaxSize; size > 0 && size < room {
		room, of = size, "storage.max-size"
	}
	queue := e.Config.Broker.MaxQueuedBytes
	if n := room / queue; n < queuesLeast {
		e.say(Warning, aboutDisk, "lower mqtt.max-queued-bytes, or make room: a few clients that stay away fill it, and then messages for the others are refused too",
			"one session may queue %s (mqtt.max-queued-bytes), and %s are %s: enough for %s", inspect.BytesText(queue), inspect.BytesText(room), of, inspect.CountText(int(n)))
	}
}

const (
	syncsMost   = 100
	syncsWithin = 2 * time.Second
	syncBytes   = 8192 // a page
	// A sync that is faster did not reach anything that keeps what it is given.
	syncLeast = 10 * time.Microsecond
	syncSlow  = 20 * time.Millisecond
)

// syncs measures what each acknowledgement of a lone publisher waits for.
func (e *Examination) syncs() {
	dir := existing(e.Config.Store.DataDir)
	times, err := measureSyncs(dir)
	if err != nil {
		level, do := Fault, "let the user of the broker write there"
		if owner, known := store.Owner(dir); known && owner != os.Geteuid() {
			level, do = Note, "run this as the user of the broker"
		}
		e.say(level, aboutDisk, do, "how long a sync takes was not measured: %v", err)
		return
	}
	half, most := times[len(times)/2], times[len(times)*99/100]
	perSecond := inspect.CountText(int(math.Round(float64(time.Second) / float64(half))))
	switch {
	case half < syncLeast:
		e.say(Warning, aboutDisk, "use a disk that keeps what was synced: after a power cut acknowledged messages would be missing", "a sync takes %s, which no disk can do", inspect.DurationText(half))
	case half > syncSlow || most > 10*syncSlow:
		e.say(Warning, aboutDisk, "use a faster disk; publishers that do not wait for each acknowledgement share syncs and suffer less",
			"a sync takes %s, 99 of 100 less than %s: a publisher that waits for each acknowledgement has %s messages a second", inspect.DurationText(half), inspect.DurationText(most), perSecond)
	default:
		e.say(OK, aboutDisk, "", "a sync takes %s, 99 of 100 less than %s: a publisher that waits for each acknowledgement has about %s messages a second, many together far more",
			inspect.DurationText(half), inspect.DurationText(most), perSecond)
	}
	if s := e.Config.Store.Synchronous; s == "NORMAL" || s == "OFF" {
		e.say(Note, aboutDisk, "set it to FULL if acknowledged messages must survive a power cut", "storage.sqlite.synchronous is %s: commits do not wait for a sync", s)
	}
}

// measureSyncs writes pages to a file as a write-ahead log is written, and removes it. What it
// returns is sorted.
func measureSyncs(dir string) (times []time.Duration, err error) {
	f, err := os.CreateTemp(dir, ".promptmq-doctor-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	defer func() { _ = f.Close() }() // it is removed
	page := make([]byte, syncBytes)
	for began := time.Now(); len(times) < syncsMost && (len(times) == 0 || time.Since(began) < syncsWithin); {
		if _, err := f.Write(page); err != nil {
			return nil, err
		}
		start := time.Now()
		if err := syncData(f); err != nil {
			return nil, err
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	return times, nil
}
