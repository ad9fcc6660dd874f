package login

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// A SettingError is a fault of a setting, or of the file that it names.
type SettingError struct {
	Key string // as auth.jwt.key-file
	// File has the fault, and Err begins with it, as "name:line: what is wrong"; "": the
	// setting itself is wrong, or its file cannot be read.
	File string
	Err  error
}

// Error implements error.
func (e *SettingError) Error() string { return e.Key + ": " + e.Err.Error() }

func (e *SettingError) Unwrap() error { return e.Err }

// SettingErrors are all that is wrong with the settings of one source.
type SettingErrors []*SettingError

// Error implements error.
func (e SettingErrors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// inLine is what is wrong in a line of a file.
type inLine struct {
	line int // from 1 on
	error
}

// readSetting reads the file that a setting names, of keysBytesMax at most. allowed says what
// it must be.
func readSetting[T any](key, path, allowed string, parse func([]byte) (T, error)) (t T, fault *SettingError) {
	text, err := ReadWhole(path, keysBytesMax)
	if err != nil {
		return t, &SettingError{Key: key, Err: fmt.Errorf("%w; it must be %s", err, allowed)}
	}
	if len(text) > keysBytesMax {
		err = fmt.Errorf("it is larger than %d bytes", keysBytesMax)
	} else if t, err = parse(text); err == nil {
		return t, nil
	}
	at := path
	if l, ok := errors.AsType[inLine](err); ok {
		at, err = fmt.Sprintf("%s:%d", path, l.line), l.error
	}
	return t, &SettingError{Key: key, File: path, Err: fmt.Errorf("%s: %w; it must be %s", at, err, allowed)}
}

// ReadWhole reads a file, but no more than most+1 bytes of it: who gets more than most has
// to refuse it.
func ReadWhole(name string, most int64) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // to open a pipe would wait for who writes to it
		return nil, errors.New(name + " is not a regular file")
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, most+1))
}
