package broker_test

import (
	"slices"
	"strings"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/codec"
)

// An aclIdentity is a Client as the oracle sees it.
type aclIdentity struct {
	user, client string
	groups       []string
	own          []access.Rule // of its token
	gone         bool          // its user does not exist any more
}

// allowed is the oracle: what the rules say, as simple as can be, and with nothing of the
// code that it is about. topic is a Topic Filter if the action is Subscribe.
func (who aclIdentity) allowed(rules []access.Rule, action access.Actions, topic string, qos codec.QoS, retain bool) bool {
	if who.gone {
		return false
	}
	all := append(slices.Clone(who.own), rules...)
	for i := range all {
		if r := &all[i]; who.concerns(r) && r.Actions&action != 0 &&
			(r.Deny || qos <= r.MaxQoS && !(r.NoRetain && retain && action == access.Publish)) {
			if filter, ok := who.filled(r); ok && (action != access.Subscribe && oracleMatches(filter, topic) ||
				action == access.Subscribe && oracleCovers(filter, topic)) {
				return !r.Deny
			}
		}
	}
	return len(all) == 0
}

func (who aclIdentity) concerns(r *access.Rule) bool {
	return (r.User == "" || r.User == who.user) && (r.Client == "" || r.Client == who.client) &&
		(r.Group == "" || slices.Contains(who.groups, r.Group)) && !(r.Nobody && who.user != "")
}

// filled is the filter of the rule with the names put in; wildcards in them become something
// that no topic has.
func (who aclIdentity) filled(r *access.Rule) (filter string, ok bool) {
	filter = r.Filter
	for place, name := range map[string]string{"%u": who.user, "%c": who.client} {
		if strings.Contains(filter, place) {
			if strings.ContainsAny(name, "+#") || place == "%u" && name == "" ||
				!r.Deny && (name == "" || strings.Contains(name, "/") || name[0] == '$' && strings.HasPrefix(filter, place)) {
				return "", false
			}
			filter = strings.ReplaceAll(filter, place, name)
		}
	}
	return filter, true
}

func oracleMatches(filter, topic string) bool {
	f, t := strings.Split(filter, "/"), strings.Split(topic, "/")
	if topic[0] == '$' && (f[0] == "+" || f[0] == "#") {
		return false
	}
	for i := range f {
		if f[i] == "#" {
			return true
		}
		if i >= len(t) || f[i] != "+" && f[i] != t[i] {
			return false
		}
		if i == len(f)-2 && f[i+1] == "#" && len(t) == len(f)-1 {
			return true
		}
	}
	return len(f) == len(t)
}

// oracleCovers tries all topics that could show a difference: of the levels in both filters,
// and one that is in neither, up to one level more than the longer one has.
func oracleCovers(wide, narrow string) bool {
	levels := []string{"other", "$other"}
	for _, l := range append(strings.Split(wide, "/"), strings.Split(narrow, "/")...) {
		if l != "+" && l != "#" && !slices.Contains(levels, l) {
			levels = append(levels, l)
		}
	}
	deepest := max(strings.Count(wide, "/"), strings.Count(narrow, "/")) + 2
	var differs func(topic string, depth int) bool
	differs = func(topic string, depth int) bool {
		if topic != "" && oracleMatches(narrow, topic) && !oracleMatches(wide, topic) {
			return true
		}
		return depth < deepest && slices.ContainsFunc(levels, func(l string) bool {
			if depth > 0 {
				l = topic + "/" + l
			}
			return l != "" && differs(l, depth+1)
		})
	}
	return !differs("", 0)
}
