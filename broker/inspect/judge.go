package inspect

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Finding is something that somebody should know about a broker.
type Finding struct {
	// Attention: it does not go away by itself, or messages were lost that should not be.
	Attention bool   `json:"attention" doc:"Somebody should do something; else it is good to know."`
	What      string `json:"what" doc:"What was found."`
	Do        string `json:"do" doc:"What to do about it, or why it may stay."`
}

// Seen is what a judgement is made of.
type Seen struct {
	Now Numbers
	// Before are earlier numbers, beside which the counters of Now are judged. Zero: the
	// start of the broker.
	Before Numbers
	// Fullest are the Clients with the largest queues, those first.
	Fullest []Client
	// Drops are the last messages that were dropped, newest first.
	Drops []Drop
}

// From where on something is worth a word.
const (
	nearlyFull      = 0.9              // of a limit
	diskFreeLeast   = 1 << 30          // bytes
	walMost         = 256 << 20        // bytes; a checkpoint is due long before
	commitSlow      = 0.25             // seconds
	commitStuck     = Seconds(5)       // of one commit
	memoryHigh      = 0.65             // of its limit: CONNECT is refused from 0.7 on
	namedMost       = 3                // Clients named in one finding
	dropsNamedAfter = 10 * time.Minute // older ones are no example
)

// Judge says what somebody should know, what needs attention first. Names of Clients in it are
// quoted as in Go.
func Judge(s *Seen) []Finding {
	var found []Finding
	for _, judge := range []func(*Seen) []Finding{judgeState, judgeStore, judgeLimits, judgeQueues, judgeDrops, judgeRefusals} {
		found = append(found, judge(s)...)
	}
	slices.SortStableFunc(found, func(a, b Finding) int {
		switch {
		case a.Attention == b.Attention:
			return 0
		case a.Attention:
			return -1
		}
		return 1
	})
	return found
}

// Period is the time that the counters are judged for.
func (s *Seen) Period() time.Duration {
	if s.Before.At.IsZero() {
		return time.Duration(float64(s.Now.UptimeSeconds) * float64(time.Second))
	}
	return s.Now.At.Sub(s.Before.At)
}

func attention(do, what string, args ...any) Finding {
	return Finding{Attention: true, What: fmt.Sprintf(what, args...), Do: do}
}

func note(do, what string, args ...any) Finding {
	return Finding{What: fmt.Sprintf(what, args...), Do: do}
}

func judgeState(s *Seen) (found []Finding) {
	n := &s.Now
	if !n.Ready {
		found = append(found, attention("look at the log, and at the findings below; docs/troubleshooting.md has more",
			"not ready: %s", cmp.Or(n.NotReady, "it does not say why")))
	}
	if n.Overload != "" && n.Overload != "normal" {
		found = append(found, attention("see who has it with promptmq clients list --sort queued_bytes --order desc; set limits.memory higher if the machine has more, and restart",
			"short of memory: %s needed of %s, so that it is %s", BytesText(n.MemoryNeeded), BytesText(n.MemoryLimit), overloadText(n.Overload)))
	} else if n.MemoryLimit > 0 && float64(n.MemoryNeeded) > memoryHigh*float64(n.MemoryLimit) {
		found = append(found, note("from 70 % on CONNECT is refused: set limits.memory higher, or look for large queues and retained messages",
			"memory is getting short: %s needed of %s", BytesText(n.MemoryNeeded), BytesText(n.MemoryLimit)))
	}
	if n.Panics > 0 {
		found = append(found, attention("please report it, with the lines of the log that say panic; one connection each was closed, the rest went on",
			"%s caught since the start", countOf(n.Panics, "fault of the broker was", "faults of the broker were")))
	}
	if lost := n.LogLinesLost - min(n.LogLinesLost, s.Before.LogLinesLost); lost > 0 {
		found = append(found, note("what reads standard error of the broker is slow or its disk is full; the broker does not wait for it",
			"%s lost", countOf(lost, "line of the log was", "lines of the log were")))
	}
	return found
}

func overloadText(level string) string {
	switch level {
	case "refusing":
		return "refusing new connections"
	case "pausing":
		return "refusing new connections and letting publishers wait"
	case "closing":
		return "closing connections"
	}
	return level
}

func judgeStore(s *Seen) (found []Finding) {
	n := &s.Now
	switch free := n.DiskFreeBytes; {
	case n.StoreFull:
		found = append(found, attention("make room on the disk, or raise storage.max-size; promptmq sessions purge --older-than 30d --dry-run says what old sessions hold",
			"the store is full: what would be stored is refused"))
	case free > 0 && (free < diskFreeLeast || free < (n.DatabaseBytes+n.WALBytes)/10):
		found = append(found, attention("make room: when the disk is full, QoS 1 and 2 messages are refused",
			"the disk of the store has %s left, and the store has %s", BytesText(free), BytesText(n.DatabaseBytes+n.WALBytes)))
	}
	switch {
	case n.CommitWaiting > commitStuck:
		found = append(found, attention("the disk does not answer, or another program has locked the database (the log says so, with code store-busy): see dmesg, and what else has promptmq.db open",
			"a commit is under way since %s, and nothing is acknowledged meanwhile", DurationText(inTime(float64(n.CommitWaiting)))))
	case n.CommitP99 > commitSlow:
		found = append(found, attention("see what else uses this disk (iostat -x 1), and docs/storage.md about disks",
			"the disk is slow: 1 of 100 commits takes %s or more, and each acknowledgement waits for one", DurationText(inTime(n.CommitP99))))
	}
	if n.WALBytes > walMost {
		found = append(found, attention("end what reads the database for long, such as a shell of sqlite3 or a backup; it shrinks by itself then",
			"the write-ahead log has %s: something keeps it from being taken over", BytesText(n.WALBytes)))
	}
	return found
}

func judgeLimits(s *Seen) (found []Finding) {
	n := &s.Now
	for _, l := range []struct {
		has, most int64
		what, do  string
	}{
		{int64(n.Connections), int64(n.Limits.Connections), "connections", "raise mqtt.max-connections, and the limit of open files (ulimit -n) if need be, and restart"},
		{int64(n.Sessions), int64(n.Limits.Sessions), "sessions", "end old ones with promptmq sessions purge --older-than 30d, limit them with mqtt.max-session-expiry, or raise mqtt.max-sessions"},
		{int64(n.Retained), int64(n.Limits.Retained), "retained messages", "delete some with promptmq retained delete, or raise mqtt.max-retained-messages"},
	} {
		if f, near := judgeLimit(l.has, l.most, l.do, CountText(l.has), CountText(l.most), l.what); near {
			found = append(found, f)
		}
	}
	if f, near := judgeLimit(n.RetainedBytes, n.Limits.RetainedBytes, "delete some with promptmq retained delete, or raise mqtt.max-retained-bytes",
		BytesText(n.RetainedBytes), BytesText(n.Limits.RetainedBytes), "retained messages"); near {
		found = append(found, f)
	}
	return found
}

func judgeLimit(has, most int64, do, hasText, mostText, what string) (f Finding, near bool) {
	switch {
	case most <= 0 || float64(has) < nearlyFull*float64(most):
		return f, false
	case has >= most:
		return attention(do, "no more %s: there are %s, which is the limit", what, hasText), true
	}
	return attention(do, "nearly no more %s: there are %s of %s", what, hasText, mostText), true
}

// filled reports whether a queue is at least so far filled.
func (l *Limits) filled(c *Client, part float64) bool {
	return l.Queued > 0 && float64(c.Queued) >= part*float64(l.Queued) || l.QueuedBytes > 0 && float64(c.QueuedBytes) >= part*float64(l.QueuedBytes)
}

func judgeQueues(s *Seen) (found []Finding) {
	var gone, slow []Client
	for _, c := range s.Fullest {
		switch {
		case !s.Now.Limits.filled(&c, nearlyFull):
		case c.Connected:
			slow = append(slow, c)
		default:
			gone = append(gone, c)
		}
	}
	if len(gone) > 0 {
		found = append(found, attention("if the device will not come back: promptmq sessions end ID, or promptmq sessions purge; else raise mqtt.max-queued-messages or mqtt.max-queued-bytes",
			"the queue is full, or nearly, of %s without a connection: %s", countOf(len(gone), "client", "clients"), named(gone)))
	}
	if len(slow) > 0 {
		found = append(found, attention("it takes or acknowledges less than comes for it: see promptmq clients show ID, and use a shared subscription or fewer topics if one program cannot keep up",
			"the queue is full, or nearly, of %s with a connection: %s", countOf(len(slow), "client", "clients"), named(slow)))
	}
	if len(gone)+len(slow) == 0 && s.Now.QueuesFull > 0 {
		found = append(found, attention("see promptmq clients list --sort queued --order desc", "%s full", countOf(s.Now.QueuesFull, "queue is", "queues are")))
	}
	return found
}

// named names the first of them.
func named(clients []Client) string {
	var names []string
	for _, c := range clients[:min(namedMost, len(clients))] {
		names = append(names, fmt.Sprintf("%q (%s)", c.ID, CountText(c.Queued)))
	}
	if more := len(clients) - namedMost; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}

// countOf is "1 message was" or "1,204 messages were".
func countOf[N int | int64 | uint64](n N, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return CountText(n) + " " + more
}

func inTime(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }
