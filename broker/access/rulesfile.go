package access

import (
	"errors"
	"fmt"
	"strings"
)

// The most that a file of rules may have.
const (
	RulesFileBytes = 16 << 20
	RulesFileRules = 100_000
)

// ParseRules reads a file of rules: one a line, as ParseRule reads it, and "end" as its last
// line, so that one that was cut off is told from one that is whole. Lines that are empty or
// begin with # say nothing. name is that of the file, for Rule.Where and errors, which say
// the line and what is wrong with it. A file without a rule is refused.
func ParseRules(name string, data []byte) ([]Rule, error) {
	lines, err := textLines(name, data, RulesFileBytes)
	if err != nil {
		return nil, err
	}
	var rules []Rule
	ended := false
	for i, line := range lines {
		wrong := func(err error) error { return fmt.Errorf("%s:%d: %w", name, i+1, err) }
		line = strings.Trim(line, " \t")
		switch {
		case line == "" || line[0] == '#':
			continue
		case ended:
			return nil, wrong(errors.New(`there is something behind the line "end"`))
		case line == "end":
			ended = true
			continue
		case len(rules) == RulesFileRules:
			return nil, wrong(fmt.Errorf("more than %d rules", RulesFileRules))
		}
		rule, err := ParseRule(line)
		if err != nil {
			return nil, wrong(err)
		}
		rule.Where = fmt.Sprintf("%s:%d", name, i+1)
		rules = append(rules, rule)
	}
	switch {
	case len(lines) == 0:
		return nil, fmt.Errorf("%s: it is empty, and may have been cut off", name)
	case !ended:
		return nil, fmt.Errorf(`%s:%d: the last line is not "end": the file may have been cut off`, name, len(lines))
	case len(rules) == 0:
		return nil, fmt.Errorf(`%s:%d: there is no rule in it; "deny everyone all topic #" denies everything`, name, len(lines))
	}
	return rules, nil
}
