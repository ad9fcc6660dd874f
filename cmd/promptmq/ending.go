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
	told     *supervision
	log      *slog.Logger
	lines    *logQueue
	once     sync.Once
	stopping sync.Once
	timer    atomic.Pointer[time.Timer]
	state    atomic.Pointer[string]
}

// doing notes what is under way, for the log of an end that takes too long.
func (e *ending) doing(what string) { e.state.Store(&what) }

// begin starts the time in which the process must have ended.
func (e *ending) begin() {
	e.beginTime()
	e.stopping.Do(e.told.stopping)
}

// beginHandover is begin, for an end that is none for systemd: another process goes on.
func (e *ending) beginHandover() {
	e.told.handingOver()
	e.beginTime()
}

func (e *ending) beginTime() {
	e.once.Do(func() { e.timer.Store(time.AfterFunc(endWithin, e.giveUp)) })
}

// stop says that the process goes on after all, or waits for another.
func (e *ending) stop() {
	if t := e.timer.Load(); t != nil {
		t.Stop()
	}
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
