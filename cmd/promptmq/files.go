package main

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/x0a1b/promptmq/config"
)

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
