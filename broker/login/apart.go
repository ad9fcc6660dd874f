package login

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"sync"
	"time"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/notice"
)

const (
	// apartIdle is how long a process is kept that has nothing to compare.
	apartIdle = 10 * time.Second
	// apartWithin is how long a comparison may take there: what may be a second of work at
	// the lowest priority. Then it is made here.
	apartWithin = 30 * time.Second
	// apartBytesMax bounds a question: a hash, and a password of 65,535 bytes as JSON has it.
	apartBytesMax = 128 << 10
)

// Apart compares passwords in processes of their own, which have the lowest priority: in this
// one a comparison would take turns with everything else, so that a storm of logins made
// messages wait. What cannot be compared there is compared here. Its methods may be called by
// any goroutine.
type Apart struct {
	command func() *exec.Cmd // runs ComparePasswords
	notices *notice.Log

	mu     sync.Mutex // guards the following
	idle   []*comparer
	closed bool
}

// NewApart returns an Apart without processes. command makes one that runs ComparePasswords
// with its standard input and output.
func NewApart(command func() *exec.Cmd, notices *notice.Log) *Apart {
	return &Apart{command: command, notices: notices}
}

// Matches reports whether password is that of hash.
func (a *Apart) Matches(hash *access.Hash, password []byte) bool {
	c, err := a.take()
	if err == nil {
		var matches bool
		if matches, err = c.ask(hash, password); err == nil {
			a.put(c)
			return matches
		}
		c.end()
	}
	a.notices.Line(slog.LevelWarn, "compare apart", "compare apart", "passwords are compared in this process, where that may hold up messages",
		"error", err).Write()
	return hash.Matches(password)
}

// Close ends the processes that have nothing to do, and each other one when it has answered.
func (a *Apart) Close() {
	a.mu.Lock()
	idle := a.idle
	a.idle, a.closed = nil, true
	a.mu.Unlock()
	for _, c := range idle {
		c.end()
	}
}

// take returns a process for one question.
func (a *Apart) take() (*comparer, error) {
	a.mu.Lock()
	if n := len(a.idle); n > 0 {
		c := a.idle[n-1]
		a.idle = a.idle[:n-1]
		a.mu.Unlock()
		c.expiry.Stop()
		return c, nil
	}
	a.mu.Unlock()
	return startComparer(a.command())
}

// put keeps a process for the next question, for a while.
func (a *Apart) put(c *comparer) {
	a.mu.Lock()
	keep := !a.closed
	if keep {
		a.idle = append(a.idle, c)
		c.expiry = time.AfterFunc(apartIdle, func() { a.expire(c) })
	}
	a.mu.Unlock()
	if !keep {
		c.end()
	}
}

// expire ends a process, if it is not asked again.
func (a *Apart) expire(c *comparer) {
	a.mu.Lock()
	found := false
	for i := range a.idle {
		if found = a.idle[i] == c; found {
			a.idle = append(a.idle[:i], a.idle[i+1:]...)
			break
		}
	}
	a.mu.Unlock()
	if found {
		c.end()
	}
}

// A comparer is a process that compares passwords, for one goroutine at a time.
type comparer struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	expiry *time.Timer // valid while it is idle
}

func startComparer(cmd *exec.Cmd) (*comparer, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &comparer{cmd: cmd, in: in, out: bufio.NewReader(out)}, nil
}

// A comparison is what a comparer is asked for, on one line.
type comparison struct {
	Hash     string `json:"hash"`
	Password []byte `json:"password"`
}

// ask has a comparison made.
func (c *comparer) ask(hash *access.Hash, password []byte) (matches bool, err error) {
	line, err := json.Marshal(comparison{hash.String(), password})
	if err != nil {
		return false, err
	}
	defer clear(line)
	late := time.AfterFunc(apartWithin, func() { _ = c.cmd.Process.Kill() })
	defer late.Stop()
	if _, err := c.in.Write(append(line, '\n')); err != nil {
		return false, err
	}
	answer, err := c.out.ReadString('\n')
	switch {
	case err != nil:
		return false, err
	case answer != matchesLine && answer != differsLine:
		return false, errors.New("a process that compares passwords gave no answer")
	}
	return answer == matchesLine, nil
}

// end ends the process, whatever it does.
func (c *comparer) end() {
	_ = c.in.Close()
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

const matchesLine, differsLine = "yes\n", "no\n"

// ComparePasswords answers the questions of an Apart until they end. It is what its processes
// do, and gives this one the lowest priority.
func ComparePasswords(in io.Reader, out io.Writer) error {
	lowestPriority()
	return comparePasswords(in, out)
}

func comparePasswords(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, apartBytesMax)
	for lines.Scan() {
		var q comparison
		if json.Unmarshal(lines.Bytes(), &q) != nil {
			return errors.New("this is not a question about a password")
		}
		hash, err := access.ParseHash(q.Hash)
		if err != nil {
			return err
		}
		answer := differsLine
		if hash.Matches(q.Password) {
			answer = matchesLine
		}
		clear(q.Password)
		if _, err := fmt.Fprint(out, answer); err != nil {
			return err
		}
	}
	return lines.Err()
}
