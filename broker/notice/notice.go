// Package notice writes the log lines that the network can cause, and limits how
// many: a flood of refused connections must not become a flood of log lines.
//
// A Log starts no goroutine. Its timers, one for each cause that has written
// something lately, end with Close. Its lock is a leaf: nothing is called with it
// held.
package notice

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
	// every is the least time between two lines for one cause and key.
	every = time.Minute
	// linesMax is how many keys of one cause have a line of their own in that time.
	linesMax = 10
	// shownBytes is how much of a Client Identifier, a Topic Name or a Topic
	// Filter stands in a log line.
	shownBytes = 64
)

// A Log limits log lines that the network can cause. The first for a cause and a key,
// such as a Client Identifier, is written at once. Those that follow within a minute are
// counted; then the last of them is written, with left_out, the number of the others.
// Keys beyond linesMax share one line.
//
// Call no method but Line and Unlimited with a lock held: a handler of log/slog may take
// long. Keep the Line, and write it when the lock is free.
type Log struct {
	log *slog.Logger
	m   *metrics.Broker

	mu     sync.Mutex // guards the following
	causes map[string]*cause
	closed bool
}

// A cause is what has been said for one cause since its first line.
type cause struct {
	keys   map[string]*leftOut
	others leftOut // for keys beyond linesMax
	timer  *time.Timer
}

// leftOut are lines that were not written.
type leftOut struct {
	n    int
	last Line
}

// A Line is one log line, to be written later.
type Line struct {
	to         *Log
	level      slog.Level
	cause, key string
	msg        string
	attrs      []any
}

// New returns a Log that writes to log and counts in m what it leaves out.
func New(log *slog.Logger, m *metrics.Broker) *Log {
	return &Log{log: log, m: m, causes: make(map[string]*cause)}
}

// Warn writes a line for cause and key, or counts it. attrs are as for slog.
func (n *Log) Warn(cause, key, msg string, attrs ...any) {
	n.Line(slog.LevelWarn, cause, key, msg, attrs...).Write()
}

// Info is Warn at level INFO.
func (n *Log) Info(cause, key, msg string, attrs ...any) {
	n.Line(slog.LevelInfo, cause, key, msg, attrs...).Write()
}

// Line returns a line for Write.
func (n *Log) Line(level slog.Level, cause, key, msg string, attrs ...any) Line {
	return Line{to: n, level: level, cause: cause, key: key, msg: msg, attrs: attrs}
}

// Unlimited returns a line that is never left out, for levels at which everything is to
// be seen.
func (n *Log) Unlimited(level slog.Level, msg string, attrs ...any) Line {
	return Line{to: n, level: level, msg: msg, attrs: attrs}
}

// Write writes the line unless it is left out.
func (line Line) Write() {
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

func (line *Line) print(leftOut int) {
	attrs := line.attrs
	if leftOut > 0 {
		attrs = append(slices.Clip(attrs), "left_out", leftOut)
	}
	line.to.log.Log(context.Background(), line.level, line.msg, attrs...)
}

// admit reports whether line may be written now, else it counts it.
func (n *Log) admit(line *Line) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return true // few lines follow while the broker ends, and no timer would write them later
	}
	c := n.causes[line.cause]
	if c == nil {
		c = &cause{keys: make(map[string]*leftOut)}
		n.causes[line.cause] = c
		c.timer = time.AfterFunc(every, func() { n.report(line.cause) })
	}
	out := c.keys[line.key]
	if out == nil && len(c.keys) < linesMax {
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

// report writes what was left out for a cause since its last lines. If anything was, its
// timer runs again.
func (n *Log) report(cause string) {
	for _, out := range n.takeLeftOut(cause) {
		out.last.print(out.n - 1)
	}
}

func (n *Log) takeLeftOut(cause string) []leftOut {
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
		c.timer.Reset(every)
	}
	return left
}

// Close writes what was left out. From now on nothing is left out.
func (n *Log) Close() {
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

// Shown returns how a Client Identifier, Topic Name or Topic Filter stands in a
// log line: its beginning, without control characters.
func Shown[T ~string | ~[]byte](text T) string {
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
