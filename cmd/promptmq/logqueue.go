package main

import (
	"bytes"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/config"
	"github.com/x0a1b/promptmq/metrics"
)

const (
	// logBytesMax is how much of the log may wait for its reader; as much again
	// may be in the write under way.
	logBytesMax = 256 << 10
	// logFlushWithin bounds how long the end of the process waits for the reader of
	// its log.
	logFlushWithin = 1500 * time.Millisecond
)

// A logQueue stands between the broker and the reader of its log, so that a
// reader that is slow, stopped or gone holds nobody up: what it does not take in
// time is dropped and counted, and a line says so when it goes on.
type logQueue struct {
	w       io.Writer
	format  config.Log // of the line about what was dropped
	level   slog.Leveler
	dropped *metrics.Counter
	// tail has the last lines, those that the reader did not take too.
	tail logTail

	mu      sync.Mutex // guards the following
	pending []byte     // whole lines
	lost    int        // lines dropped and not yet told
	failed  error      // why the last of them were not written; nil: there were too many
	writing bool       // a goroutine is at it; it takes what is added to pending
	cut     bool       // the last write ended in the middle of a line
	drained chan struct{}
}

func newLogQueue(w io.Writer, format config.Log, level slog.Leveler, dropped *metrics.Counter) *logQueue {
	return &logQueue{w: w, format: format, level: level, dropped: dropped}
}

// Write takes one line. It never waits for the reader and never fails.
func (q *logQueue) Write(line []byte) (int, error) {
	q.tail.add(line)
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.pending)+len(line) > logBytesMax {
		q.dropLocked(1)
		return len(line), nil
	}
	q.pending = append(q.pending, line...)
	if !q.writing {
		q.writing = true
		go q.write()
	}
	return len(line), nil
}

func (q *logQueue) dropLocked(lines int) {
	q.lost += lines
	q.dropped.Add(lines)
}

// write writes until nothing is left.
func (q *logQueue) write() {
	var spare []byte
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.pending) > 0 {
		lines, lost := q.pending, q.lost
		q.pending, q.lost = spare[:0], 0
		if q.writeLocked(lines) && lost > 0 && q.writeLocked(q.tell(lost, q.failed)) {
			lost, q.failed = 0, nil
		}
		q.lost += lost
		spare = lines
	}
	q.writing = false
	if q.drained != nil {
		close(q.drained)
		q.drained = nil
	}
}

// writeLocked writes lines, and counts those that could not be written. It lets
// go of mu meanwhile.
func (q *logQueue) writeLocked(lines []byte) bool {
	cut := q.cut
	q.mu.Unlock()
	n, err := 0, error(nil)
	if cut {
		_, err = q.w.Write([]byte{'\n'})
	}
	if err == nil {
		n, err = q.w.Write(lines)
	}
	q.mu.Lock()
	if n > 0 {
		q.cut = lines[n-1] != '\n'
	}
	if err != nil {
		q.failed = err
		q.dropLocked(bytes.Count(lines[n:], []byte{'\n'}))
	}
	return err == nil
}

// tell returns the line that says how many were dropped, and why if that is known.
func (q *logQueue) tell(lost int, failed error) []byte {
	var line bytes.Buffer
	attrs := []any{trouble.LogLinesDropped, "lines", lost}
	if failed != nil {
		attrs = append(attrs, "error", failed)
	}
	q.format.Logger(&line, q.level).Warn("log lines were dropped: the reader of the log did not take them in time", attrs...)
	if line.Len() > 0 { // the level may leave it out
		q.tail.add(line.Bytes())
	}
	return line.Bytes()
}

// flush waits until everything is written, but not for long.
func (q *logQueue) flush(within time.Duration) {
	q.mu.Lock()
	if !q.writing {
		q.mu.Unlock()
		return
	}
	if q.drained == nil {
		q.drained = make(chan struct{})
	}
	drained := q.drained
	q.mu.Unlock()
	select {
	case <-drained:
	case <-time.After(within):
	}
}
