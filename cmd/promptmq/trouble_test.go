package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/codec"
)

// troubleCodes are those of the package trouble.
func troubleCodes(t *testing.T) (codes []string) {
	t.Helper()
	text, err := os.ReadFile(root + "/broker/trouble/trouble.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`= code\("([a-z0-9-]+)"\)`).FindAllStringSubmatch(string(text), -1) {
		codes = append(codes, m[1])
	}
	for r := range 256 { // a name of its own has each reason of the specification
		if r := codec.ReasonCode(r); r >= codec.UnspecifiedError && !strings.HasPrefix(r.String(), "Reason Code") {
			codes = append(codes, trouble.Of(r).Value.String())
		}
	}
	return codes
}

// TestTroubleshooting: docs/troubleshooting.md has an entry for each code, and for no other.
func TestTroubleshooting(t *testing.T) {
	unraced(t)
	t.Parallel()
	text, err := os.ReadFile(root + "/docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	entries := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^### ([a-z0-9-]+)$|<a id="([a-z0-9-]+)">`).FindAllStringSubmatch(string(text), -1) {
		entries[m[1]+m[2]] = true
	}
	for _, code := range troubleCodes(t) {
		if !entries[code] {
			t.Errorf("there is no entry for %s", code)
		}
		delete(entries, code)
	}
	for _, code := range slices.Sorted(maps.Keys(entries)) {
		t.Errorf("the entry %s has a code that there is not", code)
	}
}

// talkative are the methods that write a log line at WARN or above, and those that may.
var (
	talkative      = []string{"Warn", "WarnContext", "Error", "ErrorContext"}
	maybeTalkative = []string{"Log", "LogAttrs", "Line"}
	quietLevels    = regexp.MustCompile(`slog\.Level(Info|Debug)\b|config\.LevelTrace`)
)

// TestLogLinesHaveCodes: whatever writes a line at WARN or above gives it a code.
func TestLogLinesHaveCodes(t *testing.T) {
	unraced(t)
	t.Parallel()
	lines := 0
	for _, p := range sourcePackages(t) {
		if name := p.name(); name == "bench" || name == "conformance" || name == "broker/notice" {
			continue
		}
		for _, name := range p.GoFiles {
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, declared := range file.Decls {
				f, ok := declared.(*ast.FuncDecl)
				if !ok || f.Body == nil {
					continue
				}
				source := sourceOf(t, files, f)
				ast.Inspect(f.Body, func(n ast.Node) bool {
					if call, ok := n.(*ast.CallExpr); ok && mayWarn(t, files, call) {
						lines++
						if !strings.Contains(source, "trouble.") && !strings.Contains(source, "code slog.Attr") && !strings.Contains(source, "codeOf(") {
							t.Errorf("%s: a log line without a code", files.Position(call.Pos()))
						}
					}
					return true
				})
			}
		}
	}
	if lines < 50 {
		t.Errorf("%d lines were looked at", lines)
	}
}

func sourceOf(t *testing.T, files *token.FileSet, n ast.Node) string {
	t.Helper()
	var b bytes.Buffer
	if err := printer.Fprint(&b, files, n); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// mayWarn reports whether a call may write a line at WARN or above.
func mayWarn(t *testing.T, files *token.FileSet, call *ast.CallExpr) bool {
	t.Helper()
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) == 0 {
		return false
	}
	if of, ok := method.X.(*ast.Ident); ok && of.Name == "http" {
		return false
	}
	if slices.Contains(talkative, method.Sel.Name) {
		return true
	}
	return slices.Contains(maybeTalkative, method.Sel.Name) && !quietLevels.MatchString(sourceOf(t, files, call)) &&
		slices.ContainsFunc(call.Args, func(a ast.Expr) bool { return strings.Contains(strings.ToLower(sourceOf(t, files, a)), "level") })
}

// TestCommandsNameCodes: a command that fails for a reason that the page knows says under
// which code, and the broker does in its last line.
func TestCommandsNameCodes(t *testing.T) {
	unraced(t)
	t.Parallel()
	dir := t.TempDir()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, err := net.SplitHostPort(taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, free, err := net.SplitHostPort(freeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "promptmq.db"), []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	for code, args := range map[string][]string{
		"no-broker":          {"status", "--data-dir", t.TempDir()},
		"database-foreign":   {"verify", filepath.Join(dir, "promptmq.db")},
		"broker-unreachable": {"pub", "-h", "127.0.0.1", "-p", free, "-t", "a", "-m", "b"},
		"cannot-listen":      {"server", "--data-dir", t.TempDir(), "--server-bind", "127.0.0.1:" + port, "--server-ws-bind", "", "--metrics-bind", "127.0.0.1:0"},
	} {
		if r := run(t, nil, args...); r.code != 1 || !strings.Contains(r.stderr, `"`+code+`"`) {
			t.Errorf("%s: code %d\n%s", code, r.code, r.stderr)
		}
	}
}
