package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
)

// pageScripts are all scripts of the page.
func pageScripts(t *testing.T) string {
	t.Helper()
	names, err := filepath.Glob("../../broker/admin/page/*.js")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	var all strings.Builder
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}

// TestPageAsksWhatThereIs: each operation that the page names is one of the API, and lists can
// be sorted as it offers.
func TestPageAsksWhatThereIs(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	c, err := admin.Dial(t.Context(), s.dataDir())
	if err != nil {
		t.Fatal(err)
	}
	api, err := admin.Call[struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}](t.Context(), c, http.MethodGet, "/openapi.json", nil)
	if err != nil {
		t.Fatal(err)
	}
	scripts := pageScripts(t)
	named := regexp.MustCompile(`"(GET|POST|PUT|PATCH|DELETE) (/[^"]*)"`).FindAllStringSubmatch(scripts, -1)
	named = append(named, regexp.MustCompile(`address\("()(/[^"]*)"`).FindAllStringSubmatch(scripts, -1)...)
	if len(named) < 30 {
		t.Fatalf("the page names %d operations", len(named))
	}
	for _, op := range named {
		method := strings.ToLower(op[1])
		if method == "" {
			method = "get"
		}
		if _, found := api.Paths[admin.Prefix+op[2]][method]; !found {
			t.Errorf("the page asks for %s %s, which the API does not have", method, op[2])
		}
	}
	for _, m := range regexp.MustCompile(`sort: "([a-z_]+)"`).FindAllStringSubmatch(scripts, -1) {
		if _, err := admin.Call[inspect.Page[inspect.Client]](t.Context(), c, http.MethodGet, "/clients?order=desc&sort="+m[1], nil); err != nil {
			t.Errorf("sorted by %s: %v", m[1], err)
		}
	}
}
