package main

import (
	"context"
	"log/slog"
	"sync"

	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/config"
)

// A logLevel is the level of the log: what log.level says, or what was set while the broker
// runs. What was set holds until a reload finds another log.level than the last one, so that a
// reload for something else does not end it.
type logLevel struct {
	now slog.LevelVar

	mu         sync.Mutex // guards the following
	configured string
	set        string // at run time; "": nothing
}

func newLogLevel(configured config.Log) *logLevel {
	l := &logLevel{configured: configured.Level}
	l.now.Set(configured.Severity())
	return l
}

// Level implements slog.Leveler.
func (l *logLevel) Level() slog.Level { return l.now.Level() }

// state returns the level and where it comes from.
func (l *logLevel) state() inspect.LogLevel {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stateLocked()
}

func (l *logLevel) stateLocked() inspect.LogLevel {
	s := inspect.LogLevel{Level: l.configured, Configured: l.configured, SetAtRunTime: l.set != ""}
	if s.SetAtRunTime {
		s.Level = l.set
	}
	return s
}

// change sets a level while the broker runs, and tells log; "" is that of the configuration
// again. Its error says what is allowed.
func (l *logLevel) change(ctx context.Context, log *slog.Logger, name string) (inspect.LogLevel, error) {
	if name != "" {
		var err error
		if name, err = config.ParseLevel(name); err != nil {
			return l.state(), err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.stateLocked().Level
	l.set = name
	s := l.stateLocked()
	told := log.Enabled(ctx, slog.LevelInfo) // or else by the new level, if at all
	for _, tell := range []bool{told, !told} {
		if tell {
			log.InfoContext(ctx, "log level changed", "level", s.Level, "was", was, "configured", s.Configured)
		}
		l.now.Set(config.Log{Level: s.Level}.Severity())
	}
	return s, nil
}

// reload takes over what a configuration says that was read again. It returns the level, which
// is not that of the configuration if another was set and log.level is what it was.
func (l *logLevel) reload(next config.Log) inspect.LogLevel {
	l.mu.Lock()
	defer l.mu.Unlock()
	if next.Level != l.configured {
		l.configured, l.set = next.Level, ""
	}
	s := l.stateLocked()
	l.now.Set(config.Log{Level: s.Level}.Severity())
	return s
}
