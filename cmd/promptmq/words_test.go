package main

import (
	"strings"
	"testing"
)

// TestFirstWords: what people type before they know a command.
func TestFirstWords(t *testing.T) {
	unraced(t)
	t.Parallel()
	for _, test := range []struct {
		args, stdout, stderr string
		code                 int
	}{
		{"", "", "promptmq server", exitUsage},
		{"help", "Usage: promptmq <command>", "", 0},
		{"help acl add", "Usage: promptmq acl add", "", 0},
		{"help pub", "Usage: promptmq pub", "", 0},
		{"--version", "promptmq " + release, "", 0},
		{"help nothing", "", "unexpected argument nothing", exitUsage},
	} {
		r := run(t, nil, strings.Fields(test.args)...)
		if r.code != test.code || !strings.HasPrefix(r.stdout, test.stdout) || !strings.Contains(r.stderr, test.stderr) || (test.stdout == "") != (r.stdout == "") {
			t.Errorf("promptmq %s: code %d\n%s%s", test.args, r.code, r.stdout, r.stderr)
		}
	}
}
