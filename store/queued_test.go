package store

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/session"
)

var (
	queuedFlag    = flag.Int("queued", 20_000, "how many messages TestStartWithQueued queues, one per run")
	queuedDirFlag = flag.String("queued-dir", "", "where TestStartWithQueued leaves its store; empty: nowhere")
)

// queueRuns writes n messages for 100 Sessions, each in a run of its own: the
// most rows that so many messages can make.
func queueRuns(t *testing.T, db *DB, n int) {
	t.Helper()
	const sessions = 100
	b := session.NewBatch()
	for id := session.ID(1); id <= sessions; id++ {
		b.Sessions[id] = &session.Writes{Record: &session.Record{ID: id, ClientID: fmt.Sprint("client", id), ExpirySeconds: session.NeverExpires}}
	}
	apply(t, db, b)
	if err := db.stmts.begin.Exec(); err != nil {
		t.Fatal(err)
	}
	var data []byte
	totals := make([]int64, sessions+1)
	for i := range n {
		id, seq := int64(i%sessions+1), uint64(i/sessions+1)
		e := session.Entry{Seq: seq, QoS: 1, Message: &session.Message{Topic: "a/b", QoS: 1, Payload: []byte(fmt.Sprint("message ", i))}}
		data = finishPacked(appendEntry(startPacked(data), &e, 0, -1), kindRun, uint64(id), seq, seq, 0)
		totals[id] += int64(e.Bytes())
		if err := exec(db.stmts.putRun, id, int64(seq), int64(seq), int64(e.Bytes()), totals[id], nil, data); err != nil {
			t.Fatal(err)
		}
		if i%1_000_000 == 999_999 { // a WAL of bounded size
			if err := db.w.Exec("COMMIT; PRAGMA wal_checkpoint(TRUNCATE); BEGIN IMMEDIATE"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := db.stmts.commit.Exec(); err != nil {
		t.Fatal(err)
	}
}

// A start reads two entries of an index per queue, however long it is: ten
// million queued messages (-queued=10000000) must not take five seconds.
func TestStartWithQueued(t *testing.T) {
	dir := *queuedDirFlag
	if dir == "" {
		dir = t.TempDir()
	}
	o := testOptions(dir)
	db := openTest(t, o)
	queueRuns(t, db, *queuedFlag)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	db = openTest(t, o)
	opened := time.Since(began)
	began = time.Now()
	queued, bytes := 0, uint64(0)
	err := db.Load(func(l *session.Loaded) error {
		queued += int(l.NextSeq - l.FirstSeq)
		bytes += l.QueuedBytes
		return nil
	}, func(string, uint64, *session.Message) error { return nil })
	if err != nil || queued != *queuedFlag || bytes < uint64(*queuedFlag)*64 {
		t.Fatalf("%d queued, %d bytes, %v", queued, bytes, err)
	}
	loaded := time.Since(began)
	began = time.Now()
	if page, err := db.Page(1, uint64(*queuedFlag/200), 256, 1<<20); err != nil || len(page) == 0 {
		t.Fatalf("a page from the middle: %d entries, %v", len(page), err)
	}
	t.Logf("%d messages, %d MB: opened in %v, loaded in %v, a page in %v, %s", *queuedFlag, db.Stats().FileBytes>>20, opened, loaded, time.Since(began), residentText())
	if opened+loaded > 5*time.Second {
		t.Errorf("the start took %v", opened+loaded)
	}
}

// residentText is the memory of this process, as the kernel tells it.
func residentText() string {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "RSS unknown"
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "VmRSS:") {
			return strings.Join(strings.Fields(line), " ")
		}
	}
	return "RSS unknown"
}
