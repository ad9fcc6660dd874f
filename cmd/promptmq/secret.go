package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/x0a1b/promptmq/broker/login"
)

// A secret is what the answers to logins of users that do not exist are made of, so that they
// are the same after a restart.
type secret = [32]byte

const secretFile = "login.secret"

// offerSCRAM lets the users of the store log in by SCRAM.
func (l *logins) offerSCRAM(dir string) error {
	secret, err := readSecret(dir)
	if err != nil {
		return fmt.Errorf("the secret of logins: %w", err)
	}
	l.chain.SetMethods(map[string]login.Method{login.SCRAMSHA256: login.NewSCRAM(l.chain, secret).Exchange})
	return nil
}

// readSecret returns the secret of a data directory, and makes it if there is none.
func readSecret(dir string) (s secret, err error) {
	path := filepath.Join(dir, secretFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		_, _ = rand.Read(s[:]) // cannot fail
		return s, writeSecret(path, s[:])
	}
	if err == nil && len(text) != len(s) {
		err = fmt.Errorf("%s has %d bytes, not %d; remove it, and a new one is made", path, len(text), len(s))
	}
	copy(s[:], text)
	return s, err
}

// writeSecret makes the file as a whole: a start that is cut short leaves none.
func writeSecret(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), secretFile+".*") // with mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
