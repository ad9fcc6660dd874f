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
	c.writeKeys(out, func(*key) bool { return true }, func(k *key, indent string) {
		fmt.Fprintf(out, "%s# %s\n", indent, k.help)
		fmt.Fprintf(out, "%s# Allowed: %s.\n", indent, k.kind.allowed())
		fmt.Fprintf(out, "%s# From: %v. A change: %s.\n", indent, c.origins[k.path], ChangeText(new(c.explain(k))))
	}, nil)
	fmt.Fprintln(out, fileEnd)
	return out.Flush()
}

// commentWidth is that of the comments of a file that somebody will work on.
const commentWidth = 100

// WriteGiven writes as YAML the keys that a source has given, each with what it is, and the line
// that it came from if it was one of a file: a file to begin with.
func (c *Config) WriteGiven(w io.Writer) error {
	out := bufio.NewWriter(w)
	comment := func(help, indent string) {
		for _, line := range wrapped(help, commentWidth-len(indent)) {
			fmt.Fprintf(out, "%s# %s\n", indent, line)
		}
	}
	c.writeKeys(out, func(k *key) bool { return c.Given(k.path) },
		func(k *key, indent string) {
			comment(k.help, indent)
			writeFrom(out, c.origins[k.path], indent)
		}, comment)
	return out.Flush()
}

// writeFrom says which line of a file a value came from, if it did.
func writeFrom(out io.Writer, from Origin, indent string) {
	if from.Line > 0 {
		fmt.Fprintf(out, "%s# From: %v.\n", indent, from)
	}
}

// wrapped parts a text into lines of so many bytes, unless a word is longer.
func wrapped(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// writeKeys writes those keys that are wanted, with a comment on each. Of listeners there is what
// is given, if ofListener comments on it where it comes first, or else everything.
func (c *Config) writeKeys(out io.Writer, wanted func(*key) bool, comment func(k *key, indent string), ofListener func(help, indent string)) {
	var open []string
	for i := range keys {
		k := &keys[i]
		if !wanted(k) {
			continue
		}
		parts := strings.Split(k.path, ".")
		sections, name := parts[:len(parts)-1], parts[len(parts)-1]
		open = writeSections(out, open, sections)
		indent := strings.Repeat("  ", len(sections))
		comment(k, indent)
		if k.path == listenersPath && len(c.Broker.Listeners) > 0 {
			fmt.Fprintf(out, "%s%s:\n", indent, name)
			c.writeListeners(out, indent, ofListener)
			continue
		}
		fmt.Fprintf(out, "%s%s: %s\n", indent, name, c.yaml(k))
	}
}

func (c *Config) writeListeners(out io.Writer, indent string, comment func(help, indent string)) {
	told := make(map[string]bool)
	for _, e := range c.listeners {
		lead := "- "
		if comment != nil {
			writeFrom(out, e.at, indent)
		}
		eachListenerKey(&e.config, func(k *listenerKey, value string) {
			if _, given := e.origins[k.name]; comment != nil && !given {
				return
			}
			if comment != nil && !told[k.name] {
				comment(k.help, indent+"  ")
				told[k.name] = true
			}
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
