package access

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

const aclFile = `# as the documentation of Mosquitto has it
topic read $SYS/#

user roger
topic foo/bar baz
topic deny foo/secret/#
topic readwrite a  b/+
  user  the  boss
topic write #
pattern write $SYS/broker/connection/%c/state
pattern deny %u/locked
pattern readwrite %u/#
user roger
topic read foo/#
`

func TestMosquitto(t *testing.T) {
	t.Parallel()
	text := strings.Replace(aclFile, "topic foo/bar baz", "topic foo/bar", 1)
	want := `deny mosquitto user roger publish receive topic foo/secret/#
allow mosquitto nobody read topic $SYS/#
allow mosquitto user roger all topic foo/bar
allow mosquitto user roger all topic "a  b/+"
allow mosquitto user "the  boss" publish topic #
allow mosquitto user roger read topic foo/#
deny mosquitto everyone publish receive topic %u/locked
allow mosquitto everyone publish topic $SYS/broker/connection/%c/state
allow mosquitto everyone all topic %u/#
deny everyone all topic #
`
	for _, text := range []string{text, strings.ReplaceAll(text, "\n", "\r\n"), "\uFEFF" + text} {
		if rules, err := ParseMosquitto("acl", []byte(text)); err != nil || listed(rules) != want || rules[2].Where != "acl:5" {
			t.Errorf("%q: %v\n%s", text, err, listed(rules))
		}
	}
	rules, err := ParseMosquitto("acl", []byte("# nothing yet\n"))
	if d := NewPolicy(rules).Decide(NewSubject(nil, "c"), Request{Action: Receive, Topic: "a"}); err != nil || d.Allowed {
		t.Errorf("a file without rules allows: %v", err)
	}
}

func TestMosquittoErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                             "acl: it is empty",
		"topic a":                      "acl:1: the last line does not end",
		"# end required\ntopic a\n":    "acl:2: the last line is not",
		aclFile:                        `acl:5: "foo/bar" where read, write`,
		"user\n":                       "acl:1: there is no name",
		"user  \t\n":                   "acl:1: there is no name",
		"topic\n":                      "acl:1: there is no topic",
		"topic deny\n":                 "acl:1: there is no topic behind deny",
		"pattern read \n":              "acl:1: there is no topic behind read",
		"\ntopics a\n":                 `acl:2: "topics" begins no line`,
		" # a\n":                       `acl:1: "#" begins no line`,
		"topic\tread a\n":              "begins no line",
		"topic \tread a\n":             "where read, write",
		"topic read a/#/b\n":           "wildcard",
		"pattern read a%u#\n":          "wildcard",
		"topic a\rtopic deny b\n":      "U+000D",
		"user a\x00\n":                 "U+0000",
		string(utf16Bytes(aclFile, 0)): "UTF-16",
		"topic read " + strings.Repeat("/", 200) + "\n":                "levels",
		strings.Repeat("topic read a\n", RulesFileRules) + "topic b\n": "more than 100000 rules",
	} {
		if _, err := ParseMosquitto("acl", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80q: %v, want %s", text, err, want)
		}
	}
}

// A file that was cut is refused, unless it was between two lines and does not say how it ends.
func TestMosquittoCut(t *testing.T) {
	t.Parallel()
	text := strings.Replace(aclFile, "topic foo/bar baz", "topic foo/bar", 1)
	marked := "# end required\n" + text + "# end\n"
	for _, text := range []string{text, marked, strings.ReplaceAll(marked, "\n", "\r\n"), "\uFEFF" + marked} {
		for n := range len(text) {
			between := n > 0 && text[n-1] == '\n' && !strings.Contains(text, "required")
			if _, err := ParseMosquitto("acl", []byte(text[:n])); (err == nil) != between {
				t.Errorf("cut at %d of %d: %v", n, len(text), err)
			}
		}
		if _, err := ParseMosquitto("acl", []byte(text)); err != nil {
			t.Error(err)
		}
	}
}

// aclOracle is the algorithm of Mosquitto 2 (mosquitto_acl_check_default and add__acl of its
// security_default.c), on the lines of a file that is in order.
type aclOracle struct {
	users    map[string][]aclEntry // "": those without a user name
	patterns []aclEntry
}

// wildcards writes a filter as matchesNaively takes it.
var wildcards = strings.NewReplacer("+", "\x00+", "#", "\x00#")

type aclEntry struct{ access, topic string }

func newACLOracle(text string) *aclOracle {
	o, user := &aclOracle{users: map[string][]aclEntry{}}, ""
	add := func(list []aclEntry, e aclEntry) []aclEntry {
		if e.access == "deny" {
			return append([]aclEntry{e}, list...)
		}
		return append(list, e)
	}
	for line := range strings.Lines(text) {
		words := strings.SplitN(strings.TrimRight(line, "\r\n"), " ", 3)
		if len(words) == 2 && words[0] != "user" {
			words = []string{words[0], "readwrite", words[1]}
		}
		switch words[0] {
		case "user":
			user = words[1]
		case "topic":
			o.users[user] = add(o.users[user], aclEntry{words[1], words[2]})
		case "pattern":
			o.patterns = add(o.patterns, aclEntry{words[1], words[2]})
		}
	}
	return o
}

// check says whether the Client may do access, read or write, on a topic.
func (o *aclOracle) check(user, client, topic, access string) bool {
	ask := func(list []aclEntry, fill func(string) (string, bool)) (allowed, done bool) {
		for _, e := range list {
			filter, ok := fill(e.topic)
			switch {
			case !ok || !matchesNaively(wildcards.Replace(filter), topic):
			case e.access == "deny":
				return false, true
			case e.access == access || e.access == "readwrite":
				return true, true
			}
		}
		return false, false
	}
	if allowed, done := ask(o.users[user], func(topic string) (string, bool) { return topic, true }); done {
		return allowed
	}
	if strings.ContainsAny(user+client, "+#") {
		return false
	}
	allowed, _ := ask(o.patterns, func(topic string) (string, bool) {
		if user == "" {
			return strings.ReplaceAll(topic, "%c", client), !strings.Contains(topic, "%u")
		}
		return strings.NewReplacer("%c", client, "%u", user).Replace(topic), true
	})
	return allowed
}

func randomACL(rng *rand.Rand) string {
	var b strings.Builder
	for range 1 + rng.IntN(8) {
		word := oneOf(rng, "user", "topic", "topic", "pattern", "pattern")
		if word == "user" {
			b.WriteString("user " + oneOf(rng, "a", "b", "a/b", "$x", "+", "%c") + "\n")
			continue
		}
		filter := oneOf(rng, "", "#", "a/#", "+/+")
		for (&Rule{Actions: Publish, Filter: escapePercent(filter, true)}).Check() != nil {
			filter = randomFilter(rng, 2, true)
		}
		b.WriteString(word + " " + oneOf(rng, "", "read ", "write ", "readwrite ", "deny ") + filter + "\n")
	}
	return b.String()
}

// TestMosquittoOracle compares what the Rules of random files say with what Mosquitto does.
func TestMosquittoOracle(t *testing.T) {
	t.Parallel()
	rng := seeded(t)
	allowed, cases := 0, *oracleCases
	for n := 0; n < cases; {
		text := randomACL(rng)
		rules, err := ParseMosquitto("acl", []byte(text))
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		p, acl := NewPolicy(rules), newACLOracle(text)
		user, client := oneOf(rng, oracleNames...), oneOf(rng, slices.DeleteFunc(slices.Clone(oracleNames), func(s string) bool { return s == "" })...)
		s := NewSubject(&Identity{User: user}, client)
		mayReadSome := false
		filter := randomFilter(rng, 3, false)
		for range 20 {
			topic := randomTopic(rng)
			r := Request{Action: Receive, Topic: topic, QoS: codec.QoS(rng.IntN(3)), Retain: rng.IntN(2) == 0}
			access := "read"
			if rng.IntN(2) == 0 {
				r.Action, access = Publish, "write"
			}
			want := acl.check(user, client, topic, access)
			if d := p.Decide(s, r); d.Allowed != want {
				t.Fatalf("user %q, client %q, %s: %+v, Mosquitto says %v:\n%s\n%s", user, client, r, d, want, text, listed(rules))
			}
			if n++; want {
				allowed++
			}
			// What may be read may be subscribed to, by its name and by what it matches.
			if want && access == "read" {
				mayReadSome = mayReadSome || matchesNaively(wildcards.Replace(filter), topic)
				if d := p.Decide(s, Request{Action: Subscribe, Topic: topic}); !d.Allowed {
					t.Fatalf("user %q, client %q may not subscribe to %q, but read it:\n%s", user, client, topic, text)
				}
			}
		}
		if d := p.Decide(s, Request{Action: Subscribe, Topic: filter}); mayReadSome && !d.Allowed {
			t.Fatalf("user %q, client %q may not subscribe to %q, but read some of it:\n%s", user, client, filter, text)
		}
	}
	if allowed < cases/32 || allowed > cases*31/32 {
		t.Errorf("%d of %d cases are allowed: they are not worth much", allowed, cases)
	}
	t.Logf("%d cases, %d allowed", cases, allowed)
}

// FuzzMosquitto: what is read are Rules that can be written, and a part of it is refused unless it ends with
// a line.
func FuzzMosquitto(f *testing.F) {
	f.Add([]byte(aclFile), uint16(100))
	f.Add([]byte("# end required\ntopic a\npattern deny %%u/%c/#\n# end\n"), uint16(20))
	f.Add(utf16Bytes(aclFile, 0), uint16(0))
	f.Fuzz(func(t *testing.T, data []byte, cut uint16) {
		rules, err := ParseMosquitto("f", data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f:") {
				t.Fatalf("the error does not say where: %v", err)
			}
			return
		}
		for _, rule := range rules {
			where := rule.Where
			rule.Where = ""
			if again, err := ParseRule(rule.String()); err != nil || again != rule {
				t.Fatalf("%s: %+v is written as %s: %v", where, rule, rule, err)
			}
		}
		if int(cut) < len(data) && cut > 0 && data[cut-1] != '\n' {
			if _, err := ParseMosquitto("f", data[:cut]); err == nil {
				t.Fatalf("%q is read when it is cut at %d", data, cut)
			}
		}
	})
}
