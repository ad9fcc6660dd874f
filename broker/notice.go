package broker

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/x0a1b/promptmq/metrics"
)

const (
	// noticeEvery is how often at most a line for one cause and key is written.
	noticeEvery = time.Minute
	// noticeLines is how many lines for one cause, whatever their keys, are
	// written in that time at most; so many keys are remembered for each cause.
	noticeLines = 10
	// shownBytes is how much of a Client Identifier, a Topic Name or a Topic
	// Filter stands in a log line.
	shownBytes = 64
)

// Notices are the log lines that the network can cause, however many it causes.
// The first for a cause and a key, such as a Client Identifier, is written at
// once. What follows within noticeEvery is counted, and then the last of them is
// written with left_out, the number of those that are not shown. Keys beyond
// noticeLines share one line.
//
// No method is called with a lock held: see flushList.say.
type notices struct {
	log *slog.Logger
	m   *metrics.Broker

	mu     sync.Mutex // guards the following
	causes map[string]*noticeCause
	closed bool
}

// A noticeCause is what has been said for one cause since its first line.
type noticeCause struct {
	keys   map[string]*leftOut
	others leftOut // for keys beyond noticeLines
	timer  *time.Timer
}

// leftOut are lines that were not written.
type leftOut struct {
	n    int
	last notice
}

// A notice is one log line.
type notice struct {
	to         *notices
	level      slog.Level
	cause, key string
	msg        string
	attrs      []any
}

func newNotices(log *slog.Logger, m *metrics.Broker) *notices {
	return &notices{log: log, m: m, causes: make(map[string]*noticeCause)}
}

// warn writes a line for cause and key, or counts it. attrs are as for slog.
func (n *notices) warn(cause, key, msg string, attrs ...any) {
	n.notice(slog.LevelWarn, cause, key, msg, attrs...).write()
}

// info is warn for what is not wrong.
func (n *notices) info(cause, key, msg string, attrs ...any) {
	n.notice(slog.LevelInfo, cause, key, msg, attrs...).write()
}

// notice returns a line for write, or for flushList.say.
func (n *notices) notice(level slog.Level, cause, key, msg string, attrs ...any) notice {
	return notice{to: n, level: level, cause: cause, key: key, msg: msg, attrs: attrs}
}

// unlimited returns a line for flushList.say that is never left out: for who has
// set a level at which everything is to be seen.
func (n *notices) unlimited(level slog.Level, msg string, attrs ...any) notice {
	return notice{to: n, level: level, msg: msg, attrs: attrs}
}

// write writes the line unless it is left out.
func (line notice) write() {
	n := line.to
	if !n.log.Enabled(context.Background(), line.level) {
		return
	}
	if line.cause == "" || n.admit(&line) {
		line.print(0)
		return
	}
	n.m.NoticesLeftOut(line.cause).Inc()
}

func (line *notice) print(leftOut int) {
	attrs := line.attrs
	if leftOut > 0 {
		attrs = append(slices.Clip(attrs), "left_out", leftOut)
	}
	line.to.log.Log(context.Background(), line.level, line.msg, attrs...)
}

// admit reports whether line may be written now, else it counts it.
func (n *notices) admit(line *notice) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return true // what is said while the broker ends is little, and nothing comes after it
	}
	c := n.causes[line.cause]
	if c == nil {
		c = &noticeCause{keys: make(map[string]*leftOut)}
		n.causes[line.cause] = c
		c.timer = time.AfterFunc(noticeEvery, func() { n.report(line.cause) })
	}
	out := c.keys[line.key]
	if out == nil && len(c.keys) < noticeLines {
		c.keys[strings.Clone(line.key)] = new(leftOut)
		return true
	}
	if out == nil {
		out = &c.others
	}
	out.n++
	out.last = *line
	return false
}

// report writes what was left out for a cause in the time that has passed. Where
// something was, the next time begins with that.
func (n *notices) report(cause string) {
	for _, out := range n.takeLeftOut(cause) {
		out.last.print(out.n - 1)
	}
}

func (n *notices) takeLeftOut(cause string) []leftOut {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.causes[cause]
	if c == nil {
		return nil
	}
	var left []leftOut
	for key, out := range c.keys {
		if out.n == 0 {
			delete(c.keys, key)
			continue
		}
		left = append(left, *out)
		*out = leftOut{}
	}
	if c.others.n > 0 {
		left = append(left, c.others)
		c.others = leftOut{}
	}
	if len(left) == 0 || n.closed {
		c.timer.Stop()
		delete(n.causes, cause)
	} else {
		c.timer.Reset(noticeEvery)
	}
	return left
}

// close writes what was left out, and limits nothing from now on.
func (n *notices) close() {
	n.mu.Lock()
	n.closed = true
	causes := make([]string, 0, len(n.causes))
	for cause := range n.causes {
		causes = append(causes, cause)
	}
	n.mu.Unlock()
	for _, cause := range causes {
		n.report(cause)
	}
}

// shown returns how a Client Identifier, Topic Name or Topic Filter stands in a
// log line: its beginning, without control characters.
func shown[T ~string | ~[]byte](text T) string {
	s := string(text[:min(len(text), shownBytes)])
	s = strings.ToValidUTF8(s, "") // a character that the end cuts through goes
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
	if len(text) > shownBytes {
		s += "…"
	}
	return s
}
