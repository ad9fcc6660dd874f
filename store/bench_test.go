package store

import (
	"fmt"
	"testing"

	"github.com/x0a1b/promptmq/session"
)

// report adds the rate of messages to a benchmark's figures.
func report(b *testing.B, messages int) {
	seconds := b.Elapsed().Seconds()
	b.ReportMetric(float64(messages)/seconds, "msgs/s")
	b.ReportMetric(seconds/float64(messages)*1e6, "us/msg")
}

// BenchmarkApply queues 256-byte messages for one Session, so many per commit,
// and acknowledges them 10 commits later.
func BenchmarkApply(b *testing.B) {
	for _, group := range []int{1, 10, 100, 1000} {
		for _, synchronous := range []string{"FULL", "NORMAL"} {
			b.Run(fmt.Sprintf("group=%d/%s", group, synchronous), func(b *testing.B) {
				o := DefaultOptions()
				o.DataDir, o.Synchronous = b.TempDir(), synchronous
				db := openTest(b, o)
				apply(b, db, oneSession(1, "m"))
				payload := make([]byte, 256)
				seq := uint64(2)
				for b.Loop() {
					batch := session.NewBatch()
					w := &session.Writes{State: []byte("state"), Entries: make([]session.Entry, 0, group)}
					for range group {
						w.Entries = append(w.Entries, session.Entry{
							Seq: seq, QoS: 1, Message: &session.Message{Topic: "sensors/1/temperature", Payload: payload, QoS: 1},
						})
						seq++
					}
					if behind := uint64(10 * group); seq > behind {
						w.Floor = seq - behind
					}
					batch.Sessions[1] = w
					apply(b, db, batch)
				}
				report(b, b.N*group)
			})
		}
	}
}

// BenchmarkApplyFanOut queues each 256-byte message for 100 Sessions.
func BenchmarkApplyFanOut(b *testing.B) {
	for _, group := range []int{1, 100} {
		b.Run(fmt.Sprintf("group=%d", group), func(b *testing.B) {
			o := DefaultOptions()
			o.DataDir = b.TempDir()
			db := openTest(b, o)
			const sessions = 100
			for id := session.ID(1); id <= sessions; id++ {
				apply(b, db, oneSession(id, "m"))
			}
			seq := uint64(2)
			payload := make([]byte, 256)
			for b.Loop() {
				batch := session.NewBatch()
				for range group {
					m := &session.Message{Topic: "sensors/1/temperature", Payload: payload, QoS: 1}
					for id := session.ID(1); id <= sessions; id++ {
						w := batch.Sessions[id]
						if w == nil {
							floor := seq - min(seq, uint64(10*group))
							w = &session.Writes{Floor: floor, FloorBefore: floor - min(floor, 1)}
							batch.Sessions[id] = w
						}
						w.Entries = append(w.Entries, session.Entry{Seq: seq, QoS: 1, Message: m})
					}
					seq++
				}
				apply(b, db, batch)
			}
			report(b, b.N*group*sessions)
		})
	}
}

// BenchmarkPage reads a queue of 256-byte messages as the broker does.
func BenchmarkPage(b *testing.B) {
	for _, group := range []int{1, 1000} {
		b.Run(fmt.Sprintf("group=%d", group), func(b *testing.B) {
			db := openTest(b, testOptions(b.TempDir()))
			fill(b, db, 20_000, group)
			from, read := uint64(1), 0
			for b.Loop() {
				page, err := db.Page(1, from, 256, 256<<10)
				if err != nil || len(page) == 0 {
					b.Fatal(len(page), err)
				}
				read += len(page)
				if from = page[len(page)-1].Seq + 1; from > 20_000 {
					from = 1
				}
			}
			report(b, read)
		})
	}
}

// fill queues so many 256-byte messages for Session 1.
func fill(tb testing.TB, db *DB, messages, group int) {
	tb.Helper()
	for seq := 1; seq <= messages; {
		batch := session.NewBatch()
		w := &session.Writes{Record: &session.Record{ID: 1, ClientID: "c"}}
		for range group {
			w.Entries = append(w.Entries, session.Entry{
				Seq: uint64(seq), QoS: 1, Message: &session.Message{Topic: "sensors/1/temperature", Payload: make([]byte, 256)},
			})
			seq++
		}
		batch.Sessions[1] = w
		apply(tb, db, batch)
	}
}

// BenchmarkLoad starts with a queue of 200,000 messages, one per run.
func BenchmarkLoad(b *testing.B) {
	db := openTest(b, testOptions(b.TempDir()))
	fill(b, db, 200_000, 1)
	for b.Loop() {
		if err := db.Load(func(*session.Loaded) error { return nil },
			func(string, *session.RetainedWrite) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
