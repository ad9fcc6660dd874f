package main

import (
	"bytes"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/x0a1b/promptmq/broker/inspect"
)

const (
	// tailLinesMax and tailBytesMax bound what is kept of the log for those who ask for its last
	// lines, tailLineMax what is kept of one line.
	tailLinesMax = 1000
	tailBytesMax = 512 << 10
	tailLineMax  = 16 << 10
)

// A logTail has the last lines of the log, whoever reads that. Its methods may be called by any
// goroutine.
type logTail struct {
	mu    sync.Mutex // guards the following; nothing is waited for, nor logged, under it
	lines []inspect.LogLine
	bytes int           // of their texts
	last  uint64        // number of the newest line
	more  chan struct{} // closed at the next line; nil: nobody waits
}

// add takes one line with its line end.
func (t *logTail) add(line []byte) {
	l := inspect.LogLine{Text: string(bytes.TrimSuffix(line, []byte{'\n'}))}
	if len(l.Text) > tailLineMax {
		end := tailLineMax
		for end > tailLineMax-utf8.UTFMax && !utf8.RuneStart(l.Text[end]) {
			end--
		}
		l.Text, l.Cut = strings.Clone(l.Text[:end]), true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	l.Seq = t.last
	t.lines, t.bytes = append(t.lines, l), t.bytes+len(l.Text)
	for len(t.lines) > tailLinesMax || t.bytes > tailBytesMax {
		t.bytes -= len(t.lines[0].Text)
		t.lines[0] = inspect.LogLine{} // the array has it until append makes another
		t.lines = t.lines[1:]
	}
	if t.more != nil {
		close(t.more)
		t.more = nil
	}
}

// LogLines returns at most limit lines behind the number after, the oldest first, and how many
// there were before them that are no longer kept. With after 0 it returns the last ones. more is
// closed when there is another line than all that there were by now.
func (t *logTail) LogLines(after uint64, limit int) (lines []inspect.LogLine, missed uint64, more <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.more == nil {
		t.more = make(chan struct{})
	}
	kept := t.lines
	first := t.last - uint64(len(kept)) + 1
	switch {
	case after == 0:
		kept = kept[max(0, len(kept)-limit):]
	case after >= t.last:
		kept = nil
	case after >= first:
		kept = kept[after-first+1:]
	default:
		missed = first - after - 1
	}
	return append(lines, kept[:min(limit, len(kept))]...), missed, t.more
}
