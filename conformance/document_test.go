package conformance

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// render makes docs/conformance.md from a run.
func render(list []*statement, all []result) ([]byte, error) {
	version, err := productVersion()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString("# Conformance\n\n<!-- Made by make conformance-report from a run of the suite; do not edit. -->\n\n")
	b.WriteString("What PromptMQ does about each normative statement of MQTT 5 and MQTT 3.1.1 that binds a server. Every test runs against the\n" +
		"real binary over its sockets; the same suite runs against any broker: see [the package](../conformance/doc.go).\n\n")
	fmt.Fprintf(&b, "- Version: %s\n- Date: %s\n", version, time.Now().UTC().Format(time.DateOnly))
	for _, v := range []codec.Version{codec.Version5, codec.Version311} {
		fmt.Fprintf(&b, "- MQTT %v: %s\n", v, statementCounts(list, all, v))
	}
	beyondCount, failedCount := beyondCounts(all)
	fmt.Fprintf(&b, "- Beyond the statements, what users' tools rely on: %d tests, %d fail\n", beyondCount, failedCount)
	b.WriteString("\n## Not observable\n\nThese statements bind a server, but no test can see from outside whether it keeps them.\n\n| version | statement | what it says | why no test can tell |\n|---|---|---|---|\n")
	for _, s := range list {
		if s.bindsServer() && s.reason != "" {
			fmt.Fprintf(&b, "| %v | %s | %s | %s |\n", s.version, s.id, cell(s.text), cell(s.reason))
		}
	}
	for _, v := range []codec.Version{codec.Version5, codec.Version311} {
		fmt.Fprintf(&b, "\n## MQTT %v\n\n| statement | result | what it says, in our words | tests |\n|---|---|---|---|\n", v)
		for _, s := range list {
			if s.version == v && s.bindsServer() {
				fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", s.id, outcome(s, all), cell(s.text), strings.Join(s.tests, ", "))
			}
		}
	}
	b.WriteString("\n## Beyond the statements\n\n| test | version | result |\n|---|---|---|\n")
	for _, r := range all {
		if len(r.Statements) == 0 {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", r.Test, r.Version, r.Status)
		}
	}
	return b.Bytes(), nil
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

func statementCounts(list []*statement, all []result, v codec.Version) string {
	total, bind, n := 0, 0, map[status]int{}
	for _, s := range list {
		if s.version != v {
			continue
		}
		total++
		if s.bindsServer() {
			bind++
			n[outcome(s, all)]++
		}
	}
	text := fmt.Sprintf("%d statements, %d bind a server:", total, bind)
	for _, s := range []status{passed, failed, notOffered, notRun, notObservable} {
		text += fmt.Sprintf(" %d %s,", n[s], s)
	}
	return strings.TrimSuffix(text, ",")
}

func beyondCounts(all []result) (tests, fails int) {
	for _, r := range all {
		if len(r.Statements) == 0 {
			tests++
			if r.Status == failed {
				fails++
			}
		}
	}
	return tests, fails
}

// productVersion asks the binary that was tested.
func productVersion() (string, error) {
	path, err := promptmqPath()
	if err != nil {
		return "", err
	}
	out, err := exec.Command(path, "version").Output()
	if err != nil {
		return "", err
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(first), nil
}
