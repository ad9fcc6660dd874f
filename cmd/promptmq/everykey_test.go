package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/x0a1b/promptmq/broker/inspect"
)

// shownBy has, for each key, the test that shows its effect through the binary. A key is best
// added to settingTests, limitTests, tokenTests or callbackTests, whose tests are known here; one
// with a test of its own stands in the table below, and that test calls shows with the key.
func shownBy(key string) string {
	if _, found := settingTests[key]; found {
		return "TestSettings"
	}
	if _, found := limitTests[key]; found {
		return "TestLimits"
	}
	if _, found := tokenTests[key]; found {
		return "TestTokenSettings"
	}
	if _, found := callbackTests[key]; found {
		return "TestCallbackSettings"
	}
	if name, found := strings.CutPrefix(key, "server.listeners."); found && listenerTests[name] != nil {
		return "TestListenerSettings"
	}
	return shownAlone[key]
}

var shownAlone = map[string]string{
	"log.level": "TestLogLevel", "log.format": "TestLogFormat",
	"storage.data-dir": "TestLogSaysWhere", "storage.max-size": "TestMaxSize",
	"storage.sqlite.cache-size": "TestPragmas", "storage.sqlite.temp-store": "TestPragmas", "storage.sqlite.mmap-size": "TestPragmas",
	"storage.sqlite.busy-timeout": "TestPragmas", "storage.sqlite.synchronous": "TestPragmas", "storage.sqlite.journal-mode": "TestPragmas",
	"storage.sqlite.foreign-keys": "TestPragmas",
	"metrics.enabled":             "TestListenersOff", "metrics.bind": "TestBindMeansWhatItSays", "metrics.path": "TestMetricsPath",
	"admin.bind": "TestAPIAuthorisation", "admin.tokens-file": "TestAPIAuthorisation", "admin.tls-cert": "TestAPIOverTLS", "admin.tls-key": "TestAPIOverTLS",
	"auth.jwt.jwks-refresh": "TestTokenSettings",
	"auth.http.url":         "TestCallbackSettings", "auth.http.ca-file": "TestCallbackSettings", "auth.http.timeout": "TestCallbackSettings",
	"auth.http.max-concurrent": "TestCallbackSettings", "auth.http.breaker-pause": "TestCallbackSettings",
}

// ran has what became of the tests that called shows.
var ran = struct {
	sync.Mutex
	shown, skipped map[string]bool
}{shown: make(map[string]bool), skipped: make(map[string]bool)}

// shows notes that a test shows the effect of keys, if it passes.
func shows(t *testing.T, keys ...string) {
	t.Helper()
	t.Cleanup(func() {
		ran.Lock()
		defer ran.Unlock()
		for _, key := range keys {
			ran.shown[key] = ran.shown[key] || !t.Failed() && !t.Skipped()
			ran.skipped[key] = ran.skipped[key] || t.Skipped()
		}
	})
}

// notShown are keys whose effect no test has shown, when all tests have run and passed.
func notShown(code int) (keys []string) {
	for _, name := range []string{"test.run", "test.skip", "test.list"} {
		if flag.Lookup(name).Value.String() != "" {
			return nil
		}
	}
	if code != 0 || testing.Short() {
		return nil
	}
	for _, s := range allKeys {
		if !ran.shown[s.Key] && !ran.skipped[s.Key] {
			keys = append(keys, s.Key)
		}
	}
	return keys
}

// allKeys are what TestEveryKey found.
var allKeys []inspect.Setting

// explained returns all keys, those of listeners too, as `config explain` says.
func explained(t *testing.T) (all []inspect.Setting) {
	t.Helper()
	for _, args := range [][]string{{}, {"server.listeners"}} {
		var list []inspect.Setting
		r := run(t, nil, append([]string{"config", "explain", "--json"}, args...)...)
		if err := json.Unmarshal([]byte(r.stdout), &list); err != nil {
			t.Fatalf("%v\n%s%s", err, r.stdout, r.stderr)
		}
		for _, s := range list {
			if len(args) == 0 || s.Key != "server.listeners" {
				all = append(all, s)
			}
		}
	}
	return all
}

// TestEveryKey walks over every key of the configuration: it has a test that shows its effect, and
// help, documentation and print have the same default, and say the same of it.
func TestEveryKey(t *testing.T) {
	unraced(t)
	t.Parallel()
	allKeys = explained(t)
	help := strings.Join(strings.Fields(run(t, nil, "server", "--help").stdout), " ")
	docs := documentedKeys(t)
	values, calls := printed(t, nil), showingTests(t)
	known := make(map[string]bool)
	for _, s := range allKeys {
		known[s.Key] = true
		switch test := shownBy(s.Key); {
		case test == "":
			t.Errorf("nothing shows the effect of %s: add a test through the binary to settingTests in settings_test.go (keys of listeners: listenerTests), or call shows(t, %q) in a test and name it in shownAlone", s.Key, s.Key)
		case calls[test] == nil:
			t.Errorf("%s is to be shown by %s, which does not exist, or runs only with a build tag, or does not call shows", s.Key, test)
		case shownAlone[s.Key] == test && !calls[test][s.Key]:
			t.Errorf("%s is to be shown by %s: call shows(t, %q) there", s.Key, test, s.Key)
		}
		if len(s.Kinds) > 0 {
			if want := fmt.Sprintf("| `%s` | ", strings.TrimPrefix(s.Key, "server.listeners.")); !strings.Contains(docs[""], "\n"+want) {
				t.Errorf("%s is not in the table of docs/configuration.md: go test ./config -run Docs -update", s.Key)
			}
			continue
		}
		for _, want := range documented(&s) {
			if !strings.Contains(docs[s.Key], want+"\n") {
				t.Errorf("docs/configuration.md does not say of %s %q: go test ./config -run Docs -update", s.Key, want)
			}
		}
		if values[s.Key] != s.Default && s.Key != "server.listeners" {
			t.Errorf("%s: print has the default %q, explain %q", s.Key, values[s.Key], s.Default)
		}
		if want := helpOf(&s); !strings.Contains(help, want) {
			t.Errorf("server --help does not say %q", want)
		}
	}
	for _, table := range [][]string{slices.Collect(maps.Keys(settingTests)), slices.Collect(maps.Keys(limitTests)), slices.Collect(maps.Keys(shownAlone))} {
		for _, key := range table {
			if !known[key] {
				t.Errorf("there is a test for %s, which is no key", key)
			}
		}
	}
	for name := range listenerTests {
		if !known["server.listeners."+name] {
			t.Errorf("there is a test for %s, which is no key of a listener", name)
		}
	}
}

// helpOf is the end of a flag's help, on one line: its default and its variable.
func helpOf(s *inspect.Setting) string {
	value := s.Default
	switch value {
	case "":
		value = `""`
	case "true":
		value += "; =false for the opposite"
	}
	return strings.Join(strings.Fields(fmt.Sprintf("Default %s ($%s).", value, s.Variable)), " ")
}

// documented are the lines that the reference has of a key.
func documented(s *inspect.Setting) []string {
	lines := []string{s.Help, "- allowed: " + s.Allowed, fmt.Sprintf("- flag `%s`, variable `%s`", s.Flag, s.Variable)}
	if s.Unit != "" {
		lines = append(lines, "- unit: "+s.Unit)
	}
	quoted, bare := fmt.Sprintf("- default: `%q`", s.Default), fmt.Sprintf("- default: `%s`", s.Default)
	if _, err := strconv.ParseInt(s.Default, 10, 64); err == nil || s.Default == "true" || s.Default == "false" || s.Default == "[]" {
		return append(lines, bare)
	}
	return append(lines, quoted)
}

// documentedKeys returns the parts of the reference by key; under "" there is all of it.
func documentedKeys(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]string{"": string(text)}
	for part := range strings.SplitSeq(string(text), "\n### `") {
		if key, rest, found := strings.Cut(part, "`\n"); found {
			parts[key] = rest
		}
	}
	return parts
}

// showingTests are the tests of this package that need no build tag and call shows, with the keys
// that they name there.
func showingTests(t *testing.T) map[string]map[string]bool {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]map[string]bool)
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(string(text), "//go:build outside") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				if keys := shownIn(f); keys != nil {
					found[f.Name.Name] = keys
				}
			}
		}
	}
	return found
}

// shownIn are the keys in the calls of shows in a test; nil: it has no such call.
func shownIn(f *ast.FuncDecl) (keys map[string]bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if name, ok := call.Fun.(*ast.Ident); !ok || name.Name != "shows" {
			return true
		}
		if keys == nil {
			keys = make(map[string]bool)
		}
		for _, arg := range call.Args[1:] {
			if lit, ok := arg.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				key, _ := strconv.Unquote(lit.Value)
				keys[key] = true
			}
		}
		return true
	})
	return keys
}

// The documents name no key that there is not.
func TestDocumentsNameKeys(t *testing.T) {
	unraced(t)
	t.Parallel()
	known := make(map[string]bool)
	for _, s := range explained(t) {
		for path := s.Key; path != ""; path = path[:max(0, strings.LastIndexByte(path, '.'))] {
			known[path] = true
		}
	}
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(files, "../../README.md") {
		if filepath.Base(name) == "decisions.md" { // it has what is gone
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i, part := range strings.Split(string(text), "`") {
			section, _, found := strings.Cut(part, ".")
			if i%2 == 0 || !found || !known[section] || strings.ContainsFunc(part, func(r rune) bool { return r != '.' && r != '-' && (r < 'a' || r > 'z') }) {
				continue
			}
			if !known[part] && !slices.ContainsFunc([]string{".db", ".go", ".sock"}, func(end string) bool { return strings.HasSuffix(part, end) }) {
				t.Errorf("%s: `%s` is no key", name, part)
			}
		}
	}
}
