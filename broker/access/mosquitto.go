package access

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ParseMosquitto reads the acl_file of Mosquitto 2 and returns Rules with the same outcome,
// the last of which denies all that no other is about: it must stand behind all other rules
// of a Policy. The file means what it means to Mosquitto:
//
//   - "topic" lines are about the user of the last "user" line before them; those before the
//     first, about Clients without a user name. "pattern" lines are about everybody.
//   - For a Client, its topic lines are asked first and then the patterns; in each of both
//     the lines with deny come first, wherever they stand. A deny is final.
//   - read is for deliveries, write for publishing, readwrite (or nothing) for both.
//   - A Client with + or # in its user name or Client Identifier gets nothing from patterns.
//
// A Topic Filter may be subscribed to if it has a topic in common with one that may be read.
//
// An empty file, and one whose last line does not end, is refused: it was cut off. So is one
// whose first line is "# end required" and whose last is not "# end". A file without that can
// lose whole lines at its end, and nobody can tell.
func ParseMosquitto(name string, data []byte) ([]Rule, error) {
	lines, err := mosquittoLines(name, data, RulesFileBytes, "a comment in it denies everything")
	if err != nil {
		return nil, err
	}
	p := mosquittoParser{nobody: true}
	for i, line := range lines {
		p.where = fmt.Sprintf("%s:%d", name, i+1)
		if err := p.line(line); err != nil {
			return nil, fmt.Errorf("%s: %w", p.where, err)
		}
	}
	return append(p.inOrder(), Rule{
		Deny: true, Actions: allActions, Filter: "#",
		Where: fmt.Sprintf("the end of %s (Mosquitto denies what no line allows)", name),
	}), nil
}

type mosquittoParser struct {
	user   string // of the last user line
	nobody bool   // there was none yet
	where  string
	rules  []Rule
}

// trimmed is the text without what Mosquitto takes for blanks at its ends.
func trimmed(text string) string { return strings.Trim(text, " \t\n\v\f\r") }

// firstWord is what is in front of the first space, as strtok finds it, and what is behind.
func firstWord(text string) (word, rest string) {
	word, rest, _ = strings.Cut(strings.TrimLeft(text, " "), " ")
	return word, rest
}

// escapePercent writes %% for each % that does not begin %u or %c, or for each if none is
// to be a name.
func escapePercent(filter string, names bool) string {
	var b strings.Builder
	for i := range len(filter) {
		b.WriteByte(filter[i])
		if filter[i] == '%' && !(names && i+1 < len(filter) && (filter[i+1] == 'u' || filter[i+1] == 'c')) {
			b.WriteByte('%')
		}
	}
	return b.String()
}

func (p *mosquittoParser) line(line string) error {
	if strings.HasPrefix(line, "#") {
		return nil
	}
	line = strings.TrimRight(line, " \t\n\v\f\r")
	switch word, rest := firstWord(line); word {
	case "":
		return nil
	case "user":
		if p.user = trimmed(rest); p.user == "" {
			return errors.New("there is no name behind user")
		}
		p.nobody = false
		return nil
	case "topic", "pattern":
		return p.topic(rest, word == "pattern")
	default:
		return fmt.Errorf("%s begins no line of an acl_file: they are user, topic, pattern, and # in the first column", shortened(word))
	}
}

// topic takes what is behind "topic" or "pattern".
func (p *mosquittoParser) topic(text string, pattern bool) error {
	access, filter := firstWord(text)
	switch filter = trimmed(filter); {
	case access == "":
		return errors.New("there is no topic")
	case filter == "" && slices.Contains([]string{"read", "write", "readwrite", "deny"}, access):
		return fmt.Errorf("there is no topic behind %s; if %s is its name, write: readwrite %s", access, access, access)
	case filter == "":
		access, filter = "readwrite", access
	}
	rule := Rule{MaxQoS: 2, Mosquitto: true, Where: p.where}
	switch access {
	case "read":
		rule.Actions = Receive | Subscribe
	case "write":
		rule.Actions = Publish
	case "readwrite":
		rule.Actions = allActions
	case "deny":
		rule.Deny, rule.MaxQoS, rule.Actions = true, 0, Publish|Receive
	default:
		return fmt.Errorf("%s where read, write, readwrite or deny is expected; they are also needed in front of a topic with spaces", shortened(access))
	}
	if rule.Filter = escapePercent(filter, pattern); !pattern {
		rule.User, rule.Nobody = p.user, p.nobody
	}
	if len(p.rules) == RulesFileRules {
		return fmt.Errorf("more than %d rules", RulesFileRules)
	}
	p.rules = append(p.rules, rule)
	return rule.Check()
}

// inOrder returns the rules in the order in which Mosquitto asks them.
func (p *mosquittoParser) inOrder() []Rule {
	rank := func(r Rule) int {
		n := 0
		if r.User == "" && !r.Nobody {
			n = 2 // patterns
		}
		if !r.Deny {
			n++
		}
		return n
	}
	slices.SortStableFunc(p.rules, func(a, b Rule) int { return cmp.Compare(rank(a), rank(b)) })
	return p.rules
}
