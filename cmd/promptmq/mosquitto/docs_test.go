package mosquitto

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of docs/migration-from-mosquitto.md anew")

const (
	migrationPage = "../../../docs/migration-from-mosquitto.md"
	tableBegins   = "<!-- options: go test ./cmd/promptmq/mosquitto -run Docs -update -->\n"
	tableEnds     = "<!-- end of options -->\n"
)

// TestDocs: the page has every option with what becomes of it.
func TestDocs(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(migrationPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := bytes.Cut(page, []byte(tableBegins))
	table, after, ends := bytes.Cut(rest, []byte(tableEnds))
	if !found || !ends {
		t.Fatal("the page has no place for the table")
	}
	var b strings.Builder
	b.WriteString("| option | is | here |\n|---|---|---|\n")
	for _, o := range options {
		here := o.here
		if o.unless != "" {
			here += fmt.Sprintf(" (`%s` is taken: it is so)", o.unless)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", o.name, o.outcome, here)
	}
	if *update {
		text := bytes.Join([][]byte{before, []byte(tableBegins), []byte(b.String()), []byte(tableEnds), after}, nil)
		if err := os.WriteFile(migrationPage, text, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(table) != b.String() {
		t.Errorf("%s is not of this table: go test ./cmd/promptmq/mosquitto -run Docs -update", migrationPage)
	}
}
