package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// A test is a top-level test or, in an event, any test.
type test struct{ pkg, name string }

func (t test) String() string { return t.pkg + "." + t.name }

// An outcome is what one go test said.
type outcome struct {
	tests    map[test]string // what became of each; empty: it was started
	packages map[string]*packageOutcome
	broken   string // why a build failed or the output is none of go test
	ended    error  // the error of go test
}

type packageOutcome struct {
	result string // pass, fail or skip; empty: none was told
	broken string // the line that says that more than a test has failed
	lines  []line
}

type line struct {
	test string
	text string
}

// event is a line of go test -json; see go doc test2json.
type event struct {
	Action, Package, ImportPath, Test, Output string
}

// fatal begins the lines of a process that does not go on, or whose memory cannot
// be trusted. A test's own lines are indented.
var fatal = []string{"panic: ", "fatal error: ", "WARNING: DATA RACE", "*** Test killed", "signal: "}

// read takes the events and shows what go test without -v would.
func read(r io.Reader, out io.Writer) (*outcome, error) {
	o := &outcome{tests: make(map[test]string), packages: make(map[string]*packageOutcome)}
	in := bufio.NewReader(r)
	for {
		text, err := in.ReadString('\n')
		if text != "" {
			o.take(text, out)
		}
		if errors.Is(err, io.EOF) {
			return o, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (o *outcome) take(text string, out io.Writer) {
	var e event
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		o.broken = cmp.Or(o.broken, strings.TrimSpace(text))
		fmt.Fprint(out, text)
		return
	}
	switch e.Action {
	case "build-output":
		fmt.Fprint(out, e.Output)
		return
	case "build-fail":
		o.broken = "the build of " + e.ImportPath
		return
	}
	p := o.packages[e.Package]
	if p == nil {
		p = &packageOutcome{}
		o.packages[e.Package] = p
	}
	t := test{e.Package, e.Test}
	switch e.Action {
	case "output":
		p.lines = append(p.lines, line{e.Test, e.Output})
		for _, f := range fatal {
			if strings.HasPrefix(e.Output, f) {
				p.broken = cmp.Or(p.broken, strings.TrimSpace(e.Output))
			}
		}
	case "run":
		o.tests[t] = ""
	case "pass", "fail", "skip":
		if e.Test != "" {
			o.tests[t] = e.Action
			return
		}
		p.result = e.Action
		o.show(e.Package, out)
	}
}

// show prints what a package said, without what its passed tests said.
func (o *outcome) show(pkg string, out io.Writer) {
	p := o.packages[pkg]
	for _, l := range p.lines {
		if result := o.tests[test{pkg, l.test}]; l.test != "" && (p.result != "fail" || result == "pass" || result == "skip") {
			continue
		}
		if l.text == "PASS\n" || strings.HasPrefix(l.text, "=== ") {
			continue
		}
		fmt.Fprint(out, l.text)
	}
	p.lines = nil
}

// failed returns the top-level tests that failed, or an error if that is not all
// that went wrong.
func (o *outcome) failed() (failed []test, err error) {
	if o.broken != "" {
		return nil, fmt.Errorf("failed: %s", o.broken)
	}
	in := make(map[string]int)
	for t, result := range o.tests {
		switch {
		case result == "" && o.packages[t.pkg].result != "pass": // an unfinished one of a package that passed is the loss of a line
			return nil, fmt.Errorf("%s has not ended", t)
		case result == "fail" && !strings.Contains(t.name, "/"):
			failed = append(failed, t)
			in[t.pkg]++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.packages)) {
		switch p := o.packages[name]; {
		case p.result == "":
			return nil, fmt.Errorf("%s has not ended", name)
		case p.result == "fail" && p.broken != "":
			return nil, fmt.Errorf("%s: %s", name, p.broken)
		case p.result == "fail" && in[name] == 0:
			return nil, fmt.Errorf("%s failed, and none of its tests", name)
		}
	}
	if o.ended != nil && len(failed) == 0 {
		return nil, fmt.Errorf("go test: %w", o.ended)
	}
	slices.SortFunc(failed, func(a, b test) int { return cmp.Compare(a.String(), b.String()) })
	return failed, nil
}
