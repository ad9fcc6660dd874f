//go:build control

package store

import (
	"os"
	"slices"
	"strings"
)

// brokenRules are the rules that this build breaks, from BREAK_RULES: see
// package broker.
var brokenRules = strings.Split(os.Getenv("BREAK_RULES"), ",")

func broken(rule string) bool { return slices.Contains(brokenRules, rule) }
