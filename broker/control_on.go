//go:build control

package broker

import (
	"os"
	"strings"
)

// brokenRules names the rules that this build breaks, from BREAK_RULES. Such
// a build exists only to show that the tests notice: each durability test has a
// control that must fail.
var brokenRules = strings.Split(os.Getenv("BREAK_RULES"), ",")

func broken(rule string) bool {
	for _, b := range brokenRules {
		if b == rule {
			return true
		}
	}
	return false
}
