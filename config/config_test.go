package config

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
)

// Each default is a value that an operator could have written.
func TestDefaultsAreAllowed(t *testing.T) {
	c := Default()
	for i := range keys {
		k := &keys[i]
		if err := c.set(k, c.text(k), Origin{}); err != nil {
			t.Error(err)
		}
	}
	if errs := c.crossCheck(); len(errs) > 0 {
		t.Error(errs)
	}
}

func TestEachKeyFillsItsOwnField(t *testing.T) {
	c := Default()
	fields := make(map[any]string)
	for i := range keys {
		field := keys[i].field(c)
		if other, taken := fields[field]; taken {
			t.Errorf("%s and %s fill one field", other, keys[i].path)
		}
		fields[field] = keys[i].path
	}
}

func TestNames(t *testing.T) {
	for path, want := range map[string][2]string{
		"log.level":                 {"log-level", "PROMPTMQ_LOG_LEVEL"},
		"server.ws-bind":            {"server-ws-bind", "PROMPTMQ_SERVER_WS_BIND"},
		"storage.data-dir":          {"data-dir", "PROMPTMQ_DATA_DIR"},
		"storage.sqlite.cache-size": {"sqlite-cache-size", "PROMPTMQ_SQLITE_CACHE_SIZE"},
		"storage.sqlite.mmap-size":  {"sqlite-mmap-size", "PROMPTMQ_SQLITE_MMAP_SIZE"},
	} {
		k := keyOf(path)
		if got := [2]string{k.flag(), k.variable()}; got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestEnviron(t *testing.T) {
	c, err := Load(Sources{Environ: []string{
		"PATH=/bin", "PROMPTMQ_CONFIG=unused", "PROMPTMQ_SERVER_WS_BIND=", "PROMPTMQ_SQLITE_BUSY_TIMEOUT=7",
		// What Kubernetes sets for services named promptmq and promptmq-ws.
		"PROMPTMQ_SERVICE_HOST=10.0.0.1", "PROMPTMQ_SERVICE_PORT=1883", "PROMPTMQ_SERVICE_PORT_MQTT=1883",
		"PROMPTMQ_PORT=tcp://10.0.0.1:1883", "PROMPTMQ_PORT_1883_TCP=tcp://10.0.0.1:1883",
		"PROMPTMQ_PORT_1883_TCP_PROTO=tcp", "PROMPTMQ_WS_PORT_8080_TCP_ADDR=10.0.0.2", "PROMPTMQ_WS_SERVICE_HOST=10.0.0.2",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if c.Broker.WSBind != "" || c.Store.BusyTimeout.Milliseconds() != 7 {
		t.Errorf("ws-bind %q, busy-timeout %v", c.Broker.WSBind, c.Store.BusyTimeout)
	}

	_, err = Load(Sources{Environ: []string{"PROMPTMQ_MQTT_MAX_QSO=1", "PROMPTMQ_LOG_LEVEL=", "PROMPTMQ_Z=1"}})
	want := `PROMPTMQ_MQTT_MAX_QSO: no setting has this variable; did you mean PROMPTMQ_MQTT_MAX_QOS?
PROMPTMQ_LOG_LEVEL: log.level: "" is not allowed; it must be one of trace, debug, info, warn, error, fatal, panic
PROMPTMQ_Z: no setting has this variable; ` + "`promptmq server --help` lists those that do"
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

func TestKubernetesVariablesAreNoKeys(t *testing.T) {
	for i := range keys {
		if name := keys[i].variable(); kubernetes.MatchString(name) {
			t.Errorf("%s would be ignored", name)
		}
	}
}

func TestNearest(t *testing.T) {
	words := []string{"bind", "ws-bind", "read-timeout", "write-timeout"}
	for word, want := range map[string]string{
		"bnid": "bind", "Bind": "bind", "wsbind": "ws-bind", "readtimeout": "read-timeout", "wriet-timeuot": "write-timeout",
		"x": "", "retention": "",
	} {
		if got := nearest(word, words); got != want {
			t.Errorf("nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestLogger(t *testing.T) {
	emit := func(l Log) string {
		var out bytes.Buffer
		log := l.Logger(&out, l.Severity())
		for _, level := range []slog.Level{LevelTrace, slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError, LevelFatal} {
			log.Log(t.Context(), level, "m", "level", "inner")
		}
		return out.String()
	}
	for i, name := range levelNames {
		for _, format := range []string{"json", "console"} {
			out := emit(Log{Level: name, Format: format})
			if got, want := strings.Count(out, "\n"), max(6-i, 1); got != want {
				t.Errorf("%s, %s: %d lines, want %d", name, format, got, want)
			}
		}
	}
	for terminal, want := range map[bool]string{true: "console", false: "json"} {
		for format, want := range map[string]string{"auto": want, "json": "json", "console": "console"} {
			if got := (Log{Format: format}).On(terminal).Format; got != want {
				t.Errorf("%s, on a terminal %v: %s", format, terminal, got)
			}
		}
	}
	first, _, _ := strings.Cut(emit(Log{Level: "trace", Format: "json"}), "\n")
	var record map[string]any
	if err := json.Unmarshal([]byte(first), &record); err != nil {
		t.Error(err)
	}
	for _, level := range []string{"TRACE", "FATAL"} {
		if out := emit(Log{Level: "trace", Format: "console"}); !strings.Contains(out, "level="+level+" ") {
			t.Errorf("no level %s in %s", level, out)
		}
	}
	if Default().Log.Logger(&bytes.Buffer{}, Default().Log.Severity()).Enabled(t.Context(), slog.LevelDebug) {
		t.Error("debug is on by default")
	}
}

func TestPrintSaysWhereFrom(t *testing.T) {
	name := write(t, "log:\n  level: warn\n")
	c, err := Load(Sources{File: name, Environ: []string{"PROMPTMQ_MQTT_MAX_QOS=1"}})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := c.WriteYAML(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"  # From: " + name + ":2. A change: taken over by a reload.\n  level: \"warn\"\n", "  # From: PROMPTMQ_MQTT_MAX_QOS. A change: needs a restart.\n  max-qos: 1\n", "  # From: default. A change: needs a restart.\n  format: \"auto\"\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("missing %q in\n%s", want, out.String())
		}
	}
}
