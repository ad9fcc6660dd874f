package main

import (
	"errors"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/x0a1b/promptmq/config"
)

// readWhole reads a file, and not much more than it may have.
func readWhole(name string, most int64) ([]byte, error) {
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
	return io.ReadAll(io.LimitReader(file, most+1)) // what is longer is for its parser to refuse
}

var lineOfFault = regexp.MustCompile(`^(?::([0-9]+))?: ?`)

// faultIn is the fault of a file that a key names, with its line if err begins with it, as
// "name:line: what is wrong" does.
func faultIn(name, key string, err error) *config.Error {
	text, at := err.Error(), config.Origin{Name: name}
	if rest, found := strings.CutPrefix(text, name); found {
		if m := lineOfFault.FindStringSubmatch(rest); m != nil {
			text = rest[len(m[0]):]
			at.Line, _ = strconv.Atoi(m[1]) // 0 where there is none
		}
	}
	return &config.Error{Origin: at, Key: key, Text: text}
}
