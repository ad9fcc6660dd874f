package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/terminal"
)

var lookTime = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// lookAt makes a sample, so many seconds after the first.
func lookAt(seconds int, clients ...inspect.Client) *topSample {
	s := &topSample{numbers: inspect.Numbers{At: lookTime.Add(time.Duration(seconds) * time.Second), Ready: true, Version: "test"}, clients: make(map[string]*inspect.Client)}
	for i := range clients {
		s.clients[clients[i].ID] = &clients[i]
		s.numbers.MessagesIn[0] += clients[i].MessagesIn
	}
	return s
}

func ids(v *topView) (ids []string) {
	for _, r := range v.rows {
		ids = append(ids, r.ID)
	}
	return ids
}

func TestTopView(t *testing.T) {
	t.Parallel()
	long, back := lookTime.Add(-time.Hour), lookTime.Add(time.Second)
	v := &topView{sort: "rate"}
	first := lookAt(0, inspect.Client{ID: "a", ConnectedAt: long, MessagesIn: 1000}, inspect.Client{ID: "b", ConnectedAt: long, MessagesOut: 5}, inspect.Client{ID: "c", ConnectedAt: long, MessagesIn: 900, Queued: 7, Dropped: 1})
	v.show(nil, first)
	if v.in != 0 || !slices.Equal(ids(v), []string{"a", "b", "c"}) {
		t.Errorf("at first %v in, %v", v.in, ids(v))
	}
	if line := v.lines(0, 0)[1]; line != "in -  out -  dropped -  queued 0  " {
		t.Errorf("nothing was measured yet: %q", line)
	}
	second := lookAt(2,
		inspect.Client{ID: "a", ConnectedAt: long, MessagesIn: 1010},
		inspect.Client{ID: "b", ConnectedAt: long, MessagesOut: 25},
		inspect.Client{ID: "c", ConnectedAt: back, MessagesIn: 4, Queued: 7, Dropped: 9},
		inspect.Client{ID: "new", ConnectedAt: back, MessagesIn: 30},
		inspect.Client{ID: "unseen", ConnectedAt: long, MessagesIn: 1 << 40, Dropped: 1 << 40},
	)
	second.numbers.MessagesIn[1] = first.numbers.MessagesIn[0] + 84
	second.numbers.MessagesIn[0] = 0
	v.show(first, second)
	if v.in != 42 {
		t.Errorf("%v in, expected 42", v.in)
	}
	if line := v.lines(0, 0)[1]; !strings.HasPrefix(line, "in 42/s  out 0/s  dropped 0/s  queued 0") {
		t.Error(line)
	}
	for key, want := range map[rune]string{'r': "new b a c unseen", 'i': "new a c b unseen", 'o': "b a c new unseen", 'u': "c a b new unseen", 'd': "c a b new unseen"} {
		if v.key(key); strings.Join(ids(v), " ") != want {
			t.Errorf("key %c: %v, expected %s", key, ids(v), want)
		}
	}
	v.key('d')
	if r := v.rows[0]; r.ID != "c" || r.in != 2 || r.dropped != 4 {
		t.Errorf("a client that has connected again: %+v", r)
	}
	v.key('p')
	v.show(second, lookAt(4))
	if len(v.rows) != 5 || !strings.Contains(v.lines(80, 24)[2], "PAUSED") {
		t.Error("it went on")
	}
	v.key('p')
	v.show(second, lookAt(4))
	if len(v.rows) != 0 {
		t.Error("it did not go on")
	}
}

// TestTopScreen: what strangers name cannot do anything to the terminal, and each size is
// kept to.
func TestTopScreen(t *testing.T) {
	t.Parallel()
	v := &topView{sort: "rate"}
	s := lookAt(0)
	for i := range 100 {
		c := &inspect.Client{ID: fmt.Sprintf("%02d\x1b]0;owned\x07\u202e室温%s", i, strings.Repeat("x", i)), User: "\x1b[31m", Address: "[2001:db8::1]:1883"}
		s.clients[c.ID] = c
	}
	s.numbers.Ready, s.numbers.Version = false, "\x1b[5m"
	v.show(nil, s)
	for columns := range 200 {
		for _, height := range []int{1, 3, 10, 24, 200} {
			lines := v.lines(columns+1, height)
			if len(lines) > height {
				t.Fatalf("%d lines on a screen of %d", len(lines), height)
			}
			for _, line := range lines {
				if terminal.Width(line) > columns+1 || strings.ContainsAny(line, "\x1b\x07\u202e\n") {
					t.Fatalf("at %d: %q", columns+1, line)
				}
			}
		}
	}
	text := strings.Join(v.lines(0, 0), "\n")
	if n := strings.Count(text, "owned"); n != onceRows || !strings.Contains(text, "NOT READY") {
		t.Errorf("%d clients\n%s", n, text)
	}
}

// TestTopOnce: where there is no terminal, top prints one sample and ends.
func TestTopOnce(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	c := commander{t, s.dataDir()}
	v5Of(t, s, hostileID, nil)
	out := c.ok("top", "--every", "200ms")
	has(t, out, "1 connections", "CLIENT", `evil\x1b]0;owned`)
	if strings.ContainsAny(out, "\x1b\u2028") {
		t.Errorf("%q", out)
	}
	c.refused("--every is 200ms or more", "top", "--every", "1ms")
}
