package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
)

// apiDocument is what the OpenAPI document has that docs/api.md shows.
type apiDocument struct {
	Paths map[string]map[string]struct {
		Summary, Description string
		Role                 string `json:"x-role"`
		Tags                 []string
		Parameters           []struct {
			Name, In, Description string
			Required              bool
		}
		RequestBody struct {
			Content map[string]struct{ Schema json.RawMessage }
		}
	}
}

// TestAPIDocs: docs/api.md has every operation of the broker as the broker describes it, and its
// examples do what they say. -update writes the list.
func TestAPIDocs(t *testing.T) {
	t.Parallel()
	s := startAPI(t, "", new(http.Client))
	_, text, _ := s.ask("GET", "/api/v1/openapi.json", "viewer", "")
	var doc apiDocument
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	const name, mark = root + "/docs/api.md", "## Operations\n"
	have, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	head, list, found := strings.Cut(string(have), mark)
	want := doc.list()
	if *update {
		if err := os.WriteFile(name, []byte(head+mark+want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if !found || list != want {
		t.Errorf("docs/api.md is not what the broker says: go test ./cmd/promptmq -run TestAPIDocs -update")
	}
	s.examples(head)
	s.stop()
}

// examples runs the lines of a page that begin with a method, as an admin.
func (s *apiServer) examples(text string) {
	s.t.Helper()
	n := 0
	for line := range strings.Lines(text) {
		words := strings.SplitN(strings.TrimSpace(line), " ", 3)
		if len(words) < 2 || !slices.Contains([]string{"GET", "POST", "PUT", "PATCH", "DELETE"}, words[0]) || !strings.HasPrefix(words[1], "/api/") {
			continue
		}
		body := ""
		if len(words) == 3 {
			body = words[2]
		}
		if code, answer, _ := s.ask(words[0], words[1], "admin", body); code >= 300 {
			s.t.Errorf("%s: %d %s", line, code, answer)
		}
		n++
	}
	if n < 5 {
		s.t.Errorf("%d examples", n)
	}
}

// list describes all operations, those of one group together.
func (d *apiDocument) list() string {
	groups := make(map[string][]string)
	for path, methods := range d.Paths {
		for method, o := range methods {
			var b strings.Builder
			fmt.Fprintf(&b, "#### %s %s\n\n%s", strings.ToUpper(method), path, o.Summary)
			if o.Description != "" {
				b.WriteString(" " + o.Description)
			}
			fmt.Fprintf(&b, " Role: %s.\n\n", o.Role)
			for _, p := range o.Parameters {
				if fmt.Fprintf(&b, "- `%s` (%s", p.Name, p.In); p.Required {
					b.WriteString(", required")
				}
				b.WriteString(strings.TrimSuffix("): "+p.Description, ": ") + "\n")
			}
			for kind, c := range o.RequestBody.Content {
				var ref struct {
					Ref string `json:"$ref"`
				}
				if json.Unmarshal(c.Schema, &ref) == nil && ref.Ref != "" {
					fmt.Fprintf(&b, "- body: `%s`, %s of the OpenAPI document\n", kind, ref.Ref[strings.LastIndex(ref.Ref, "/")+1:])
				}
			}
			groups[o.Tags[0]] = append(groups[o.Tags[0]], strings.TrimRight(b.String(), "\n")+"\n")
		}
	}
	var names []string
	for name := range groups {
		names = append(names, name)
	}
	slices.Sort(names)
	var all strings.Builder
	for _, name := range names {
		slices.SortFunc(groups[name], func(a, b string) int {
			_, a, _ = strings.Cut(a, " /")
			_, b, _ = strings.Cut(b, " /")
			return strings.Compare(a, b)
		})
		fmt.Fprintf(&all, "\n### %s\n\n%s", name, strings.Join(groups[name], "\n"))
	}
	return all.String()
}
