package terminal

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"

	"golang.org/x/term"
)

// Size returns the columns and lines of the terminal that f is; 0 of both if it is none, or
// one that cannot do more than write lines.
func Size(f *os.File) (columns, lines int) {
	if name := os.Getenv("TERM"); name == "" || name == "dumb" {
		return 0, 0
	}
	columns, lines, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0, 0
	}
	return columns, lines
}

// Is reports whether f is a terminal, whatever that can do.
func Is(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// What a terminal is told: the sequences of ECMA-48 and those of xterm that every terminal of
// today has.
const (
	enter     = "\x1b[?1049h\x1b[?25l" // another screen, without cursor
	leave     = "\x1b[?25h\x1b[?1049l"
	home      = "\x1b[H"
	clearLine = "\x1b[K"
	clearRest = "\x1b[J"
	// Bold and Plain switch, Reverse shows black for white. They are for Draw.
	Bold    = "\x1b[1m"
	Reverse = "\x1b[7m"
	Plain   = "\x1b[0m"
)

// A Screen is a terminal that a program draws on. Close gives it back as it was.
type Screen struct {
	in, out *os.File
	before  *term.State
	// Keys has what is typed; it is closed when there is no more to come.
	Keys chan rune
	// Resized has an element after the size of the terminal has changed.
	Resized chan os.Signal
	close   sync.Once
}

// ErrNoTerminal says that in or out is no terminal.
var ErrNoTerminal = errors.New("no terminal")

// Open takes a terminal. Its error is ErrNoTerminal if it is none.
func Open(in, out *os.File) (*Screen, error) {
	if columns, _ := Size(out); columns == 0 || !Is(in) {
		return nil, ErrNoTerminal
	}
	before, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, err
	}
	s := &Screen{in: in, out: out, before: before, Keys: make(chan rune, 16), Resized: make(chan os.Signal, 1)}
	notifyResize(s.Resized)
	go s.read()
	_, err = io.WriteString(out, enter)
	return s, err
}

// Interrupt is the key of Ctrl-C, which sends no signal to a program that reads keys.
const Interrupt = '\x03'

// read reads keys until the terminal is gone.
func (s *Screen) read() {
	defer close(s.Keys)
	var b [64]byte
	for {
		n, err := s.in.Read(b[:])
		if err != nil {
			return
		}
		text := string(b[:n])
		if strings.HasPrefix(text, "\x1b") {
			continue // a key with a name, which means nothing here
		}
		for _, key := range text {
			s.Keys <- key
		}
	}
}

// Draw shows these lines in place of all that is there. They are as wide and as many as Size
// says, or fewer.
func (s *Screen) Draw(lines []string) error {
	var b strings.Builder
	b.WriteString(home)
	for i, line := range lines {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(line + Plain + clearLine)
	}
	b.WriteString(clearRest)
	_, err := io.WriteString(s.out, b.String())
	return err
}

// Size is that of the terminal now.
func (s *Screen) Size() (columns, lines int) { return Size(s.out) }

// Close gives the terminal back.
func (s *Screen) Close() (err error) {
	s.close.Do(func() {
		signal.Stop(s.Resized)
		_, err = io.WriteString(s.out, leave)
		err = errors.Join(err, term.Restore(int(s.in.Fd()), s.before))
	})
	return err
}
