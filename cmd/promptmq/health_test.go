package main

import (
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/metrics"
)

// health runs the command, which says one line.
func health(t *testing.T, env []string, args ...string) (line string, code int) {
	t.Helper()
	r := run(t, env, append([]string{"health"}, args...)...)
	if out := r.stdout + r.stderr; strings.Count(out, "\n") != 1 || (r.code == 0) != (r.stderr == "") {
		t.Errorf("health %v: code %d\n%s%s", args, r.code, r.stdout, r.stderr)
	}
	return strings.TrimSpace(r.stdout + r.stderr), r.code
}

// TestHealth: the broker is found by each way to name it.
func TestHealth(t *testing.T) {
	unraced(t)
	t.Parallel()
	s := start(t, "")
	file := filepath.Join(s.dir, "promptmq.yaml")
	ways := []struct {
		env  []string
		args string
	}{
		{nil, "--metrics-bind " + s.metrics},
		{nil, "--data-dir " + s.dataDir()},
		{[]string{"PROMPTMQ_METRICS_BIND=" + s.metrics}, ""},
		{[]string{"PROMPTMQ_DATA_DIR=" + s.dataDir(), "PROMPTMQ_METRICS_ENABLED=false"}, ""},
		{[]string{"PROMPTMQ_CONFIG=" + file, "PROMPTMQ_METRICS_BIND=127.0.0.1:0", "PROMPTMQ_DATA_DIR=" + s.dataDir()}, ""},
		{[]string{"PROMPTMQ_METRICS_BIND=" + s.metrics[strings.LastIndex(s.metrics, ":"):]}, "--config " + file},
		{[]string{"PROMPTMQ_URL=http://127.0.0.1:1", "http_proxy=http://127.0.0.1:1"}, "--metrics-bind " + s.metrics},
	}
	for _, w := range ways {
		if line, code := health(t, w.env, strings.Fields(w.args)...); code != 0 || line != "ready" {
			t.Errorf("%v %s: code %d, %s", w.env, w.args, code, line)
		}
		if line, code := health(t, w.env, strings.Fields("--live "+w.args)...); code != 0 || line != "alive" {
			t.Errorf("%v --live %s: code %d, %s", w.env, w.args, code, line)
		}
	}
	s.stop()
	for _, w := range ways {
		if line, code := health(t, w.env, strings.Fields(w.args)...); code != exitFailure {
			t.Errorf("stopped: %v %s: code %d, %s", w.env, w.args, code, line)
		}
	}
}

// TestHealthOfAnother: a broker that runs elsewhere, and has the port, does not answer for one
// that is stopped.
func TestHealthOfAnother(t *testing.T) {
	unraced(t)
	t.Parallel()
	s, other := start(t, ""), start(t, "")
	env := []string{"PROMPTMQ_METRICS_BIND=" + other.metrics, "PROMPTMQ_DATA_DIR=" + s.dataDir()}
	if line, code := health(t, env); code != 0 {
		t.Errorf("while it runs: code %d, %s", code, line)
	}
	s.stop()
	if line, code := health(t, env); code != exitFailure || !strings.Contains(line, "another broker") {
		t.Errorf("stopped: code %d, %s", code, line)
	}
}

// TestHealthElsewhere: the API of a broker is asked with a token.
func TestHealthElsewhere(t *testing.T) {
	unraced(t)
	t.Parallel()
	s := startAPI(t, "", new(http.Client))
	if line, code := health(t, []string{"PROMPTMQ_TOKEN=" + canaryViewer}, "--url", s.base); code != 0 || line != "ready" {
		t.Errorf("code %d, %s", code, line)
	}
	if line, code := health(t, nil, "--url", s.base); code != exitFailure || !strings.Contains(line, "--token-file FILE") {
		t.Errorf("code %d, %s", code, line)
	}
}

// TestHealthNot: each reason why a broker is not well is told.
func TestHealthNot(t *testing.T) {
	unraced(t)
	t.Parallel()
	dir := t.TempDir()
	serve := func(ready error) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		m := metrics.Serve(l, "/metrics", 10, metrics.NewBroker(), func() error { return ready }, log.New(io.Discard, "", 0))
		t.Cleanup(func() { _ = m.Close(closed()) })
		return l.Addr().String()
	}
	loading := serve(errors.New("the store is being loaded"))
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>welcome</html>") }))
	t.Cleanup(other.Close)
	silent := acceptEach(t, func(c net.Conn) {
		_, _ = io.Copy(io.Discard, c)
		_ = c.Close()
	})
	for _, test := range []struct {
		env        []string
		args, want string
		code       int
	}{
		{nil, "--metrics-bind " + loading, "not ready: the store is being loaded", 1},
		{nil, "--live --metrics-bind " + loading, "alive", 0},
		{nil, "--metrics-bind " + other.Listener.Addr().String(), "another program", 1},
		{[]string{"PROMPTMQ_METRICS_BIND=" + other.Listener.Addr().String()}, "--config " + dir + "/none", "no such file", 1},
		{[]string{"PROMPTMQ_METRICS_BIND=" + other.Listener.Addr().String(), "PROMPTMQ_DATA_DIR=" + dir}, "", "none runs on " + dir, 1},
		{nil, "--timeout 100ms --metrics-bind " + silent.Addr().String(), "no answer within 100ms", 1},
		{[]string{"PROMPTMQ_METRICS_ENABLED=false", "PROMPTMQ_DATA_DIR=" + dir}, "", "say where one does", 1},
		{[]string{"PROMPTMQ_METRICS_BIND=nowhere"}, "", "metrics.bind", 1},
		{nil, "--metrics-bind nowhere", "no address such as", 1},
	} {
		if line, code := health(t, test.env, strings.Fields(test.args)...); code != test.code || !strings.Contains(strings.ToLower(line), strings.ToLower(test.want)) {
			t.Errorf("%v %s: code %d, %s", test.env, test.args, code, line)
		}
	}
}
