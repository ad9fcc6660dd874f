package config

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// WriteYAML writes c as a file that Load reads back to the same settings, with
// a comment on each: what it is, what is allowed, where its value came from.
func (c *Config) WriteYAML(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprintln(out, endRequired)
	var open []string
	for i := range keys {
		k := &keys[i]
		parts := strings.Split(k.path, ".")
		sections, name := parts[:len(parts)-1], parts[len(parts)-1]
		open = writeSections(out, open, sections)
		indent := strings.Repeat("  ", len(sections))
		fmt.Fprintf(out, "%s# %s\n", indent, k.help)
		fmt.Fprintf(out, "%s# Allowed: %s.\n", indent, k.kind.allowed())
		fmt.Fprintf(out, "%s# From: %v. A change: %s.\n", indent, c.origins[k.path], ChangeText(new(c.explain(k))))
		if k.path == listenersPath && len(c.Broker.Listeners) > 0 {
			fmt.Fprintf(out, "%s%s:\n", indent, name)
			c.writeListeners(out, indent)
			continue
		}
		fmt.Fprintf(out, "%s%s: %s\n", indent, name, c.yaml(k))
	}
	fmt.Fprintln(out, fileEnd)
	return out.Flush()
}

func (c *Config) writeListeners(out io.Writer, indent string) {
	for _, e := range c.listeners {
		lead := "- "
		eachListenerKey(&e.config, func(k *listenerKey, value string) {
			if written, found := e.references[k.name]; found {
				value = strconv.Quote(written)
			} else {
				value = escaped(value)
			}
			fmt.Fprintf(out, "%s%s%s: %s\n", indent, lead, k.name, value)
			lead = "  "
		})
	}
}

// writeSections writes the headings that are not yet open, and returns those
// that are now.
func writeSections(out io.Writer, open, want []string) []string {
	for depth, name := range want {
		if depth < len(open) && open[depth] == name {
			continue
		}
		if depth == 0 && open != nil {
			fmt.Fprintln(out)
		}
		fmt.Fprintf(out, "%s%s:\n", strings.Repeat("  ", depth), name)
		open = append([]string(nil), want[:depth+1]...)
	}
	return open
}

// yaml returns the value of k as it is written in the file: a reference, and not what it stands
// for.
func (c *Config) yaml(k *key) string {
	if written, found := c.references[k.path]; found {
		return strconv.Quote(written)
	}
	return escaped(yamlValue(k.kind, c.text(k)))
}

func yamlValue(k kind, text string) string {
	if k.scalar() == stringScalar {
		return strconv.Quote(text)
	}
	return text
}
