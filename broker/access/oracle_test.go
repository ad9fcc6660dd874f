package access

import (
	"flag"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

var (
	oracleSeed  = flag.Uint64("oracle.seed", 0, "seed of the tests against an oracle; 0: another one each time")
	oracleCases = flag.Int("oracle.cases", 100_000, "cases of each test against an oracle")
)

// An oracle says what rules say, by what docs/security.md says, and by trying every topic of a
// small world. In a filter that it has filled, a level that is a wildcard is \x00+ or \x00#.
type oracle struct {
	topics []string
	found  map[string][]uint64 // by filled filter: which of topics match, a bit each
}

// worldLevels are all levels that filters of the tests can come to, and one that none does.
var worldLevels = []string{"", "a", "b", "$x", "aa", "ab", "a$x", "%c", "a%c", "zz"}

func newOracle() *oracle {
	o := &oracle{found: map[string][]uint64{}}
	for grown, depth := worldLevels, 0; depth < 4; depth++ {
		o.topics = append(o.topics, grown...)
		var longer []string
		for _, topic := range grown {
			for _, level := range worldLevels {
				longer = append(longer, topic+"/"+level)
			}
		}
		grown = longer
	}
	o.topics = o.topics[1:] // no Topic Name is empty
	return o
}

func (o *oracle) allowed(rules []Rule, id *Identity, client string, r Request) (bool, int) {
	for i, rule := range rules {
		concerns := rule.Actions&r.Action != 0 && (rule.User == "" || rule.User == id.User) && (rule.Client == "" || rule.Client == client) &&
			(!rule.Nobody || id.User == "") && (rule.Group == "" || slices.Contains(id.Groups, rule.Group))
		fits := rule.Deny || r.QoS <= rule.MaxQoS && !(r.Action == Publish && r.Retain && rule.NoRetain)
		pattern := rule.Mosquitto && rule.User == "" && !rule.Nobody
		if !concerns || !fits || pattern && strings.ContainsAny(id.User+client, "+#") {
			continue
		}
		if filter, ok := fillNaively(rule, id.User, client); ok && o.about(rule, filter, r) {
			return !rule.Deny, i
		}
	}
	return len(rules) == 0, -1
}

func (o *oracle) about(rule Rule, filter string, r Request) bool {
	if r.Action != Subscribe {
		return matchesNaively(filter, r.Topic)
	}
	asked, _ := fillNaively(Rule{Filter: r.Topic}, "", "")
	if rule.Literal {
		return filter == asked
	}
	wide, narrow := o.matching(filter), o.matching(asked)
	all, some := true, false
	for i := range narrow {
		all = all && narrow[i]&^wide[i] == 0
		some = some || narrow[i]&wide[i] != 0
	}
	return rule.Mosquitto && some || !rule.Mosquitto && all
}

func (o *oracle) matching(filter string) []uint64 {
	if o.found[filter] == nil {
		o.found[filter] = make([]uint64, len(o.topics)/64+1)
		for i, topic := range o.topics {
			if matchesNaively(filter, topic) {
				o.found[filter][i/64] |= 1 << (i % 64)
			}
		}
	}
	return o.found[filter]
}

func fillNaively(rule Rule, user, client string) (string, bool) {
	levels := strings.Split(rule.Filter, "/")
	for i, level := range levels {
		if level == "+" || level == "#" {
			levels[i] = "\x00" + level
			continue
		}
		names := strings.ReplaceAll(level, "%%", "")
		filled := strings.NewReplacer("%%", "%", "%u", user, "%c", client).Replace(level)
		empty := strings.Contains(names, "%c") && client == ""
		risky := strings.Contains(filled, "/") || i == 0 && strings.HasPrefix(filled, "$") && level[0] != '$'
		if strings.Contains(names, "%u") && user == "" || !rule.Deny && (empty || risky && !rule.Mosquitto) {
			return "", false
		}
		levels[i] = filled
	}
	return strings.Join(levels, "/"), true
}

func matchesNaively(filter, topic string) bool {
	if topic[0] == '$' && strings.HasPrefix(filter, "\x00") {
		return false
	}
	f, t := strings.Split(filter, "/"), strings.Split(topic, "/")
	for i := range f {
		if f[i] == "\x00#" {
			return len(t) >= i
		}
		if i >= len(t) || f[i] != "\x00+" && f[i] != t[i] {
			return false
		}
	}
	return len(f) == len(t)
}

func oneOf[T any](rng *rand.Rand, of ...T) T { return of[rng.IntN(len(of))] }

// randomFilter has few levels, for the world has topics of four. names: also %u and %c.
func randomFilter(rng *rand.Rand, levelsMax int, names bool) string {
	words := []string{"a", "a", "b", "b", "", "$x", "+", "+"}
	if names {
		words = append(words, "%u", "%u", "%c", "%c", "a%u", "a%c", "%%u", "b%%")
	}
	var levels []string
	for range 1 + rng.IntN(levelsMax) {
		levels = append(levels, oneOf(rng, words...))
	}
	if last := len(levels) - 1; len(levels) == 1 && levels[0] == "" {
		return "a" // no Topic Filter is empty
	} else if rng.IntN(3) == 0 {
		levels[last] = oneOf(rng, "#", levels[last]+"/#")
	}
	return strings.Join(levels, "/")
}

var oracleNames = []string{"a", "a", "b", "b", "", "+", "#", "a/b", "$x", "a+", "%c"}

func randomRule(rng *rand.Rand) Rule {
	for {
		r := Rule{
			Deny: rng.IntN(3) == 0, Nobody: rng.IntN(6) == 0, Actions: 1 + Actions(rng.IntN(7)), Filter: randomFilter(rng, 2, true),
			MaxQoS: codec.QoS(rng.IntN(3)), NoRetain: rng.IntN(3) == 0, Mosquitto: rng.IntN(4) == 0,
		}
		r.Literal = r.Actions == Subscribe && rng.IntN(2) == 0
		switch rng.IntN(6) {
		case 0:
			r.User = oneOf(rng, oracleNames...)
		case 1:
			r.Client = oneOf(rng, oracleNames...)
		case 2:
			r.Group = oneOf(rng, "g", "h")
		}
		if r.Check() == nil && !(r.Mosquitto && strings.Contains(r.Filter, "%%")) {
			return r
		}
	}
}

func randomRules(rng *rand.Rand, most int) (rules []Rule) {
	for range rng.IntN(most + 1) {
		rules = append(rules, randomRule(rng))
	}
	return rules
}

func randomTopic(rng *rand.Rand) string {
	for {
		var levels []string
		for range 1 + rng.IntN(4) {
			levels = append(levels, oneOf(rng, "a", "a", "a", "b", "b", "$x", oneOf(rng, worldLevels...)))
		}
		if topic := strings.Join(levels, "/"); topic != "" {
			return topic
		}
	}
}

// randomRequests are few, and some differ in little.
func randomRequests(rng *rand.Rand) (asked []Request) {
	for range 2 {
		r := Request{Action: Actions(1 << rng.IntN(3)), QoS: codec.QoS(rng.IntN(3)), Retain: rng.IntN(2) == 0}
		if r.Topic = randomTopic(rng); r.Action == Subscribe {
			r.Topic = randomFilter(rng, 3, false)
		}
		asked = append(asked, r)
		r.Retain = !r.Retain
		asked = append(asked, r)
		r.QoS = (r.QoS + 1) % 3
		asked = append(asked, r)
	}
	return asked
}

func seeded(t *testing.T) *rand.Rand {
	seed := *oracleSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-oracle.seed=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// TestOracle has a Subject asked many times, while Policies change, so that what it remembers is
// used; Explain has to agree.
func TestOracle(t *testing.T) {
	t.Parallel()
	rng, o := seeded(t), newOracle()
	allowed, cases := 0, *oracleCases
	for n := 0; n < cases; {
		id := &Identity{User: oneOf(rng, oracleNames...), Groups: [][]string{nil, {"g"}, {"h", "g"}, {"h", "h"}}[rng.IntN(4)]}
		if rng.IntN(4) == 0 {
			id.Rules = randomRules(rng, 2)
		}
		client := oneOf(rng, oracleNames...)
		s := NewSubject(id, client)
		asked := randomRequests(rng)
		for range 2 {
			rules := randomRules(rng, 6)
			p, all := NewPolicy(rules), slices.Concat(id.Rules, rules)
			for range 5 {
				r := oneOf(rng, asked...)
				want, by := o.allowed(all, id, client, r)
				d := p.Decide(s, r)
				explained, lines := Explain(p, s, r)
				if d.Allowed != want || (d.Rule == nil) != (by < 0) || by >= 0 && *d.Rule != all[by] || explained != d ||
					by >= 0 && len(lines) != 2+by {
					t.Fatalf("case %d: user %q of %q, client %q, %s:\nwant %v by rule %d of\n%s\nhave %+v\n%s", n, id.User, id.Groups, client, r,
						want, by, listed(all), d, strings.Join(lines, "\n"))
				}
				if n++; want {
					allowed++
				}
			}
		}
	}
	if allowed < cases/8 || allowed > cases*7/8 {
		t.Errorf("%d of %d cases are allowed: they are not worth much", allowed, cases)
	}
	t.Logf("%d cases, %d allowed", cases, allowed)
}

// TestFilters compares all short Topic Filters with each other.
func TestFilters(t *testing.T) {
	t.Parallel()
	o := newOracle()
	var filters []string
	for grown, depth := []string{""}, 0; depth < 3; depth++ {
		var longer []string
		for _, filter := range grown {
			for _, level := range []string{"", "a", "$x", "+"} {
				longer = append(longer, filter+level+"/")
			}
			filters = append(filters, filter+"#")
		}
		for _, filter := range longer {
			filters = append(filters, strings.TrimSuffix(filter, "/"))
		}
		grown = longer
	}
	filters = slices.DeleteFunc(filters, func(f string) bool { return f == "" })
	for _, a := range filters {
		for _, b := range filters {
			for _, rule := range []Rule{{Filter: a}, {Filter: a, Mosquitto: true}} {
				asked := bound{&rule, a, shapeOf(a)}
				filter, _ := fillNaively(rule, "", "")
				r := Request{Action: Subscribe, Topic: b}
				if got := asked.isAbout(&r) == about; got != o.about(rule, filter, r) {
					t.Errorf("a rule for %q (Mosquitto's: %v) about the filter %q: %v", a, rule.Mosquitto, b, got)
				}
			}
		}
	}
}

func listed(rules []Rule) string {
	var b strings.Builder
	for _, r := range rules {
		b.WriteString(r.String() + "\n")
	}
	return b.String()
}
