package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestTake(t *testing.T) {
	for _, path := range whileRunning {
		if keyOf(path) == nil {
			t.Errorf("there is no key %s", path)
		}
	}
	running := Default()
	next, err := Load(Sources{File: write(t, "log: {level: warn, format: console}\nmqtt: {max-sessions: 5}\n")})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // what needs a restart needs it until there is one
		changed, restart := running.Take(next)
		if !slices.Equal(restart, []string{"log.format"}) {
			t.Errorf("needs a restart: %v", restart)
		}
		if running.Log.Level != "warn" || running.Broker.MaxSessions != 5 || running.Log.Format != "auto" {
			t.Errorf("%+v, %d", running.Log, running.Broker.MaxSessions)
		}
		_ = changed
	}
	if changed, restart := running.Take(Default()); !slices.Equal(changed, []string{"log.level", "mqtt.max-sessions"}) || len(restart) > 0 {
		t.Errorf("back: %v, %v", changed, restart)
	}
}

// Files that begin with the line "# end required" are refused when they are cut off, wherever that is.
func TestFileCut(t *testing.T) {
	files, err := filepath.Glob("../examples/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{"listeners": "# end required\n" + oneOfEach + "# end\n"}
	var printed strings.Builder
	if err := Default().WriteYAML(&printed); err != nil {
		t.Fatal(err)
	}
	texts["printed"] = printed.String()
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(text)
	}
	for name, text := range texts {
		if errs := Default().readYAML("F", []byte(text)); len(errs) > 0 {
			t.Errorf("%s: %v", name, errs)
		}
		if !strings.HasPrefix(text, endRequired+"\n") || !strings.HasSuffix(text, "\n"+fileEnd+"\n") {
			t.Errorf("%s is not between its marks", name)
		}
		step := 1 + len(text)/3000
		for n := 1; n < len(text)-1; n += step {
			if errs := Default().readYAML("F", []byte(text[:n])); len(errs) == 0 {
				t.Errorf("%s: accepted without its last %d bytes", name, len(text)-n)
			}
		}
	}
}
