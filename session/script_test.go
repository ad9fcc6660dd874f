package session_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite what the scripts in testdata expect")

// A script in testdata is a file of lines: a comment ("#", and the first says
// what the script pins), nothing, a step, or, indented below its step, what the
// step makes the Session do. A step is a word and its arguments:
//
//	connect expiry=1h receive-maximum=2
//	deliver a qos=2
//	  store 1: a qos=2
//	  write state
//	  send PUBLISH a qos=2 id=1, after commit
//	  queue 1
//
// TestScript runs the steps and compares; -update rewrites the indented lines.
// All steps are listed in script_steps_test.go.
const indent = "  "

func TestScript(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatal("no scripts: ", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got, err := runScript(string(b))
			if err != nil {
				t.Fatalf("%s:%v", path, err)
			}
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
					t.Fatal(err)
				}
				return
			}
			if difference := firstDifference(string(b), got); difference != "" {
				t.Errorf("%s:%s", path, difference)
			}
		})
	}
}

// runScript returns the script with what its steps did. An error begins with the
// number of its line.
func runScript(script string) (string, error) {
	if !strings.HasPrefix(script, "# ") {
		return "", fmt.Errorf("1: a script begins with a comment that says what it pins")
	}
	if !strings.HasSuffix(script, "\n") {
		return "", fmt.Errorf("%d: no newline at the end", strings.Count(script, "\n")+1)
	}
	w := newWorld()
	var out strings.Builder
	for i, line := range strings.Split(strings.TrimSuffix(script, "\n"), "\n") {
		if strings.HasPrefix(line, indent) {
			continue
		}
		out.WriteString(line + "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		did, err := w.run(line)
		if err != nil {
			return "", fmt.Errorf("%d: %s: %w", i+1, line, err)
		}
		for _, d := range did {
			out.WriteString(indent + d + "\n")
		}
	}
	return out.String(), nil
}

// firstDifference says where two versions of a script differ, below which step.
func firstDifference(want, got string) string {
	wants, gots := strings.Split(want, "\n"), strings.Split(got, "\n")
	step, number := "", 0
	for i := range max(len(wants), len(gots)) {
		var w, g string
		if i < len(wants) {
			w = wants[i]
		}
		if i < len(gots) {
			g = gots[i]
		}
		if !strings.HasPrefix(w, indent) && w != "" {
			step, number = w, i+1
		}
		if w != g {
			return fmt.Sprintf("%d: below %q\nexpected %q\ngot      %q\nThe whole script gives:\n%s", max(number, 1), step, w, g, got)
		}
	}
	return ""
}

// args are the arguments of a step. What nobody asks for is an error.
type args struct {
	words  []string
	values map[string]string
	err    error
}

func parseArgs(fields []string) (*args, error) {
	a := &args{values: make(map[string]string)}
	for _, f := range fields {
		key, value, named := strings.Cut(f, "=")
		if !named {
			a.words = append(a.words, f)
			continue
		}
		if _, twice := a.values[key]; twice {
			return nil, fmt.Errorf("%s= twice", key)
		}
		a.values[key] = value
	}
	return a, nil
}

// end returns the first error, or one that tells of arguments that are left.
func (a *args) end() error {
	switch {
	case a.err != nil:
		return a.err
	case len(a.words) > 0:
		return fmt.Errorf("unknown argument %q", a.words[0])
	}
	for key := range a.values {
		return fmt.Errorf("unknown argument %s=", key)
	}
	return nil
}

func (a *args) fail(format string, values ...any) {
	if a.err == nil {
		a.err = fmt.Errorf(format, values...)
	}
}

// word takes the first word.
func (a *args) word(what string) string {
	if len(a.words) == 0 {
		a.fail("%s is missing", what)
		return ""
	}
	w := a.words[0]
	a.words = a.words[1:]
	return w
}

// flag reports whether a word is there, and takes it.
func (a *args) flag(name string) bool {
	for i, w := range a.words {
		if w == name {
			a.words = append(a.words[:i:i], a.words[i+1:]...)
			return true
		}
	}
	return false
}

// take takes the value of a name.
func (a *args) take(name string) (value string, ok bool) {
	value, ok = a.values[name]
	delete(a.values, name)
	return value, ok
}

func (a *args) text(name, otherwise string) string {
	if v, ok := a.take(name); ok {
		return v
	}
	return otherwise
}

func (a *args) number(name string, otherwise int) int {
	v, ok := a.take(name)
	if !ok {
		return otherwise
	}
	n, err := strconv.ParseInt(v, 0, 64)
	if err != nil || n < 0 {
		a.fail("%s=%s is no number", name, v)
	}
	return int(n)
}

func (a *args) duration(name string) (d time.Duration, ok bool) {
	v, ok := a.take(name)
	if !ok {
		return 0, false
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 {
		a.fail("%s=%s is no duration", name, v)
	}
	return d, true
}

// TestScriptErrors: a script with a slip of the pen does not pass for one.
func TestScriptErrors(t *testing.T) {
	for script, want := range map[string]string{
		"connect expiry=1h\n":                                "begins with a comment",
		"# pins\nconnect expiry=1h":                          "no newline",
		"# pins\nconect expiry=1h\n":                         "2: conect expiry=1h: unknown step",
		"# pins\nconnect expiri=1h\n":                        "unknown argument expiri=",
		"# pins\nconnect expiry=1h expiry=2h\n":              "expiry= twice",
		"# pins\nconnect later\n":                            `unknown argument "later"`,
		"# pins\nconnect expiry=soon\n":                      "no duration",
		"# pins\nconnect expiry=1h\ndeliver a qos=3\n":       "3: deliver a qos=3",
		"# pins\ndeliver a qos=1\n":                          "no Session",
		"# pins\nconnect expiry=1h\npuback a\n":              "a was not sent",
		"# pins\nconnect expiry=1h\nlimits policy=drop-it\n": "unknown policy",
	} {
		if _, err := runScript(script); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, expected %q", script, err, want)
		}
	}
}
