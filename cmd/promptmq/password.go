package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"golang.org/x/term"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/admin"
)

// passwordBytesMax is what a CONNECT can carry. Section 3.1.3.6.
const passwordBytesMax = 65535

// A passwordSource is where a password comes from: never an argument, which every user of
// the machine can read.
type passwordSource struct {
	Stdin bool   `name:"password-stdin" help:"Read the password from standard input." xor:"password"`
	File  string `name:"password-file" placeholder:"FILE" help:"Read the password from a file." xor:"password"`
}

// read returns the password, without the end of line that stands behind it.
func (s *passwordSource) read() ([]byte, error) {
	var in io.Reader
	switch {
	case s.Stdin:
		in = os.Stdin
	case s.File != "":
		f, err := os.Open(s.File)
		if err != nil {
			return nil, admin.Refuse("--password-file: %v", err)
		}
		defer func() { _ = f.Close() }() // only read
		in = f
	default:
		return promptPassword()
	}
	text, err := io.ReadAll(io.LimitReader(bufio.NewReader(in), passwordBytesMax+3))
	if err != nil {
		return nil, fmt.Errorf("reading the password: %w", err)
	}
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	return text, refusePassword(text)
}

// refusePassword is checkPassword for who has said it to a command.
func refusePassword(text []byte) error {
	if err := checkPassword(text); err != nil {
		return admin.Refuse("%v", err)
	}
	return nil
}

func checkPassword(text []byte) error {
	switch {
	case len(text) == 0:
		return errors.New("the password is empty")
	case len(text) > passwordBytesMax:
		return fmt.Errorf("the password has more than %d bytes", passwordBytesMax)
	case bytes.ContainsAny(text, "\r\n"):
		return errors.New("the password has more than one line")
	}
	return nil
}

// errNoTerminal says that nobody can be asked.
var errNoTerminal = errors.New("there is no terminal to ask for the password at: use --password-stdin or --password-file")

// promptPassword asks twice at the terminal, which shows nothing of it.
func promptPassword() ([]byte, error) {
	first, err := askPassword("Password: ")
	if err != nil {
		return nil, err
	}
	return confirmPassword(first)
}

// confirmPassword asks for a password again.
func confirmPassword(first []byte) ([]byte, error) {
	if err := refusePassword(first); err != nil {
		return nil, err
	}
	second, err := askPassword("Again: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(first, second) {
		return nil, admin.Refuse("these are two passwords")
	}
	return first, nil
}

// askPassword asks once at the terminal, which shows nothing of the answer.
func askPassword(prompt string) ([]byte, error) {
	fd := int(os.Stdin.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return nil, errNoTerminal
	}
	interrupts, answered := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	defer close(answered)
	go func() {
		select {
		case <-interrupts:
			_ = term.Restore(fd, state) // else the terminal goes on to show nothing
			os.Exit(exitFailure)
		case <-answered:
		}
	}()
	fmt.Fprint(os.Stderr, prompt)
	defer fmt.Fprintln(os.Stderr)
	return term.ReadPassword(fd)
}

// hashPassword returns what is stored of a password. It clears it. scram is empty for a
// password that SCRAM cannot have.
func hashPassword(password []byte) (hash, scram string) {
	defer clear(password)
	salt := make([]byte, access.SaltBytes+access.SCRAMSaltBytes)
	_, _ = rand.Read(salt) // never fails
	hash = access.NewHash(password, salt[:access.SaltBytes]).String()
	if keys, err := access.NewSCRAMKeys(password, salt[access.SaltBytes:], access.SCRAMIterations); err == nil {
		scram = keys.String()
	}
	return hash, scram
}
