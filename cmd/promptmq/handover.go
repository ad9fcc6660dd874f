package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/broker/link"
)

// handoverVariable tells a process that it is to take the place of another: the descriptors of
// what it reads from that, and of what it writes to it, with a comma between them.
const handoverVariable = "HANDOVER_FDS"

// Descriptors of a process that is to take the place of another: those of sockets come behind.
const (
	handoverReads  = 3
	handoverWrites = 4
	handoverFirst  = 5
)

// What the two processes say, in this order.
const (
	// The old one sends its sockets.
	saidSockets = "sockets"
	// The new one has checked what it can without the store.
	saidPrepared = "prepared"
	// The old one takes no more connections. If it ends now, the new one takes its place.
	saidStopping = "stopping"
	// The old one has closed the store.
	saidClosed = "closed"
	// The new one accepts connections.
	saidReady = "ready"
	// The new one gives up.
	saidFailed = "failed"
	// The old one takes its work back: whatever the new one does, it ends.
	saidAbandoned = "abandoned"
	// The old one was asked to read the configuration again meanwhile: the new one does.
	saidReload = "reload"
)

// A handoverWord is a line of JSON that one of the two processes says to the other.
type handoverWord struct {
	Said    string          `json:"said"`
	Sockets []handedSocket  `json:"sockets,omitempty"`
	DataDir string          `json:"data_dir,omitempty"`
	Upgrade inspect.Upgrade `json:"upgrade,omitzero"`
	At      time.Time       `json:"at,omitzero"`
	Version string          `json:"version,omitempty"`
	Schema  int64           `json:"schema,omitempty"`
	Error   string          `json:"error,omitempty"`
}

// A handedSocket is a link.Socket, of which the file is a descriptor: those of a list follow
// each other.
type handedSocket struct {
	Name string `json:"name"`
	Path string `json:"path,omitempty"`
	Keep bool   `json:"keep,omitempty"`
}

// wordBytesMax bounds a handoverWord.
const wordBytesMax = 1 << 20

// listenTo returns what is said, until the other process ends.
func listenTo(r io.Reader) <-chan handoverWord {
	words := make(chan handoverWord, 8) // more than there are
	go func() {
		defer close(words)
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, wordBytesMax)
		for lines.Scan() {
			var w handoverWord
			if json.Unmarshal(lines.Bytes(), &w) != nil {
				return // another program
			}
			words <- w
		}
	}()
	return words
}

func say(w io.Writer, word handoverWord) error { return json.NewEncoder(w).Encode(word) }

// A successor is the process that is to take the place of this one.
type successor struct {
	cmd     *exec.Cmd
	to      *os.File
	from    *os.File
	says    <-chan handoverWord // closed when nobody is left who could say something
	exited  chan struct{}
	sockets []link.Socket
	upgrade inspect.Upgrade
	within  time.Duration // until it is ready
}

// beginSuccessor starts a process for the data in a directory, and gives it the sockets. It owns them.
func beginSuccessor(upgrade inspect.Upgrade, dir string, sockets []link.Socket, within time.Duration) (*successor, error) {
	theirs, to, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = theirs.Close() }()
	from, said, err := os.Pipe()
	if err != nil {
		_ = to.Close() // nothing was written
		return nil, err
	}
	defer func() { _ = said.Close() }()
	s := &successor{cmd: exec.Command(upgrade.Binary, argumentsOfNext(os.Args[1:])...), to: to, from: from, exited: make(chan struct{}), sockets: sockets, upgrade: upgrade, within: within}
	s.cmd.Env = append(environOfNext(os.Environ()), fmt.Sprintf("%s=%d,%d", handoverVariable, handoverReads, handoverWrites))
	s.cmd.Stdout, s.cmd.Stderr = os.Stdout, os.Stderr
	s.cmd.ExtraFiles = []*os.File{theirs, said}
	word := handoverWord{Said: saidSockets, Upgrade: upgrade, DataDir: dir}
	for _, p := range sockets {
		s.cmd.ExtraFiles = append(s.cmd.ExtraFiles, p.File)
		word.Sockets = append(word.Sockets, handedSocket{p.Name, p.Path, p.Keep})
	}
	if err := s.cmd.Start(); err != nil {
		return nil, errors.Join(err, to.Close(), from.Close())
	}
	go func() {
		defer close(s.exited)
		_ = s.cmd.Wait() // ProcessState has how it ended
	}()
	s.says = listenTo(from)
	_ = say(to, word) // else it has ended, as is noticed
	return s, nil
}

// argumentsOfNext are those of this process, but for what is done once.
func argumentsOfNext(args []string) []string {
	return slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return arg == "--salvage" || strings.HasPrefix(arg, "--salvage=") })
}

// environOfNext is the environment of this process without what was meant for it alone.
func environOfNext(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains([]string{handoverVariable, "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID", "WATCHDOG_PID", "SYSTEMD_EXEC_PID"}, name)
	})
}

// await returns the next word. Its error says what the process did in place of it.
func (s *successor) await(said string, within time.Duration, stop <-chan struct{}) (handoverWord, error) {
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case w, more := <-s.says:
		switch {
		case !more:
			return w, s.ending()
		case w.Said == said:
			return w, nil
		case w.Said == saidFailed:
			return w, errors.New(w.Error)
		}
		return w, fmt.Errorf("the new process said %q in place of %q", w.Said, said)
	case <-late.C:
		return handoverWord{}, fmt.Errorf("the new process was not %s within %v", said, within)
	case <-stop:
		return handoverWord{}, errors.New("this process was told to end")
	}
}

// ending waits for the end of a process that says nothing any more.
func (s *successor) ending() error {
	const lingers = 5 * time.Second // what it says is closed when it ends, unless it does that itself
	select {
	case <-s.exited:
		return fmt.Errorf("the new process ended (%s); what it said is in the log, or where standard error goes", s.cmd.ProcessState)
	case <-time.After(lingers):
		return errors.New("the new process says nothing any more: it may be no promptmq, or one that cannot be upgraded to in this way")
	}
}

// abandon ends the process, and waits for that: it may have the store. If it is one that has
// started promptmq and waits for that, this ends when it is told.
func (s *successor) abandon() {
	_ = say(s.to, handoverWord{Said: saidAbandoned})
	_ = s.cmd.Process.Kill() // else it has ended
	<-s.exited
	const lingers = 5 * time.Second // another program than promptmq may have what it writes to
	late := time.NewTimer(lingers)
	defer late.Stop()
	for left := true; left; {
		select {
		case _, left = <-s.says:
		case <-late.C:
			left = false
		}
	}
	s.release()
}

// release forgets the process.
func (s *successor) release() { _, _ = s.to.Close(), s.from.Close() }
