package main

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "github.com/x0a1b/promptmq"
	root   = "../.."
)

// rule is what the files of a package, tests aside, may import.
type rule struct {
	own       []string // packages of this module
	libraries []string // other modules' packages; those below them too
	// pure packages do no I/O, hold no lock and log nothing.
	pure bool
	// but is what such a package may import all the same.
	but []string
}

// The order of ARCHITECTURE.md: imports point one way.
var rules = map[string]rule{
	"codec":                  {pure: true},
	"topics":                 {pure: true},
	"session":                {pure: true, own: []string{"codec"}},
	"metrics":                {libraries: []string{"github.com/VictoriaMetrics/metrics"}},
	"store":                  {own: []string{"codec", "session"}, libraries: []string{"github.com/ncruces/go-sqlite3"}},
	"broker/access":          {pure: true, own: []string{"codec", "topics"}, libraries: []string{"golang.org/x/crypto", "github.com/xdg-go/stringprep"}, but: []string{"context", "net/netip"}},
	"broker/login":           {own: []string{"broker/access", "broker/control", "broker/notice", "broker/trouble", "codec", "metrics"}, libraries: []string{"github.com/golang-jwt/jwt/v5", "github.com/MicahParks/jwkset", "github.com/xdg-go/scram"}},
	"broker/admin":           {own: []string{"broker/inspect", "broker/trouble"}, libraries: []string{"github.com/danielgtaylor/huma/v2"}},
	"broker/inspect":         {pure: true},
	"cmd/promptmq/doctor":    {own: []string{"broker", "broker/inspect", "broker/link", "broker/memory", "config", "store"}},
	"cmd/promptmq/client":    {own: []string{"codec"}, libraries: []string{"github.com/coder/websocket"}},
	"cmd/promptmq/mosquitto": {own: []string{"broker/access", "codec", "topics"}, libraries: []string{"github.com/ncruces/go-sqlite3"}},
	"terminal":               {libraries: []string{"golang.org/x/term", "golang.org/x/text"}},
	"broker/control":         {own: []string{"codec"}},
	"broker/lock":            {},
	"broker/commit":          {own: []string{"broker/control", "broker/lock", "broker/trouble", "session", "metrics"}},
	"broker/notice":          {own: []string{"metrics"}},
	"broker/trouble":         {own: []string{"codec"}},
	"broker/rate":            {},
	"broker/memory":          {},
	"broker/link":            {own: []string{"broker/rate", "broker/control", "broker/lock", "broker/notice", "broker/trouble", "codec", "metrics"}, libraries: []string{"github.com/coder/websocket", "github.com/pires/go-proxyproto"}},
	"broker":                 {own: []string{"broker/inspect", "broker/memory", "broker/rate", "broker/access", "broker/commit", "broker/control", "broker/lock", "broker/notice", "broker/trouble", "broker/link", "codec", "topics", "session", "metrics"}},
	"config":                 {own: []string{"broker", "broker/inspect", "broker/link", "broker/login", "store"}, libraries: []string{"github.com/alecthomas/kong", "github.com/goccy/go-yaml"}},
	"cmd/promptmq":           {own: []string{"broker/inspect", "broker/memory", "config", "broker", "broker/access", "broker/admin", "broker/control", "broker/link", "broker/login", "broker/notice", "broker/trouble", "codec", "topics", "store", "metrics", "bench", "terminal", "cmd/promptmq/client", "cmd/promptmq/doctor", "cmd/promptmq/mosquitto"}, libraries: []string{"github.com/alecthomas/kong", "github.com/coreos/go-systemd/v22/daemon", "golang.org/x/term"}},
	"conformance":            {own: []string{"codec", "topics", "session", "store", "broker", "metrics", "config"}},
	"bench":                  {own: []string{"codec", "topics", "session", "store", "broker", "metrics", "config"}, libraries: []string{"github.com/coder/websocket"}},
}

// impure are the parts of the standard library that pure packages stay away
// from; the packages below them too, but for sync/atomic, which counts
// references.
var impure = []string{"context", "crypto/rand", "database", "log", "math/rand", "net", "os", "sync", "syscall", "testing"}

// sourcePackage is the part of `go list -json` that the tests read.
type sourcePackage struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
}

func (p sourcePackage) name() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

func sourcePackages(t *testing.T) []sourcePackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Dir,GoFiles,Imports", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var packages []sourcePackage
	for in := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p sourcePackage
		if err := in.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

func within(path string, trees []string) bool {
	return slices.ContainsFunc(trees, func(tree string) bool {
		return path == tree || strings.HasPrefix(path, tree+"/")
	})
}

func TestImportOrder(t *testing.T) {
	t.Parallel()
	for _, p := range sourcePackages(t) {
		rule, known := rules[p.name()]
		if !known {
			t.Errorf("%s: no rule says what it may import", p.ImportPath)
			continue
		}
		for _, path := range p.Imports {
			if why := forbidden(rule, path); why != "" {
				t.Errorf("%s imports %s: %s", p.name(), path, why)
			}
		}
	}
}

// forbidden says why a package with that rule may not import path, or "".
func forbidden(r rule, path string) string {
	if own, ok := strings.CutPrefix(path, module+"/"); ok {
		if !slices.Contains(r.own, own) {
			return "against the import order"
		}
		return ""
	}
	first, _, _ := strings.Cut(path, "/")
	if strings.Contains(first, ".") {
		if !within(path, r.libraries) {
			return "not a library of this package"
		}
		return ""
	}
	if r.pure && path != "sync/atomic" && !slices.Contains(r.but, path) && within(path, impure) {
		return "this package does no I/O and holds no lock"
	}
	return ""
}

// The rules have teeth.
func TestForbidden(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		from, path string
		ok         bool
	}{
		{"codec", "unicode/utf8", true}, {"codec", "net", false}, {"codec", "net/netip", false}, {"session", "sync", false},
		{"session", "sync/atomic", true}, {"session", module + "/codec", true}, {"session", module + "/topics", false},
		{"store", module + "/broker", false}, {"broker/commit", module + "/broker", false}, {"broker/commit", module + "/codec", false}, {"broker", module + "/store", false}, {"store", "github.com/ncruces/go-sqlite3/vfs", true},
		{"broker", "github.com/eclipse/paho.golang/paho", false}, {"conformance", "github.com/eclipse/paho.golang/paho", false},
		{"broker/access", "net/netip", true}, {"broker/access", "net", false}, {"broker/login", module + "/broker/link", false},
		{"metrics", "net/http", true}, {"codec", "github.com/VictoriaMetrics/metrics", false},
	} {
		if why := forbidden(rules[test.from], test.path); (why == "") != test.ok {
			t.Errorf("%s importing %s: %q", test.from, test.path, why)
		}
	}
}

// The pure packages start no goroutine and do not ask for the time.
func TestPurePackagesHaveNoClockAndNoGoroutine(t *testing.T) {
	t.Parallel()
	for _, p := range sourcePackages(t) {
		if !rules[p.name()].pure {
			continue
		}
		files := token.NewFileSet()
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if what := clockOrGoroutine(n); what != "" {
					t.Errorf("%s: %s", files.Position(n.Pos()), what)
				}
				return true
			})
		}
	}
}

func clockOrGoroutine(n ast.Node) string {
	switch n := n.(type) {
	case *ast.GoStmt:
		return "a go statement"
	case *ast.SelectorExpr:
		clock := []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}
		if pkg, ok := n.X.(*ast.Ident); ok && pkg.Name == "time" && slices.Contains(clock, n.Sel.Name) {
			return "time." + n.Sel.Name
		}
	}
	return ""
}

// MQTT clients are for tests alone, in every file whatever its build tags.
func TestClientsOnlyInTests(t *testing.T) {
	t.Parallel()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && path != root {
			if _, other := os.Stat(filepath.Join(path, "go.mod")); other == nil {
				return filepath.SkipDir // a module of its own, as the example programs
			}
		}
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			if name, _ := strconv.Unquote(spec.Path.Value); strings.HasPrefix(name, "github.com/eclipse/paho") {
				t.Errorf("%s imports %s", path, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// No folder is a drawer for what has no name.
func TestNoDrawers(t *testing.T) {
	t.Parallel()
	drawers := []string{"internal", "pkg", "util", "utils", "common", "types", "models"}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		if entry.Name() == ".git" {
			return filepath.SkipDir
		}
		if slices.Contains(drawers, entry.Name()) {
			t.Errorf("folder %s", path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
