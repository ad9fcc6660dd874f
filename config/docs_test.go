package config

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/configuration.md anew")

const (
	docsFile  = "../docs/configuration.md"
	docsBegin = "<!-- The rest is made from config/keys.go: go test ./config -run Docs -update -->\n"
)

// The reference in docs/configuration.md is the table of this package.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	head, _, found := strings.Cut(string(text), docsBegin)
	if !found {
		t.Fatalf("%s has no line %q", docsFile, docsBegin)
	}
	want := head + docsBegin + reference()
	if *update {
		if err := os.WriteFile(docsFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(text) != want {
		t.Errorf("%s is stale; run: go test ./config -run Docs -update", docsFile)
	}
}

func reference() string {
	var out strings.Builder
	last := ""
	c := Default()
	for i := range keys {
		k := &keys[i]
		if s := k.path[:strings.LastIndexByte(k.path, '.')]; s != last {
			fmt.Fprintf(&out, "\n## %s\n", s)
			last = s
		}
		fmt.Fprintf(&out, "\n### `%s`\n\n%s\n\n", k.path, k.help)
		s := c.explain(k)
		fmt.Fprintf(&out, "- default: `%s`\n", c.yaml(k))
		if s.Unit != "" {
			fmt.Fprintf(&out, "- unit: %s\n", s.Unit)
		}
		fmt.Fprintf(&out, "- allowed: %s\n- flag `%s`, variable `%s`\n- a change: %s\n", s.Allowed, s.Flag, s.Variable, ChangeText(&s))
		if k.path == listenersPath {
			listenerReference(&out)
		}
	}
	return out.String()
}

func listenerReference(out *strings.Builder) {
	fmt.Fprintf(out, "\nThe keys of an entry:\n\n| key | kinds | default | what it is | allowed | a change |\n|---|---|---|---|---|---|\n")
	l := defaultListener()
	for _, k := range listenerKeys {
		kinds := strings.Join(k.of, ", ")
		if len(k.of) == len(listenerKinds) {
			kinds = "all"
		}
		value := yamlValue(k.kind, k.kind.format(k.field(l)))
		if value == `""` {
			value = ""
		} else {
			value = "`" + value + "`"
		}
		fmt.Fprintf(out, "| `%s` | %s | %s | %s | %s | %s |\n", k.name, kinds, value, k.help, k.kind.allowed(), explainListeners(k.name)[0].Change)
	}
}
