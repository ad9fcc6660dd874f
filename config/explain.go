package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/x0a1b/promptmq/broker/inspect"
)

// What a change of a key needs.
const (
	changeByReload  = "reload"
	changeByRestart = "restart"
)

// Explain returns what there is to know about a key, without a value: by its path, flag, or
// variable; of a section all keys, of server.listeners those of its entries too; of "" all. Its
// error says which key may have been meant.
func Explain(name string) ([]inspect.Setting, error) {
	c := Default()
	var found []inspect.Setting
	for i := range keys {
		k := &keys[i]
		if name == "" || name == k.path || strings.HasPrefix(k.path, name+".") || strings.TrimPrefix(name, "--") == k.flag() || name == k.variable() {
			found = append(found, c.explain(k))
		}
	}
	switch entry, isEntry := entryKey(name); {
	case len(found) == 0 && isWithoutEffect(section(name)):
		return nil, fmt.Errorf("%s: %s", name, NoCluster)
	case name == listenersPath:
		return append(found, explainListeners("")...), nil
	case isEntry && listenerKeyOf(entry) != nil:
		return explainListeners(entry), nil
	case isEntry:
		return nil, fmt.Errorf("%s.%s: %s", listenersPath, entry, unknownListenerKey(entry))
	case len(found) == 0:
		return nil, fmt.Errorf("%s: %s", name, unknownName(name))
	}
	return found, nil
}

// entryOf matches a key of an entry of server.listeners, however the entry is named.
var entryOf = regexp.MustCompile(`^` + regexp.QuoteMeta(listenersPath) + `(?:\[[^\]]*\])?\.(.+)$`)

func entryKey(name string) (key string, is bool) {
	m := entryOf.FindStringSubmatch(name)
	if m == nil {
		return "", false
	}
	return m[1], true
}

// unknownName is unknownKey for what may be a flag or a variable too.
func unknownName(name string) string {
	var names []string
	pick := (*key).flag
	if strings.HasPrefix(name, variablePrefix) {
		pick = (*key).variable
	}
	for i := range keys {
		names = append(names, pick(&keys[i]))
	}
	if near := nearest(strings.TrimPrefix(name, "--"), names); near != "" && !strings.Contains(name, ".") && len(childrenOf(name)) == 0 && nearest(name, childrenOf("")) == "" {
		return "unknown key; did you mean " + near + "?"
	}
	return unknownKey(name)
}

// ChangeText says what a change of a key needs.
func ChangeText(s *inspect.Setting) string {
	text := "needs a restart"
	if s.Change == changeByReload {
		text = "taken over by a reload"
	}
	if s.Detail != "" {
		text += "; " + s.Detail
	}
	return text
}

func (c *Config) explain(k *key) inspect.Setting {
	s := inspect.Setting{
		Key: k.path, Help: k.help, Default: c.text(k), Unit: unitOf(k.kind), Allowed: k.kind.allowed(),
		Flag: "--" + k.flag(), Variable: k.variable(), Change: changeByRestart,
	}
	if k.path == listenersPath {
		s.Detail = "but entries more or less need a restart, as do " + strings.Join(fixed, ", ") + " of one"
	}
	if k.path == listenersPath || slices.Contains(whileRunning, k.path) {
		s.Change = changeByReload
	}
	return s
}

// explainListeners returns a key of the entries of server.listeners; "": all.
func explainListeners(name string) (found []inspect.Setting) {
	l := defaultListener()
	for _, k := range listenerKeys {
		if name != "" && name != k.name {
			continue
		}
		s := inspect.Setting{
			Key: listenersPath + "." + k.name, Help: k.help, Default: k.kind.format(k.field(l)), Unit: unitOf(k.kind), Allowed: k.kind.allowed(),
			Kinds: k.of, Change: changeByReload,
		}
		if slices.Contains(fixed, k.name) || k.name == "name" { // another name is another entry
			s.Change = changeByRestart
		}
		found = append(found, s)
	}
	return found
}

// unitOf is what a number counts, or how a duration is written; "": it is neither.
func unitOf(k kind) string {
	switch k := k.(type) {
	case measured:
		return k.unit
	case duration, offOr:
		return "ns, us, ms, s, m or h, behind each number"
	}
	return ""
}

// Settings returns every key with its value and where that comes from. Of a value that may have a
// secret in it there is the reference, if it is one, and else what is not secret.
func (c *Config) Settings() []inspect.Setting {
	all := make([]inspect.Setting, len(keys))
	defaults := Default()
	for i := range keys {
		k := &keys[i]
		all[i] = defaults.explain(k)
		is := c.shown(k)
		all[i].Value, all[i].Source = is.value, is.source
		if next, waits := c.waiting[k.path]; waits {
			all[i].Waiting, all[i].WaitingSource = new(next.value), next.source
			if c.origins[k.path].Line > 0 { // where another value stands by now
				all[i].Source += ", before it was changed"
			}
		}
	}
	return all
}

// shown is the value of k and its source, without secrets.
func (c *Config) shown(k *key) shownValue {
	is := shownValue{c.text(k), c.origins[k.path].String()}
	if mayBeSecret(k.kind) {
		is.value = withoutSecret(is.value)
		if written, found := c.references[k.path]; found {
			is.value = written
		}
	}
	return is
}

// withoutSecret is a URL without its query, which may have a key in it.
func withoutSecret(text string) string {
	before, _, found := strings.Cut(text, "?")
	if found {
		before += "?(hidden)"
	}
	return before
}
