package main

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

var update = flag.Bool("update", false, "write the second part of docs/commands.md anew")

const (
	commandsPage = "../../docs/commands.md"
	// The second part begins with this line.
	allCommands = "## All commands\n"
)

// elsewhereDocumented are commands whose flags have a page of their own.
var elsewhereDocumented = map[string]string{"server": "configuration.md", "config print": "configuration.md", "doctor": "configuration.md", "dev": "configuration.md", "bench": "performance.md"}

// wordsOf are the words by which a command is called.
func wordsOf(n *kong.Node) (words []string) {
	for ; n.Parent != nil; n = n.Parent {
		words = append([]string{n.Name}, words...)
	}
	return words
}

// commonFlags are those that say which broker.
var commonFlags = []string{"config", "data-dir", "url", "token", "token-file", "ca-file", "help"}

// allDocumented is the second part of the page, from the command line itself.
func allDocumented() string {
	var b strings.Builder
	b.WriteString(allCommands + "\nMade from the command line by `go test ./cmd/promptmq -run CommandsPage -update`. The flags that say which broker are above.\n")
	for _, leaf := range newParser().Model.Leaves(true) {
		words := wordsOf(leaf)
		name := strings.Join(words, " ")
		if page := cmp.Or(elsewhereDocumented[words[0]], elsewhereDocumented[name]); page != "" {
			if words[0] != "bench" {
				fmt.Fprintf(&b, "\n### %s\n\n%s Its flags are in [%s](%s).\n", name, leaf.Help, page, page)
			}
			continue
		}
		fmt.Fprintf(&b, "\n### %s\n\n`promptmq %s`\n\n%s\n", name, name+strings.TrimPrefix(leaf.Summary(), leaf.Path()), leaf.Help)
		writeFlags(&b, leaf)
	}
	return b.String()
}

func writeFlags(b *strings.Builder, leaf *kong.Node) {
	common := strings.Join(commonFlags, " ")
	lines := []string{}
	for _, arg := range leaf.Positional {
		if arg.Help != "" {
			lines = append(lines, fmt.Sprintf("| `%s` | %s |", strings.ReplaceAll(arg.Summary(), "|", `\|`), arg.Help))
		}
	}
	for _, f := range flagsOf(leaf) {
		if !strings.Contains(" "+common+" ", " "+f.Name+" ") {
			lines = append(lines, fmt.Sprintf("| `%s` | %s |", strings.ReplaceAll(f.Summary(), "|", `\|`), strings.ReplaceAll(f.Help, "|", `\|`)))
		}
	}
	if len(lines) > 0 {
		fmt.Fprintf(b, "\n| | |\n|---|---|\n%s\n", strings.Join(lines, "\n"))
	}
}

// TestCommandsPage: docs/commands.md has every command and flag as they are.
func TestCommandsPage(t *testing.T) {
	unraced(t)
	t.Parallel()
	text, err := os.ReadFile(commandsPage)
	if err != nil {
		t.Fatal(err)
	}
	first, second, _ := bytes.Cut(text, []byte(allCommands))
	want := allDocumented()
	if *update {
		if err := os.WriteFile(commandsPage, append(first, want...), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got := allCommands + string(second); got != want {
		t.Errorf("docs/commands.md is not of this command line: go test ./cmd/promptmq -run CommandsPage -update")
	}
}

// TestEveryCommandHasHelp: each command, argument and flag says what it is, in sentences, and
// --help prints it.
func TestEveryCommandHasHelp(t *testing.T) {
	unraced(t)
	t.Parallel()
	for _, leaf := range newParser().Model.Leaves(true) {
		path := strings.Join(wordsOf(leaf), " ")
		for node := leaf; node.Parent != nil; node = node.Parent {
			if node.Help == "" {
				t.Errorf("%s: %s has no help", path, node.Name)
			}
		}
		for _, f := range leaf.Flags {
			if f.Help == "" && f.Name != "help" {
				t.Errorf("%s --%s has no help", path, f.Name)
			}
		}
		for _, arg := range leaf.Positional {
			if arg.Help == "" {
				t.Errorf("%s %s has no help", path, arg.Name)
			}
		}
		var out bytes.Buffer
		parser := newParser()
		ended := -1
		parser.Stdout, parser.Exit = &out, func(code int) { ended = code; panic(parser) }
		func() {
			defer func() { _ = recover() }() // Exit does not return
			_, _ = parser.Parse(append(wordsOf(leaf), "--help"))
		}()
		words := strings.Fields(leaf.Help)
		if ended != 0 || !strings.Contains(strings.Join(strings.Fields(out.String()), " "), strings.Join(words, " ")) {
			t.Errorf("%s --help: code %d\n%s", path, ended, &out)
		}
	}
}
