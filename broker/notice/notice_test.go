package notice

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0a1b/promptmq/metrics"
)

// A lockedBuffer is a bytes.Buffer for a writer and a reader at a time.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lockedBuffer) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Reset()
}

// TestNotices: the first line for a key is written at once, then one a minute
// with the number of those left out; many keys of one cause do not write more
// than linesMax and one.
func TestNotices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out lockedBuffer
		m := metrics.NewBroker()
		n := New(slog.New(slog.NewTextHandler(&out, nil)), m)
		lines := func() int {
			synctest.Wait()
			return strings.Count(out.String(), "\n")
		}
		for i := range 100 {
			n.Warn("full", "a", "the queue is full", "i", i)
		}
		if got := lines(); got != 1 {
			t.Fatalf("%d lines at once, want 1:\n%s", got, &out)
		}
		time.Sleep(every)
		if got := lines(); got != 2 || !strings.Contains(out.String(), "i=99 left_out=98") {
			t.Fatalf("%d lines after a minute, want 2 with what was left out:\n%s", got, &out)
		}
		out.Reset()
		time.Sleep(2 * every)
		n.Warn("full", "a", "the queue is full", "i", 100)
		if got := lines(); got != 1 {
			t.Fatalf("%d lines after silence, want 1:\n%s", got, &out)
		}
		out.Reset()
		for i := range 1000 {
			n.Info("refused", fmt.Sprint(i), "refused")
		}
		if got := lines(); got != linesMax {
			t.Fatalf("%d lines for 1,000 keys, want %d", got, linesMax)
		}
		n.Close()
		if got := lines(); got != linesMax+1 || !strings.Contains(out.String(), "left_out=989") {
			t.Fatalf("%d lines at the end, want one more with the count:\n%s", got, &out)
		}
		if got := m.NoticesLeftOut("refused").Get(); got != 990 {
			t.Fatalf("counted %d, want 990", got)
		}
	})
}

func TestShown(t *testing.T) {
	long := strings.Repeat("é", 40)
	for in, want := range map[string]string{
		"plain": "plain", "a\nb\x00": "a\uFFFDb\uFFFD", long: strings.Repeat("é", 32) + "…", "x" + long: "x" + strings.Repeat("é", 31) + "…",
	} {
		if got := Shown(in); got != want {
			t.Errorf("Shown(%q) = %q, want %q", in, got, want)
		}
	}
}
