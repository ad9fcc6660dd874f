package store

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/session"
)

var (
	largeMessages = flag.Int("large.messages", 20_000/raceSlowdown, "messages that TestLargeQueues queues")
	largeSessions = flag.Int("large.sessions", 100, "sessions that it queues them for, each message in a run of its own")
)

// TestLargeQueues opens a database with many queued messages: what is read and
// kept for it depends on the number of Sessions and not on that of messages.
// The worst case for the index is a run for each message.
func TestLargeQueues(t *testing.T) {
	o := DefaultOptions()
	o.DataDir, o.Synchronous = t.TempDir(), "OFF"
	db := openTest(t, o)
	sessions, each := *largeSessions, *largeMessages / *largeSessions
	for id := 1; id <= sessions; id++ {
		apply(t, db, oneSession(session.ID(id), fmt.Sprint("client", id)))
	}
	payload := make([]byte, 64)
	for n := range each {
		batch := session.NewBatch()
		for id := 1; id <= sessions; id++ {
			batch.Sessions[session.ID(id)] = &session.Writes{Entries: []session.Entry{{
				Seq: uint64(n + 2), QoS: 1, Message: &session.Message{Topic: "sensors/1/temperature", Payload: payload, QoS: 1},
			}}}
		}
		apply(t, db, batch)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(o.DataDir, fileName))
	if err != nil {
		t.Fatal(err)
	}

	v := newFaultVFS(t)
	o.VFS, o.MmapSize = t.Name(), 0 // to count what is read
	before := heap()
	start := time.Now()
	db = openTest(t, o)
	opened := time.Since(start)
	queued := uint64(0)
	var kept []*session.Loaded
	err = db.Load(func(l *session.Loaded) error {
		queued += l.NextSeq - l.FirstSeq
		if want := (l.NextSeq - l.FirstSeq - 1) * uint64(len(payload)); l.QueuedBytes < want {
			t.Errorf("session %d: %d bytes queued, expected %d or more", l.Record.ID, l.QueuedBytes, want)
		}
		kept = append(kept, l)
		return nil
	}, func(string, *session.RetainedWrite) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	loaded := time.Since(start)
	grown := heap() - before
	t.Logf("%d messages in %d sessions, %d MiB: opened in %v, loaded in %v, %d KiB read, heap %+d KiB",
		queued, sessions, info.Size()>>20, opened.Round(time.Millisecond), loaded.Round(time.Millisecond), v.read.Load()>>10, grown>>10)
	if want := uint64(each * sessions); queued < want {
		t.Errorf("%d messages are queued, expected %d", queued, want)
	}
	if n := v.read.Load(); n > 3*info.Size()+1<<20 { // twice to check it, and little to load it
		t.Errorf("the start read %d bytes of a file of %d", n, info.Size())
	}
	if loaded > time.Minute { // a tenth of a second where nothing else runs
		t.Errorf("the start took %v", loaded)
	}
	if limit := int64(sessions)*4096 + 8<<20; grown > limit {
		t.Errorf("the heap grew by %d bytes for %d sessions, expected %d at most", grown, sessions, limit)
	}
	runtime.KeepAlive(kept)
}

// heap is the number of bytes in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
