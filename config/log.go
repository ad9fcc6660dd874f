package config

import (
	"io"
	"log/slog"
	"slices"
)

// Levels beside those of slog.
const (
	LevelTrace = slog.Level(-8)
	LevelFatal = slog.Level(12) // the process ends because of it
)

// LevelNames returns the levels of the log, the one that logs most first.
func LevelNames() []string { return slices.Clone(levelNames) }

// levelNames are from the most to the least talkative, as in levels.
var levelNames = []string{"trace", "debug", "info", "warn", "error", "fatal", "panic"}

// levels has LevelFatal twice: why the process ends is never hidden.
var levels = []slog.Level{
	LevelTrace, slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError, LevelFatal, LevelFatal,
}

// Severity is the least one that is logged.
func (l Log) Severity() slog.Level { return levels[slices.Index(levelNames, l.Level)] }

// ParseLevel returns the name of a level as log.level has it, or says what is allowed.
func ParseLevel(name string) (string, error) {
	var level string
	err := oneOf(levelNames...).parse(&level, name)
	return level, err
}

// On returns l with the format that its lines have on a terminal, or elsewhere, in the place of
// auto.
func (l Log) On(terminal bool) Log {
	if l.Format == formatAuto {
		l.Format = formatJSON
		if terminal {
			l.Format = formatConsole
		}
	}
	return l
}

// The formats of the log.
const (
	formatAuto    = "auto"
	formatJSON    = "json"
	formatConsole = "console"
)

// Logger returns the logger that l describes, writing to w, with a level that may change. auto is
// JSON here; On tells whether w is a terminal.
func (l Log) Logger(w io.Writer, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{
		Level:       level,
		ReplaceAttr: replace,
	}
	if l.Format == formatConsole {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

// replace writes TRACE for DEBUG-4 and so on, and a duration as "1.5s", which JSON
// would have as a number of nanoseconds.
func replace(groups []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
		return a
	}
	if a.Key != slog.LevelKey || len(groups) > 0 {
		return a
	}
	switch level, _ := a.Value.Any().(slog.Level); level {
	case LevelTrace:
		a.Value = slog.StringValue("TRACE")
	case LevelFatal:
		a.Value = slog.StringValue("FATAL")
	}
	return a
}
