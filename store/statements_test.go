package store

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
	"testing"
)

// madeOf are the files in which statements are put together, of words that are in the code or
// settings that are one of a list. Nothing of a client gets into a statement but as a bound
// parameter.
var madeOf = []string{"access.go", "damage.go", "files.go", "pragmas.go", "reading.go", "salvage_rows.go", "salvage_subs.go", "schema.go", "snapshot.go",
	"space.go", "synced.go", "tidy.go", "views_more.go", "views_rows.go", "views_table.go"}

// TestStatementsAreConstant: no statement is put together but in those files, so that one who
// adds such a place has to look at what goes into it.
func TestStatementsAreConstant(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	made, constant := map[string]bool{}, 0
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, e.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "Sprintf" && len(n.Args) > 0 && isStatement(n.Args[0]) {
					made[e.Name()] = true
				}
			case *ast.BinaryExpr:
				if n.Op == token.ADD && (isStatement(n.X) || isStatement(n.Y)) {
					made[e.Name()] = true
				}
			case *ast.BasicLit:
				if isStatement(n) {
					constant++
				}
			}
			return true
		})
	}
	for name := range made {
		if !slices.Contains(madeOf, name) {
			t.Errorf("%s puts a statement together", name)
		}
	}
	if constant < 40 || len(made) < 5 {
		t.Errorf("%d statements, made in %v: the test does not see them", constant, made)
	}
}

// isStatement reports whether an expression is a text, or begins with one, that is a part of SQL.
func isStatement(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BinaryExpr:
		return isStatement(e.X) || isStatement(e.Y)
	case *ast.BasicLit:
		for _, word := range []string{"SELECT ", "INSERT ", "UPDATE ", "DELETE ", "PRAGMA ", " WHERE ", "WHERE ", "CREATE ", "DROP ", "BEGIN"} {
			if e.Kind == token.STRING && strings.Contains(e.Value, word) {
				return true
			}
		}
	}
	return false
}
