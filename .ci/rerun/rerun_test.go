package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// said is the outcome of a run that said these events: action, test, output.
func said(t *testing.T, events ...string) *outcome {
	t.Helper()
	var text strings.Builder
	for _, e := range events {
		action, rest, _ := strings.Cut(e, " ")
		name, output, _ := strings.Cut(rest, " ")
		if action == "build-fail" {
			fmt.Fprintf(&text, `{"Action":"build-fail","ImportPath":"p"}`+"\n")
			continue
		}
		fmt.Fprintf(&text, `{"Action":%q,"Package":"p","Test":%q,"Output":%q}`+"\n", action, name, output)
	}
	o, err := read(strings.NewReader(text.String()), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

var (
	passes = []string{"run A", "pass A", "pass"}
	fails  = []string{"run A", "output A a message", "fail A", "fail"}
)

func TestRerun(t *testing.T) {
	many := []string{}
	for i := range failuresMax + 1 {
		many = append(many, fmt.Sprint("run T", i), fmt.Sprint("fail T", i))
	}
	for name, c := range map[string]struct {
		runs  [][]string // what each says
		flaky string
		err   string // part of it
	}{
		"passes":                   {[][]string{passes}, "", ""},
		"passes again":             {[][]string{fails, passes}, "p.A failed 1 of 2 times", ""},
		"passes at last":           {[][]string{fails, fails, passes}, "p.A failed 2 of 3 times", ""},
		"always fails":             {[][]string{fails, fails, fails}, "", "failed 3 times: [p.A]"},
		"one of its parts":         {[][]string{{"run A", "run A/b", "fail A/b", "fail A", "fail"}, passes}, "p.A failed 1 of 2 times", ""},
		"is skipped then":          {[][]string{fails, {"run A", "skip A", "pass"}}, "", "did not run again"},
		"is not there then":        {[][]string{fails, {"pass"}}, "", "did not run again"},
		"a build":                  {[][]string{{"build-fail", "fail"}}, "", "the build of p"},
		"a panic":                  {[][]string{{"run A", "fail A", "output A panic: x", "fail"}}, "", "panic: x"},
		"a panic then":             {[][]string{fails, {"run A", "fail A", "output A panic: x", "fail"}}, "", "panic: x"},
		"words like a panic":       {[][]string{{"run A", "output A     panic: x", "fail A", "fail"}, passes}, "p.A failed 1 of 2 times", ""},
		"a data race":              {[][]string{{"run A", "output A WARNING: DATA RACE", "fail A", "fail"}}, "", "DATA RACE"},
		"a test that does not end": {[][]string{{"run A", "fail A", "run B", "fail"}}, "", "p.B has not ended"},
		"a package without an end": {[][]string{{"run A", "pass A"}}, "", "p has not ended"},
		"none of its tests":        {[][]string{{"run A", "pass A", "fail"}}, "", "none of its tests"},
		"very many":                {[][]string{append(many, "fail")}, "", "none runs again"},
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			flaky, err := rerun(func(...string) (*outcome, error) {
				n++
				return said(t, c.runs[n-1]...), nil
			}, []string{"./..."})
			if n != len(c.runs) || strings.Join(flaky, "; ") != c.flaky {
				t.Errorf("%d runs, flaky: %q", n, flaky)
			}
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("the error is %v, expected %q", err, c.err)
			}
		})
	}
}

// TestShown: the log has what failed, as go test without -v shows it.
func TestShown(t *testing.T) {
	var shown strings.Builder
	o := &outcome{tests: make(map[test]string), packages: make(map[string]*packageOutcome)}
	for _, e := range []string{
		`{"Action":"run","Package":"p","Test":"Good"}`,
		`{"Action":"output","Package":"p","Test":"Good","Output":"a word of one that passes\n"}`,
		`{"Action":"pass","Package":"p","Test":"Good"}`,
		`{"Action":"run","Package":"p","Test":"Bad"}`,
		`{"Action":"output","Package":"p","Test":"Bad","Output":"=== RUN   Bad\n"}`,
		`{"Action":"output","Package":"p","Test":"Bad","Output":"    p_test.go:1: the reason\n"}`,
		`{"Action":"fail","Package":"p","Test":"Bad"}`,
		`{"Action":"output","Package":"p","Output":"FAIL\tp\t1s\n"}`,
		`{"Action":"fail","Package":"p"}`,
		`{"Action":"output","Package":"q","Output":"PASS\n"}`,
		`{"Action":"output","Package":"q","Output":"ok  \tq\t1s\n"}`,
		`{"Action":"pass","Package":"q"}`,
	} {
		o.take(e, &shown)
	}
	if want := "    p_test.go:1: the reason\nFAIL\tp\t1s\nok  \tq\t1s\n"; shown.String() != want {
		t.Errorf("shown:\n%s", shown.String())
	}
	failed, err := o.failed()
	if err != nil || !slices.Equal(failed, []test{{"p", "Bad"}}) {
		t.Errorf("failed: %v, %v", failed, err)
	}
}
