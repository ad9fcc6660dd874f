package access

import (
	"fmt"
	"strings"
)

// explainedRules is how many rules Explain names that were passed over; it counts the rest.
const explainedRules = 50

// Explain says what the Policy decides about the Subject's Request, as Decide does, and in
// lines of text for people which rule decided, where it stands, and which were asked before it
// and passed over, and why.
func Explain(p *Policy, s *Subject, r Request) (Decision, []string) {
	d := p.Decide(s, r)
	lines := []string{fmt.Sprintf("%s %s for %s", said(d.Allowed), r, s), because(p, s, d)}
	var rest [2]int
	n := 0
	for _, list := range [][]compiled{s.rules, p.rules} {
		for i := range list {
			c := &list[i]
			b, why := c.bind(s, r.Action)
			if why == about {
				why = b.isAbout(&r)
			}
			switch {
			case why == about:
				return d, append(lines, counted(rest)...)
			case n < explainedRules:
				n++
				lines = append(lines, fmt.Sprintf("passed over: %s: %s", located(c.rule), why))
			case why.isOther():
				rest[0]++
			default:
				rest[1]++
			}
		}
	}
	return d, append(lines, counted(rest)...)
}

// isOther reports whether the rule is about other Clients.
func (why passed) isOther() bool {
	return why == otherUser || why == otherGroup || why == otherClient || why == hasUser
}

func counted(rest [2]int) (lines []string) {
	if rest[0] > 0 {
		lines = append(lines, fmt.Sprintf("passed over: %d more, about other clients", rest[0]))
	}
	if rest[1] > 0 {
		lines = append(lines, fmt.Sprintf("passed over: %d more, about this client but not about this", rest[1]))
	}
	return lines
}

func said(allowed bool) string {
	if allowed {
		return "allowed:"
	}
	return "denied:"
}

func because(p *Policy, s *Subject, d Decision) string {
	switch {
	case d.Rule != nil:
		return "by " + located(d.Rule)
	case d.Allowed:
		return "there are no rules: everything is allowed"
	}
	return fmt.Sprintf("no rule is about it, and there are %d: what no rule allows is denied", len(p.rules)+len(s.rules))
}

func located(r *Rule) string {
	if r.Where == "" {
		return r.String()
	}
	return r.Where + ": " + r.String()
}

// String returns the Request as text for people.
func (r Request) String() string {
	text := fmt.Sprintf("%s %q QoS %d", r.Action, r.Topic, r.QoS)
	if r.Retain {
		text += " retained"
	}
	return text
}

// String returns who it is as text for people.
func (s *Subject) String() string {
	who := fmt.Sprintf("user %q", s.user)
	if s.user == "" {
		who = "a client without a user name"
	}
	if len(s.groups) > 0 {
		who += fmt.Sprintf(" of %q", strings.Join(s.groups, ", "))
	}
	return who + fmt.Sprintf(", client identifier %q", s.client)
}
