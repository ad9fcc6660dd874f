package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/metrics"
)

// A supervision tells systemd how the process is, as sd_notify(3) has it. Where no systemd
// asks for that (NOTIFY_SOCKET) nothing is told.
type supervision struct {
	log      *slog.Logger
	counters *metrics.Broker
	watchdog time.Duration // systemd ends the process if it hears nothing for that long; 0: it does not
	broker   atomic.Pointer[broker.Broker]

	mu    sync.Mutex    // guards the following, and is held while systemd is told
	ended bool          // STOPPING=1 was the last word, or another process is to take over
	over  chan struct{} // closed when that has, or has failed; nil: none is to
}

const (
	// tellEvery is how often systemd hears something, or three times in the time of its watchdog.
	tellEvery = 10 * time.Second
	// startsWithin is how long a start that works may go on when that was told.
	startsWithin = 60 * time.Second
	// stopsWithin is what a stop may take, with some time for a slow machine.
	stopsWithin = endWithin + logFlushWithin + 5*time.Second
)

// supervise begins to tell systemd of a start, if systemd wants to be told.
func supervise(log *slog.Logger, counters *metrics.Broker) *supervision {
	s := &supervision{log: log, counters: counters}
	var err error
	if s.watchdog, err = daemon.SdWatchdogEnabled(false); err != nil {
		log.Warn("the watchdog of systemd is not told anything", trouble.Watchdog, "error", err)
	}
	if s.tell("STATUS=loading the store") {
		go s.run()
	}
	return s
}

// tell sends assignments as one message and reports whether somebody has them.
func (s *supervision) tell(assignments ...string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	told, err := daemon.SdNotify(false, strings.Join(assignments, "\n"))
	if err != nil {
		s.log.Warn("systemd could not be told how the broker is", trouble.Watchdog, "error", err)
	}
	return told
}

// ready says that the broker serves.
func (s *supervision) ready(b *broker.Broker) {
	s.broker.Store(b)
	s.tell(daemon.SdNotifyReady, "STATUS="+s.serving())
}

func (s *supervision) serving() string {
	return fmt.Sprintf("serving; connections: %d", s.counters.ConnectionsCurrent.Get())
}

// reloading says that the configuration is being read again. systemd wants to hear ready when
// that is done, well or not.
func (s *supervision) reloading() {
	s.tell(daemon.SdNotifyReloading, strings.TrimSpace(daemon.SdNotifyMonotonicUsec()), "STATUS=reading the configuration again")
}

func (s *supervision) reloaded(err error) {
	status := s.serving()
	if err != nil {
		status = "the configuration was not taken over and all is as it was: the log says why"
	}
	s.tell(daemon.SdNotifyReady, "STATUS="+status)
}

// stopping is the last word.
func (s *supervision) stopping() {
	s.tell(daemon.SdNotifyStopping, extend(stopsWithin), "STATUS=stopping")
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
}

// handingOver is the last word to systemd but for that of isNow: another process is to take over,
// and the unit does not end. Until handedOver its watchdog hears that all is well; the time of
// each step is bounded elsewhere.
func (s *supervision) handingOver() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended, s.over = true, make(chan struct{})
	go s.alive(s.over)
}

func (s *supervision) alive(until <-chan struct{}) {
	ticker := time.NewTicker(s.every())
	defer ticker.Stop()
	for {
		_, _ = daemon.SdNotify(false, daemon.SdNotifyWatchdog) // else the unit ends, and systemd says so
		select {
		case <-ticker.C:
		case <-until:
			return
		}
	}
}

// handedOver says that another process has taken over, or has failed.
func (s *supervision) handedOver() { close(s.over) }

// isNow says which process the unit is from now on.
func (s *supervision) isNow(pid int) {
	if _, err := daemon.SdNotify(false, fmt.Sprintf("MAINPID=%d", pid)); err != nil {
		s.log.Warn("systemd could not be told of the new process", trouble.Watchdog, "pid", pid, "error", err)
	}
}

func extend(by time.Duration) string { return fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", by.Microseconds()) }

// every is the time between two messages.
func (s *supervision) every() time.Duration {
	if s.watchdog > 0 {
		return min(tellEvery, s.watchdog/3)
	}
	return tellEvery
}

// run tells how things are until the broker is to stop.
func (s *supervision) run() {
	every := s.every()
	before := usage()
	for answered := true; ; {
		time.Sleep(every)
		now := usage()
		b := s.broker.Load()
		var told bool
		switch {
		case b != nil:
			answered, told = s.ask(b, every, answered)
		case before.worked(now, every):
			told = s.tell("STATUS=loading the store", extend(startsWithin))
		default:
			told = s.tell("STATUS=waiting for the disk or for others, to load the store")
		}
		if before = now; !told {
			return
		}
	}
}

// ask tells the watchdog that the broker works, if it answers within a time. A broker that
// answers never keeps ask from returning, or has it say so. before says whether the last answer
// was one.
func (s *supervision) ask(b *broker.Broker, within time.Duration, before bool) (answered, told bool) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	waits, err := b.Alive(ctx)
	if err != nil {
		told = s.tell("STATUS=does not answer: " + err.Error())
		if before && told { // else it is to end
			s.log.Error("the broker does not answer: the watchdog of systemd is not told that it works", trouble.NoAnswer, "error", err)
		}
		return false, told
	}
	status := s.serving()
	if waits != "" {
		status += "; " + waits
	}
	return true, s.tell(daemon.SdNotifyWatchdog, "STATUS="+status)
}

// A use is what the process has used of the machine so far.
type use struct {
	processor time.Duration
	blocks    int64 // read from disks and written to them
}

func usage() use {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // cannot fail
	return use{time.Duration(r.Utime.Nano() + r.Stime.Nano()), int64(r.Inblock) + int64(r.Oublock)}
}

// worked reports whether the process did something in the time up to later: a start that waits
// for something that never comes is not to go on for ever.
func (u use) worked(later use, in time.Duration) bool {
	return later.blocks > u.blocks || later.processor-u.processor > in/50
}
