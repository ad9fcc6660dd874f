package metrics

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const connsMax = 64

func listen(t *testing.T, path string, ready func() error) (*Server, string) {
	t.Helper()
	s := Serve(anyPort(t), path, connsMax, NewBroker(), ready, nil)
	t.Cleanup(func() {
		if err := s.Close(t.Context()); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("close: %v", err)
		}
	})
	return s, "http://" + s.Addr().String()
}

func anyPort(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func get(t *testing.T, url string) (int, string, http.Header) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body), resp.Header
}

func TestServerAnswers(t *testing.T) {
	var loaded atomic.Bool
	_, url := listen(t, "/metrics", func() error {
		if !loaded.Load() {
			return errors.New("store is loading")
		}
		return nil
	})

	code, body, header := get(t, url+"/metrics")
	if code != 200 || !strings.Contains(body, "\npromptmq_connections_total 0\n") {
		t.Errorf("/metrics: %d %.200s", code, body)
	}
	if ct := header.Get("Content-Type"); !strings.HasPrefix(ct, "text/plain; version=0.0.4") {
		t.Errorf("/metrics: Content-Type %q", ct)
	}

	wantStatus(t, url+"/health", 200, status{Status: "ok"})
	wantStatus(t, url+"/ready", 503, status{Status: "not ready", Reason: "store is loading"})
	loaded.Store(true)
	wantStatus(t, url+"/ready", 200, status{Status: "ready"})

	for _, path := range []string{"/", "/metrics/", "/healthz", "/debug/pprof/"} {
		if code, _, _ := get(t, url+path); code != 404 {
			t.Errorf("%s: %d", path, code)
		}
	}
}

func wantStatus(t *testing.T, url string, code int, want status) {
	t.Helper()
	got, body, _ := get(t, url)
	var s status
	if err := json.Unmarshal([]byte(body), &s); err != nil || got != code || s != want {
		t.Errorf("%s: %d %q %v, want %d %+v", url, got, body, err, code, want)
	}
}

func TestServerPathAndMethod(t *testing.T) {
	_, url := listen(t, "/prom", func() error { return nil })
	if code, _, _ := get(t, url+"/prom"); code != 200 {
		t.Errorf("/prom: %d", code)
	}
	if code, _, _ := get(t, url+"/metrics"); code != 404 {
		t.Errorf("/metrics: %d", code)
	}
	resp, err := http.Post(url+"/prom", "text/plain", bytes.NewReader(nil))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d, Allow %q", resp.StatusCode, resp.Header.Get("Allow"))
	}
}

// TestServerCloseAtOnce: nobody listens after Close, also if the server had not
// yet come to serve.
func TestServerCloseAtOnce(t *testing.T) {
	for range 200 {
		s := Serve(anyPort(t), "/metrics", connsMax, NewBroker(), func() error { return nil }, nil)
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if conn, err := net.Dial("tcp", s.Addr().String()); err == nil {
			conn.Close()
			t.Fatal("still listening")
		}
	}
}

// TestServerCrowd: those who keep connections open, having asked once, a half or
// nothing, keep nobody out, and are no more than a few.
func TestServerCrowd(t *testing.T) {
	counters := NewBroker()
	s := Serve(anyPort(t), "/metrics", connsMax, counters, func() error { return nil }, nil)
	t.Cleanup(func() { _ = s.Close(t.Context()) })
	crowd := make([]net.Conn, 300)
	for i := range crowd {
		nc, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		crowd[i] = nc
		if _, err := nc.Write([]byte([]string{"", "GET /health HTTP/1.1\r\nHost:", "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"}[i%3])); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Logf("%d: %v", i, err) // closed already
		}
	}
	url := "http://" + s.Addr().String()
	for deadline := time.Now().Add(time.Minute); ; { // the last of the crowd may still be being answered
		resp, err := http.Get(url + "/health")
		if err == nil {
			resp.Body.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if code, body, _ := get(t, url+"/metrics"); code != 200 || !strings.Contains(body, "promptmq_metrics_connections_closed_total") {
		t.Errorf("/metrics: %d", code)
	}
	if n := counters.ScrapesClosed.Get(); n < uint64(len(crowd)-connsMax) {
		t.Errorf("%d were closed", n)
	}
	open := 0
	for _, nc := range crowd {
		if err := nc.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, nc); errors.Is(err, os.ErrDeadlineExceeded) {
			open++
		}
	}
	if open > connsMax {
		t.Errorf("%d are open", open)
	}
}

// Close does not wait for a client that never finishes its request; not once in
// several times, for a machine may be slow.
func TestServerCloseIsBounded(t *testing.T) {
	for tries := 1; ; tries++ {
		d := closeWhileAsked(t)
		if d < 4*time.Second { // after five the request would have been given up
			return
		}
		if tries == 5 {
			t.Fatalf("close took %v", d)
		}
	}
}

// closeWhileAsked closes a server in the middle of a request and returns how long
// that took.
func closeWhileAsked(t *testing.T) time.Duration {
	t.Helper()
	s := Serve(anyPort(t), "/metrics", connsMax, NewBroker(), func() error { return nil }, nil)
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET /metrics HTTP/1.1\r\nHost:")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	_ = s.Close(ctx)
	d := time.Since(start)
	if _, err := net.Dial("tcp", s.Addr().String()); err == nil {
		t.Error("still listening")
	}
	return d
}
