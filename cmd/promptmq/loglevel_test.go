package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/config"
)

// A level that was set while the broker runs outlives a reload that does not change log.level, and
// no other.
func TestLogLevelAtRunTime(t *testing.T) {
	t.Parallel()
	l := newLogLevel(config.Log{Level: "info"})
	var out bytes.Buffer
	log := config.Log{Format: "json"}.Logger(&out, l)
	want := func(level slog.Level, state inspect.LogLevel) {
		t.Helper()
		if l.Level() != level || l.state() != state {
			t.Errorf("%v, %+v; want %v, %+v", l.Level(), l.state(), level, state)
		}
	}
	if _, err := l.change(t.Context(), log, "debgu"); err == nil || !strings.Contains(err.Error(), "did you mean debug?") {
		t.Errorf("%v", err)
	}
	want(slog.LevelInfo, inspect.LogLevel{Level: "info", Configured: "info"})
	for _, name := range []string{"error", "Debug"} {
		if _, err := l.change(t.Context(), log, name); err != nil {
			t.Error(err)
		}
	}
	if lines := strings.Count(out.String(), `"msg":"log level changed"`); lines != 2 {
		t.Errorf("%d lines\n%s", lines, out.String())
	}
	set := inspect.LogLevel{Level: "debug", Configured: "info", SetAtRunTime: true}
	want(slog.LevelDebug, set)
	if got := l.reload(config.Log{Level: "info"}); got != set {
		t.Errorf("%+v", got)
	}
	want(slog.LevelDebug, set)
	l.reload(config.Log{Level: "warn"})
	want(slog.LevelWarn, inspect.LogLevel{Level: "warn", Configured: "warn"})
	if _, err := l.change(t.Context(), log, "trace"); err != nil {
		t.Error(err)
	}
	if _, err := l.change(t.Context(), log, ""); err != nil {
		t.Error(err)
	}
	want(slog.LevelWarn, inspect.LogLevel{Level: "warn", Configured: "warn"})
}
