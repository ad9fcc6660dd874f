package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// securityRows is how many classes of bugs docs/security.md has.
const securityRows = 42

// A securityRow is a line of the table of docs/security.md.
type securityRow struct {
	class, ids string
	tests      []string // package.Name
}

// named is a test as the table has it.
var named = regexp.MustCompile("^`([a-z0-9/]+)\\.((?:Test|Fuzz)[A-Za-z0-9]+)`$")

// TestSecurityTable: docs/security.md has each class once, in order, and each with tests that
// there are.
func TestSecurityTable(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	packages := map[string]map[string]bool{}
	for i, row := range readSecurityTable(t, string(text)) {
		if row.class == "" || row.ids == "" || len(row.tests) == 0 {
			t.Errorf("row %d: %+v", i+1, row)
		}
		for _, cell := range row.tests {
			m := named.FindStringSubmatch(cell)
			if m == nil {
				t.Errorf("row %d: %q is not `package.Test`", i+1, cell)
				continue
			}
			if packages[m[1]] == nil {
				packages[m[1]] = testsOf(t, m[1])
			}
			if !packages[m[1]][m[2]] {
				t.Errorf("row %d: package %s has no %s", i+1, m[1], m[2])
			}
		}
	}
}

func readSecurityTable(t *testing.T, text string) (rows []securityRow) {
	t.Helper()
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) < 2 || cells[0] != "" {
			continue
		}
		number, err := strconv.Atoi(strings.TrimSpace(cells[1]))
		if err != nil {
			continue // a head, a group, or another table
		}
		if len(cells) != 7 || number != len(rows)+1 {
			t.Fatalf("row %d after %d rows, with %d cells", number, len(rows), len(cells)-2)
		}
		row := securityRow{class: strings.TrimSpace(cells[2]), ids: strings.TrimSpace(cells[3])}
		for name := range strings.SplitSeq(cells[4], ",") {
			row.tests = append(row.tests, strings.TrimSpace(name))
		}
		rows = append(rows, row)
	}
	if len(rows) != securityRows {
		t.Fatalf("%d rows, expected %d", len(rows), securityRows)
	}
	return rows
}

// testsOf are the tests and fuzz targets of a package that `go test` runs without tags.
func testsOf(t *testing.T, pkg string) map[string]bool {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-f", `{{join .TestGoFiles "\n"}}{{"\n"}}{{join .XTestGoFiles "\n"}}`, "./"+pkg)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list ./%s: %v", pkg, err)
	}
	tests := map[string]bool{}
	for _, name := range strings.Fields(string(out)) {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, filepath.FromSlash(pkg), name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && len(f.Type.Params.List) == 1 {
				tests[f.Name.Name] = true
			}
		}
	}
	return tests
}
