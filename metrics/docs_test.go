package metrics

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of docs/monitoring.md anew")

const docsFile = "../docs/monitoring.md"

// TestDocsMonitoring: the tables of docs/monitoring.md are those of families.go and process.go.
func TestDocsMonitoring(t *testing.T) {
	text, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	want := string(text)
	for name, families := range map[string]map[string]string{"families.go": help, "process.go": processHelp} {
		begin := fmt.Sprintf("<!-- From metrics/%s: go test ./metrics -run Docs -update -->\n", name)
		before, rest, found := strings.Cut(want, begin)
		_, after, ended := strings.Cut(rest, "<!-- end -->\n")
		if !found || !ended {
			t.Fatalf("%s has no place for the table of %s", docsFile, name)
		}
		want = before + begin + table(families) + "<!-- end -->\n" + after
	}
	if want == string(text) {
		return
	}
	if !*update {
		t.Fatalf("%s is stale; run: go test ./metrics -run Docs -update", docsFile)
	}
	if err := os.WriteFile(docsFile, []byte(want), 0o600); err != nil {
		t.Fatal(err)
	}
}

func table(families map[string]string) string {
	var b strings.Builder
	b.WriteString("\n| metric | meaning |\n|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(families)) {
		fmt.Fprintf(&b, "| `%s` | %s |\n", name, strings.ReplaceAll(families[name], "|", "\\|"))
	}
	b.WriteString("\n")
	return b.String()
}
