package main

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/config"
)

// An ending sees to it that a process that is to end does so in time.
type ending struct {
	told  *supervision
	log   *slog.Logger
	lines *logQueue
	once  sync.Once
	state atomic.Pointer[string]
}

// doing notes what is under way, for the log of an end that takes too long.
func (e *ending) doing(what string) { e.state.Store(&what) }

// begin starts the time in which the process must have ended.
func (e *ending) begin() {
	e.once.Do(func() {
		time.AfterFunc(endWithin, e.giveUp)
		e.told.stopping()
	})
}

func (e *ending) giveUp() {
	doing := "the store is being opened and loaded"
	if state := e.state.Load(); state != nil {
		doing = *state
	}
	e.log.Log(context.Background(), config.LevelFatal, "did not end in time", trouble.NotEndedInTime, "within", endWithin.String(), "doing", doing)
	e.lines.flush(logFlushWithin)
	os.Exit(exitFailure)
}
