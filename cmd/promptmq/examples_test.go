package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// TestCommandExamples runs each example of docs/commands.md, and those of them that list or
// show something with --json too.
func TestCommandExamples(t *testing.T) {
	unraced(t)
	t.Parallel()
	s := start(t, "")
	c := commander{t, s.dataDir()}
	c.add("ann", "secret")
	phone := v5Of(t, s, "phone-17", lasting)
	for i, topic := range []string{"sensors/kitchen/temperature", "sensors/attic/humidity"} {
		phone.publish(codec.Publish{Topic: codec.View(topic), Payload: codec.View("21.5"), QoS: 1, PacketID: uint16(i + 1), Retain: true})
		phone.ack(codec.TypePuback)
	}
	for _, line := range examplesOf(t, "TestCommandExamples") {
		args := wordsOfShell(t, line)
		r := c.withInput("", args[1:]...)
		if args[0] != "promptmq" || r.code != 0 || r.stdout == "" && args[1] != "trace" {
			t.Errorf("%s: code %d\n%s%s", line, r.code, r.stdout, r.stderr)
		}
		if slices.Contains(args, "--json") && !json.Valid([]byte(r.stdout)) {
			t.Errorf("%s is no JSON: %s", line, r.stdout)
		}
		if len(args) > 2 && args[2] == "list" && !slices.Contains(args, "--json") {
			if r := c.withInput("", append(args[1:], "--json")...); r.code != 0 || !json.Valid([]byte(r.stdout)) {
				t.Errorf("with --json %s: code %d\n%s%s", line, r.code, r.stdout, r.stderr)
			}
		}
	}
}

// examplesOf are the lines of the block of commands in docs/commands.md that names a test.
func examplesOf(t *testing.T, test string) (lines []string) {
	t.Helper()
	text, err := os.ReadFile(commandsPage)
	if err != nil {
		t.Fatal(err)
	}
	_, below, _ := strings.Cut(string(text), "\n```sh "+test+"\n")
	block, _, found := strings.Cut(below, "```")
	if !found {
		t.Fatalf("the page has no examples for %s", test)
	}
	for line := range strings.Lines(block) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return lines
}

// wordsOfShell parts a line as a shell does that has single quotes only.
func wordsOfShell(t *testing.T, line string) (words []string) {
	t.Helper()
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	if len(words) < 2 || strings.ContainsAny(line, "\"\\$`") {
		t.Fatalf("line %q", line)
	}
	return words
}
