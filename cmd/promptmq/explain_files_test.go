package main

import (
	"strings"
	"testing"
)

// Rules of the store and of files are asked together, in this order.
func TestExplainFileRules(t *testing.T) {
	unraced(t)
	t.Parallel()
	s, file := rulesServer(t, "rules-file", someRules)
	for topic, where := range map[string]string{"open/a": file + ":2", "other/a": ""} {
		if r := run(t, nil, "acl", "explain", "--data-dir", s.dataDir(), "--client", "c", "publish", topic); !strings.Contains(r.stdout, where) || r.stdout == "" {
			t.Errorf("%s: exit code %d\n%s%s", topic, r.code, r.stdout, r.stderr)
		}
	}
}
