package admin

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

type word struct {
	Word   string  `json:"word"`
	Number float64 `json:"number,omitempty"`
}

type wordIn struct{ Body word }

// echoes returns commands that answer, refuse, fail and panic.
func echoes(t *testing.T) (c *API, panics *atomic.Int64) {
	panics = new(atomic.Int64)
	c = New("1", slog.New(slog.NewTextHandler(io.Discard, nil)), func() { panics.Add(1) })
	Handle(c, Operation{Method: http.MethodPost, Path: "/echo", Role: Admin, Summary: "Says it again."}, func(_ context.Context, in *wordIn) (*word, error) {
		switch in.Body.Word {
		case "refuse":
			return nil, fmt.Errorf("the word: %w", Refuse("%q is refused", in.Body.Word))
		case "fail":
			return nil, errors.New("it failed")
		case "late":
			return nil, context.DeadlineExceeded
		case "panic":
			panic("secret")
		case "unwritable":
			return &word{"hello", math.Inf(1)}, nil
		}
		return &in.Body, nil
	})
	return c, panics
}

// serve serves echoes in a directory.
func serve(t *testing.T, dir string) (panics *atomic.Int64, stop func()) {
	t.Helper()
	c, panics := echoes(t)
	s, err := Serve(dir, c, log.New(io.Discard, "", 0))
	if err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return panics, stop
}

func dial(t *testing.T, dir string) *Client {
	t.Helper()
	c, err := Dial(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCall: over a socket and in the process itself, the same answers and errors.
func TestCall(t *testing.T) {
	dir := t.TempDir()
	panics, _ := serve(t, dir)
	commands, localPanics := echoes(t)
	for name, c := range map[string]*Client{"socket": dial(t, dir), "local": Local(commands)} {
		for _, test := range []struct {
			path, word, want string
			asked            bool
		}{
			{"/echo", "hello", "", false},
			{"/echo", "refuse", `the word: "refuse" is refused`, true},
			{"/echo", "fail", "it failed", false},
			{"/echo", "late", "may have been, or not", false},
			{"/echo", "panic", "the log of the broker says more", false},
			{"/other", "hello", "no such operation", true},
			{"/echo", strings.Repeat("x", bodyBytesMax), "too large", false},
		} {
			got, err := Call[word](t.Context(), c, http.MethodPost, test.path, &word{Word: test.word})
			if test.want == "" {
				if err != nil || got.Word != test.word {
					t.Errorf("%s: %.20q: %v, %v", name, test.word, got, err)
				}
				continue
			}
			var e *Error
			if !errors.As(err, &e) || !strings.Contains(e.Text, test.want) || e.Asked != test.asked || strings.Contains(e.Text, "secret") {
				t.Errorf("%s: %.20q: %v, want %q, about what was asked: %v", name, test.word, err, test.want, test.asked)
			}
		}
	}
	if panics.Load() != 1 || localPanics.Load() != 1 {
		t.Errorf("%d and %d panics were counted", panics.Load(), localPanics.Load())
	}
}

// TestSocketFile: nobody else can connect, one that is left over is replaced, none is left.
func TestSocketFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, socketName)
	if _, err := Dial(t.Context(), dir); !errors.Is(err, ErrNobody) {
		t.Errorf("no socket: %v", err)
	}
	left, err := listenAt(path)
	if err != nil {
		t.Fatal(err)
	}
	_ = left.Close()
	if _, err := Dial(t.Context(), dir); !errors.Is(err, ErrNobody) {
		t.Errorf("a socket that nobody listens on: %v", err)
	}
	_, stop := serve(t, dir)
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := Call[word](t.Context(), dial(t, dir), http.MethodPost, "/echo", &word{Word: "a"}); err != nil {
		t.Error(err)
	}
	stop()
	if names, err := os.ReadDir(dir); err != nil || len(names) != 0 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

// TestCloseEndsStreams: to stop does not wait for a stream.
func TestCloseEndsStreams(t *testing.T) {
	dir := t.TempDir()
	c, _ := echoes(t)
	begun := make(chan struct{}, 2)
	addEndless(c, Viewer, begun)
	s, err := Serve(dir, c, log.New(io.Discard, "", 0))
	if err != nil {
		t.Fatal(err)
	}
	answer := make(chan string, 1)
	go func() {
		answer <- raw(t, dir, "GET /api/v1/events?seconds=600 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	}()
	<-begun
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if text := <-answer; !strings.Contains(text, errStopping.Error()) {
		t.Error(text)
	}
}

// TestNotASocket: what somebody has put there is not touched.
func TestNotASocket(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, socketName)
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _ := echoes(t)
	if _, err := Serve(dir, c, log.Default()); err == nil || !strings.Contains(err.Error(), path+" is no socket") {
		t.Error(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "mine" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestLongPath: a data directory whose path is longer than that of a socket may be.
func TestLongPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 40))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if !peersAreKnown { // not Linux
		c, _ := echoes(t)
		if _, err := Serve(dir, c, log.Default()); err == nil || !strings.Contains(err.Error(), "choose a shorter storage.data-dir") {
			t.Error(err)
		}
		return
	}
	serve(t, dir)
	if got, err := Call[word](t.Context(), dial(t, dir), http.MethodPost, "/echo", &word{Word: "a"}); err != nil || got.Word != "a" {
		t.Errorf("%v, %v", got, err)
	}
	t.Chdir(dir)
	if path, done, err := reachable(dir, socketName); err != nil || path != socketName {
		t.Errorf("%s, %v", path, err)
	} else {
		done()
	}
}

// raw sends text to the socket and returns what is answered until the connection ends.
func raw(t *testing.T, dir, text string) string {
	t.Helper()
	c, err := net.Dial("unix", filepath.Join(dir, socketName))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	go func() { _, _ = io.WriteString(c, text) }()
	answer, _ := io.ReadAll(c)
	return string(answer)
}

// TestHostileRequests: what is no command changes nothing and stops nobody.
func TestHostileRequests(t *testing.T) {
	dir := t.TempDir()
	panics, _ := serve(t, dir)
	body := func(b string) string {
		return fmt.Sprintf("POST /api/v1/echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(b), b)
	}
	for text, want := range map[string]string{
		"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02ab\r\n\r\n":                                  "400",
		"GET /api/v1/echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":                       "405",
		"POST /api/v1/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n":   "400",
		"POST /api/v1/echo HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n": "431",
		body(""):                            "400",
		body("null x"):                      "400",
		body("[]"):                          "422",
		body(`{"word":1}`):                  "422",
		body(`{"word":"a"}{"word":"b"}`):    "400",
		body(`{"word":"a","secret":"xyz"}`): "422",
		body(`{"word":` + strings.Repeat("[", 100_000)): "400",
		body("{\"word\":\"\xff\"}"):                     "400",
		body(`{"word":"\ud800"}`):                       "400",
		body(`{"word":"\udc00\ud800"}`):                 "400",
		body(`{"word":"\ud83d\ude00 \\ud800"}`):         "200",
		body(`{"word":"a"}`):                            "200",
	} {
		answer := raw(t, dir, text)
		if !strings.HasPrefix(answer, "HTTP/1.1 "+want) || strings.Contains(answer, "xyz") {
			t.Errorf("%.60q: %.300q, want %s", text, answer, want)
		}
	}
	if panics.Load() != 0 {
		t.Errorf("%d panics", panics.Load())
	}
}

// TestConnectionsAreBounded: those who connect and say nothing are few, and each of them is
// closed in time.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	serve(t, dir)
	var silent []net.Conn
	for range connectionsMax {
		c, err := net.Dial("unix", filepath.Join(dir, socketName))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		silent = append(silent, c)
	}
	if answer := raw(t, dir, "POST /api/v1/echo HTTP/1.1\r\n"); answer != "" {
		t.Errorf("one more has the answer %q", answer)
	}
	_ = silent[0].Close()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		c, err := Dial(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Call[word](t.Context(), c, http.MethodPost, "/echo", &word{Word: "a"}); err == nil && got.Word == "a" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no room after one has gone")
		}
	}
	_ = silent[1].SetReadDeadline(time.Now().Add(requestWithin + time.Minute))
	if _, err := bufio.NewReader(silent[1]).ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("one that says nothing: %v", err)
	}
}

// TestBrokenAnswer: an answer that has begun and cannot go on is cut off; nothing is put behind it.
func TestBrokenAnswer(t *testing.T) {
	dir := t.TempDir()
	panics, _ := serve(t, dir)
	const body = `{"word":"unwritable"}`
	text := raw(t, dir, fmt.Sprintf("POST /api/v1/echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	if strings.Contains(text, "the operation failed") || strings.HasSuffix(text, "0\r\n\r\n") || panics.Load() != 1 {
		t.Errorf("%d panics, %q", panics.Load(), text)
	}
	local, _ := echoes(t)
	if got, err := Call[word](t.Context(), Local(local), http.MethodPost, "/echo", &word{Word: "unwritable"}); err == nil {
		t.Errorf("local: %v", got)
	}
}

// TestLocalHasNoBody: a request without a body is no panic.
func TestLocalHasNoBody(t *testing.T) {
	c, panics := echoes(t)
	r, err := http.NewRequest(http.MethodPost, "http://x/api/v1/echo", bytes.NewReader(nil))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.RoundTrip(r)
	if err != nil || resp.StatusCode != http.StatusBadRequest || panics.Load() != 0 {
		t.Errorf("%v, %v", resp, err)
	}
}
