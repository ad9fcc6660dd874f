package inspect

import (
	"strings"
	"testing"
	"time"
)

// well are the numbers of a broker about which there is nothing to say.
func well() Seen {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	return Seen{
		Now: Numbers{
			At: now, UptimeSeconds: 3600, Connections: 10, Sessions: 20, Retained: 30, RetainedBytes: 4000, Ready: true, Overload: "normal",
			DatabaseBytes: 1 << 20, WALBytes: 4 << 20, DiskFreeBytes: 100 << 30, MemoryNeeded: 100 << 20, MemoryLimit: 1 << 30, CommitP99: 0.004,
			Dropped: map[string]uint64{"expired": 3}, Refused: map[string]uint64{"Not authorized": 2},
			Limits: Limits{Connections: 10_000, Sessions: 100_000, Retained: 1_000_000, RetainedBytes: 1 << 30, Queued: 1000, QueuedBytes: 1 << 20},
		},
		Before:  Numbers{At: now.Add(-10 * time.Minute), Dropped: map[string]uint64{"expired": 3}, Refused: map[string]uint64{"Not authorized": 2}},
		Fullest: []Client{{ID: "busy", Queued: 899, Connected: true}},
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	if s := well(); len(Judge(&s)) != 0 {
		t.Errorf("a broker that is well: %+v", Judge(&s))
	}
	for _, test := range []struct {
		name      string
		change    func(*Seen)
		attention bool
		what, do  string // in the finding, the only one
	}{
		{"not ready", func(s *Seen) { s.Now.Ready, s.Now.NotReady = false, "commits fail" }, true, "not ready: commits fail", "log"},
		{"refusing", func(s *Seen) { s.Now.Overload, s.Now.MemoryNeeded = "refusing", 800<<20 }, true, "short of memory: 800 MiB needed of 1.0 GiB, so that it is refusing new connections", "limits.memory"},
		{"pausing", func(s *Seen) { s.Now.Overload = "pausing" }, true, "letting publishers wait", "limits.memory"},
		{"closing", func(s *Seen) { s.Now.Overload = "closing" }, true, "closing connections", "limits.memory"},
		{"much memory", func(s *Seen) { s.Now.MemoryNeeded = 700 << 20 }, false, "getting short: 700 MiB", "70 %"},
		{"no memory limit", func(s *Seen) { s.Now.MemoryNeeded, s.Now.MemoryLimit = 700<<30, 0 }, false, "", ""},
		{"panics", func(s *Seen) { s.Now.Panics = 1 }, true, "1 fault of the broker was caught", "report"},
		{"log", func(s *Seen) { s.Now.LogLinesLost, s.Before.LogLinesLost = 7, 5 }, false, "2 lines of the log were lost", "standard error"},
		{"store full", func(s *Seen) { s.Now.StoreFull, s.Now.DiskFreeBytes = true, 1 }, true, "the store is full", "make room"},
		{"little room", func(s *Seen) { s.Now.DiskFreeBytes = 512 << 20 }, true, "512 MiB left", "make room"},
		{"little room beside the store", func(s *Seen) { s.Now.DiskFreeBytes, s.Now.DatabaseBytes = 2<<30, 21<<30 }, true, "2.0 GiB left", "make room"},
		{"room not known", func(s *Seen) { s.Now.DiskFreeBytes = 0 }, false, "", ""},
		{"slow disk", func(s *Seen) { s.Now.CommitP99 = 0.5 }, true, "1 of 100 commits takes 500 ms", "iostat"},
		{"stuck disk", func(s *Seen) { s.Now.CommitP99, s.Now.CommitWaiting = 0.5, 65 }, true, "under way since 1 min 5 s", "dmesg"},
		{"WAL", func(s *Seen) { s.Now.WALBytes = 1 << 30 }, true, "write-ahead log has 1.0 GiB", "sqlite3"},
		{"connections", func(s *Seen) { s.Now.Connections = 9001 }, true, "nearly no more connections: there are 9,001 of 10,000", "mqtt.max-connections"},
		{"all connections", func(s *Seen) { s.Now.Connections = 10_000 }, true, "no more connections: there are 10,000, which is the limit", "mqtt.max-connections"},
		{"sessions", func(s *Seen) { s.Now.Sessions = 95_000 }, true, "nearly no more sessions", "sessions purge"},
		{"retained", func(s *Seen) { s.Now.Retained = 1_000_000 }, true, "no more retained messages: there are 1,000,000", "mqtt.max-retained-messages"},
		{"retained bytes", func(s *Seen) { s.Now.RetainedBytes = 1 << 30 }, true, "no more retained messages: there are 1.0 GiB", "mqtt.max-retained-bytes"},
		{"full queue", func(s *Seen) { s.Fullest[0] = Client{ID: "a\x1b", Queued: 1000}; s.Now.QueuesFull = 1 }, true, `of 1 client without a connection: "a\x1b" (1,000)`, "sessions end"},
		{"queue of bytes", func(s *Seen) { s.Fullest[0].QueuedBytes = 1 << 20 }, true, `of 1 client with a connection: "busy" (899)`, "clients show"},
		{"full queues not seen", func(s *Seen) { s.Now.QueuesFull = 2 }, true, "2 queues are full", "clients list"},
		{"many full queues", func(s *Seen) { s.Fullest = append(make([]Client, 5), Client{}); queueAll(s.Fullest, 950) }, true, `of 6 clients without a connection: "" (950), "" (950), "" (950), and 3 more`, "sessions end"},
		{"expired", func(s *Seen) { s.Now.Dropped["expired"] = 4 }, false, "1 message was dropped: their Message Expiry Interval", "asked for"},
		{"slow consumer", func(s *Seen) {
			s.Now.Dropped["slow_consumer"] = 1204
			s.Drops = []Drop{{Reason: "expired", At: s.Now.At}, {Reason: "slow_consumer", At: s.Now.At.Add(-time.Minute), Client: "display", Topic: "a/b"}}
		}, true, `1,204 messages were dropped: QoS 0, and the client reads too slowly; the last was for "display" on "a/b"`, "QoS 1"},
		{"old example", func(s *Seen) {
			s.Now.Dropped["too_large"] = 1
			s.Drops = []Drop{{Reason: "too_large", At: s.Now.At.Add(-time.Hour)}}
		}, true, "Maximum Packet Size)", "smaller"},
		{"unknown reason", func(s *Seen) { s.Now.Dropped["new"] = 1 }, false, "dropped: new", "promptmq_messages_dropped_total"},
		{"counters of another process", func(s *Seen) { s.Before.Dropped["expired"] = 9 }, false, "", ""},
		{"messages refused", func(s *Seen) {
			s.Before.MessagesRefused, s.Now.MessagesRefused = map[string]uint64{"Not authorized": 2}, map[string]uint64{"Not authorized": 7, "Quota exceeded": 0}
		}, false, "5 messages were refused: Not authorized", "acl explain"},
		{"filters refused", func(s *Seen) { s.Now.FiltersRefused = map[string]uint64{"Not authorized": 1} }, false, "1 topic filter was refused: Not authorized", "acl explain"},
		{"refused", func(s *Seen) { s.Now.Refused["Not authorized"] = 5 }, false, "3 connections were refused: Not authorized", "bans list"},
		{"back-off", func(s *Seen) { s.Now.Refused["Connection rate exceeded"] = 2 }, false, "2 connections were refused: Connection rate exceeded", "code back-off"},
		{"refused after a back-off", func(s *Seen) {
			s.Before.Refused["Connection rate exceeded"], s.Now.Refused["Connection rate exceeded"], s.Now.Refused["Not authorized"] = 2, 2, 5
		}, false, "3 connections were refused: Not authorized", "the log says who and why; promptmq bans list"},
		{"since the start", func(s *Seen) { s.Before = Numbers{}; s.Now.Refused = nil }, false, "3 messages were dropped", ""},
	} {
		s := well()
		test.change(&s)
		switch found := Judge(&s); {
		case test.what == "" && len(found) == 0:
		case len(found) != 1:
			t.Errorf("%s: %+v", test.name, found)
		default:
			if f := found[0]; f.Attention != test.attention || !strings.Contains(f.What, test.what) || !strings.HasSuffix(f.What, test.what) && test.name == "old example" || !strings.Contains(f.Do, test.do) || f.Do == "" {
				t.Errorf("%s: %+v", test.name, f)
			}
		}
	}
}

func queueAll(clients []Client, n int) {
	for i := range clients {
		clients[i].Queued = n
	}
}

// TestJudgeOrder: what needs attention comes first.
func TestJudgeOrder(t *testing.T) {
	t.Parallel()
	s := well()
	s.Now.Dropped["expired"], s.Now.Dropped["too_large"], s.Now.LogLinesLost, s.Now.WALBytes = 5, 1, 1, 1<<30
	var order []bool
	for _, f := range Judge(&s) {
		order = append(order, f.Attention)
	}
	if len(order) != 4 || !order[0] || !order[1] || order[2] || order[3] {
		t.Error(order)
	}
	if s.Period() != 10*time.Minute {
		t.Error(s.Period())
	}
	if s.Before = (Numbers{}); s.Period() != time.Hour {
		t.Error(s.Period())
	}
}

func TestTexts(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		CountText(0): "0", CountText(999): "999", CountText(1000): "1,000", CountText(uint64(1234567)): "1,234,567", CountText(-5): "0",
		BytesText(0): "0 B", BytesText(1023): "1023 B", BytesText(1024): "1.0 KiB", BytesText(1536): "1.5 KiB", BytesText(1<<20 - 1): "1.0 MiB", BytesText(20 << 20): "20 MiB", BytesText(int64(3) << 40): "3.0 TiB",
		DurationText(0): "0 s", DurationText(1500 * time.Microsecond): "1 ms", DurationText(90 * time.Second): "1 min 30 s", DurationText(2 * time.Hour): "2 h",
		DurationText(76 * time.Hour): "3 d 4 h", DurationText(20 * time.Microsecond): "20 µs", DurationText(59 * time.Second): "59 s",
	} {
		if got != want {
			t.Errorf("%q, expected %q", got, want)
		}
	}
}
