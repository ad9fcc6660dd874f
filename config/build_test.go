package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBuild: what is made of values is written and read back the same, and says where each came
// from; faults say it too.
func TestBuild(t *testing.T) {
	t.Parallel()
	at := Origin{Name: "other.conf", Line: 7}
	c, err := Build([]Value{{"server.bind", "", at}, {"mqtt.max-qos", "1", at}, {"storage.data-dir", "/a ${b}", Origin{Name: "import"}}}, [][]Value{
		{{"kind", "ws", at}, {"address", ":8081", at}, {"origins", "https://a.example", at}}, {{"kind", "unix", at}, {"address", "/run/s", at}, {"name", "local", at}},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "promptmq.yaml")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.WriteGiven(f), f.Close()); err != nil {
		t.Fatal(err)
	}
	again, err := Load(Sources{File: file})
	if err != nil {
		t.Fatal(err)
	}
	for i := range keys {
		if a, b := c.text(&keys[i]), again.text(&keys[i]); a != b {
			t.Errorf("%s: %s, read back %s", keys[i].path, a, b)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil || strings.Count(string(text), "# From: other.conf:7.") != 5 {
		t.Errorf("%v\n%s", err, text)
	}

	_, err = Build([]Value{{"mqtt.max-qos", "3", at}, {"mqtt.maxqos", "1", at}}, [][]Value{{{"kind", "tcp", at}, {"adress", "x", at}}})
	for _, want := range []string{"other.conf:7: mqtt.max-qos", "did you mean mqtt.max-qos?", "did you mean address?"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: no %q", err, want)
		}
	}
}
