package conformance

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	_ "embed"

	"github.com/x0a1b/promptmq/codec"
)

const statementsFile = "statements.tsv"

//go:embed statements.tsv
var statementsTSV string

// A statement is one row of statements.tsv.
type statement struct {
	version codec.Version
	id      string // MQTT-x.y.z-n, as the specification writes it
	binds   string // server, client or both
	// tests exercise it, reason says why none can; only of those that bind a
	// server, and only one of the two.
	tests  []string
	reason string
	text   string // in our words
}

func (s *statement) bindsServer() bool { return s.binds != "client" }

const statementsHead = "version\tid\tbinds\tobservable\ttests\treason\tstatement"

// readStatements reads statements.tsv, strictly.
func readStatements() ([]*statement, error) {
	lines := strings.Split(strings.TrimSuffix(statementsTSV, "\n"), "\n")
	if lines[0] != statementsHead {
		return nil, fmt.Errorf("%s:1: the head is %q", statementsFile, lines[0])
	}
	var all []*statement
	for i, line := range lines[1:] {
		f := strings.Split(line, "\t")
		if len(f) != 7 {
			return nil, fmt.Errorf("%s:%d: %d columns", statementsFile, i+2, len(f))
		}
		s := &statement{version: codec.Version5, id: f[1], binds: f[2], reason: f[5], text: f[6]}
		if f[0] == "3.1.1" {
			s.version = codec.Version311
		} else if f[0] != "5" {
			return nil, fmt.Errorf("%s:%d: version %q", statementsFile, i+2, f[0])
		}
		if f[4] != "" {
			s.tests = strings.Split(f[4], " ")
		}
		if !slices.Contains([]string{"server", "client", "both"}, s.binds) {
			return nil, fmt.Errorf("%s:%d: binds %q", statementsFile, i+2, s.binds)
		}
		if observable := map[bool]string{true: "yes", false: "no"}[s.reason == ""]; s.bindsServer() && f[3] != observable {
			return nil, fmt.Errorf("%s:%d: observable is %q, yet the reason why not is %q", statementsFile, i+2, f[3], s.reason)
		}
		if s.text == "" {
			return nil, fmt.Errorf("%s:%d: no text", statementsFile, i+2)
		}
		all = append(all, s)
	}
	return all, nil
}

func writeStatements(all []*statement) error {
	var b bytes.Buffer
	b.WriteString(statementsHead + "\n")
	for _, s := range all {
		observable := "yes"
		switch {
		case !s.bindsServer():
			observable = ""
		case s.reason != "":
			observable = "no"
		}
		version := map[codec.Version]string{codec.Version5: "5", codec.Version311: "3.1.1"}[s.version]
		fmt.Fprintf(&b, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", version, s.id, s.binds, observable, strings.Join(s.tests, " "), s.reason, s.text)
	}
	return os.WriteFile(statementsFile, b.Bytes(), 0o644)
}

// citing returns the names of the tests that cite each statement of a version.
func citing(v codec.Version) map[string][]string {
	names := map[string][]string{}
	for i := range tests {
		for _, id := range tests[i].statements(v) {
			if id != beyond {
				names["MQTT-"+id] = append(names["MQTT-"+id], tests[i].name)
			}
		}
	}
	return names
}

// The number of statements of each version, and the most that may have a reason
// instead of a test.
const (
	statementsV5   = 251
	statementsV311 = 136
	reasonsMax     = 24
)

// Each statement that binds a server has a test or a reason, and tests and
// statements.tsv name each other and nothing that does not exist.
func TestStatements(t *testing.T) {
	all, err := readStatements()
	if err != nil {
		t.Fatal(err)
	}
	cited := map[codec.Version]map[string][]string{codec.Version5: citing(codec.Version5), codec.Version311: citing(codec.Version311)}
	if *updateFlag {
		for _, s := range all {
			s.tests = cited[s.version][s.id]
		}
		if err := writeStatements(all); err != nil {
			t.Fatal(err)
		}
	}
	count, reasons, seen := map[codec.Version]int{}, 0, map[string]bool{}
	for _, s := range all {
		name := fmt.Sprintf("%s of MQTT %v", s.id, s.version)
		if seen[name] {
			t.Errorf("%s is listed twice", name)
		}
		seen[name] = true
		count[s.version]++
		if s.reason != "" {
			reasons++
		}
		tests := cited[s.version][s.id]
		delete(cited[s.version], s.id)
		if !slices.Equal(tests, s.tests) {
			t.Errorf("%s: %s lists the tests %q, %q cite it (go test ./conformance -update)", name, statementsFile, s.tests, tests)
		}
		if s.bindsServer() && (len(tests) == 0) == (s.reason == "") {
			t.Errorf("%s binds a server and has %d tests and the reason %q: one or the other", name, len(tests), s.reason)
		}
	}
	for v, rest := range cited {
		for id, names := range rest {
			t.Errorf("%v cite %s of MQTT %v, which does not exist", names, id, v)
		}
	}
	if count[codec.Version5] != statementsV5 || count[codec.Version311] != statementsV311 {
		t.Errorf("%d statements of v5, %d of 3.1.1; there are %d and %d", count[codec.Version5], count[codec.Version311], statementsV5, statementsV311)
	}
	if reasons > reasonsMax {
		t.Errorf("%d statements have a reason instead of a test, at most %d may", reasons, reasonsMax)
	}
}

// Names of tests are unique: a subject and what is tested of it.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range tests {
		if seen[d.name] || strings.Contains(d.name, " ") || strings.Count(d.name, "/") != 1 || d.v5+d.v311 == "" {
			t.Errorf("test %q: not unique, not a name, or without statements", d.name)
		}
		seen[d.name] = true
	}
}
