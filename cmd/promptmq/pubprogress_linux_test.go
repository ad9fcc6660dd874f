package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPubProgress: on a terminal pub tells how much of a large file is sent, and of a small one nothing.
func TestPubProgress(t *testing.T) {
	unraced(t)
	t.Parallel()
	s := start(t, "mqtt: {max-packet-size: 8000000}")
	file := filepath.Join(t.TempDir(), "payload")
	for size, want := range map[int]string{3_000_000: "\r3.0 of 3.0 MB sent\r\n", 3_000: ""} {
		if err := os.WriteFile(file, bytes.Repeat([]byte("x"), size), 0o600); err != nil {
			t.Fatal(err)
		}
		user, program := openTerminal(t)
		cmd := exec.CommandContext(t.Context(), binary, at(s, "pub", "-t", "a", "-q", "1", "-f", file)...)
		cmd.Env, cmd.Stdin, cmd.Stderr = environ(), program, program
		if err := cmd.Run(); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		_ = program.Close()
		var shown strings.Builder
		_, _ = user.WriteTo(&shown) // ends with an error when the other end is closed
		if got := shown.String(); !strings.HasSuffix(got, want) || want == "" && got != "" {
			t.Errorf("%d bytes: %q is shown", size, got)
		}
	}
}
