package config

import (
	"slices"
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	for name, want := range map[string]struct {
		keys string // with blanks between them
		err  string
	}{
		"log.level":                         {keys: "log.level"},
		"--log-level":                       {keys: "log.level"},
		"sqlite-cache-size":                 {keys: "storage.sqlite.cache-size"},
		"PROMPTMQ_LOG_LEVEL":                {keys: "log.level"},
		"log":                               {keys: "log.level log.format"},
		"metrics":                           {keys: "metrics.enabled metrics.bind metrics.path"},
		"server.listeners.mode":             {keys: "server.listeners.mode"},
		"server.listeners[0].mode":          {keys: "server.listeners.mode"},
		"server.listeners[local].cert-file": {keys: "server.listeners.cert-file"},
		"log.levl":                          {err: "log.levl: unknown key; did you mean log.level?"},
		"--log-levl":                        {err: "--log-levl: unknown key; did you mean log-level?"},
		"PROMPTMQ_LOG_LEVL":                 {err: "PROMPTMQ_LOG_LEVL: unknown key; did you mean PROMPTMQ_LOG_LEVEL?"},
		"storag":                            {err: "storag: unknown key; did you mean storage?"},
		"max-qos":                           {err: "max-qos: unknown key; did you mean mqtt.max-qos?"},
		"server.listeners.cert":             {err: "server.listeners.cert: unknown key; here are allowed kind, "},
		"server.listeners[0].certfile":      {err: "server.listeners.certfile: unknown key; did you mean cert-file?"},
		"cluster.node-id":                   {err: "cluster.node-id: this version has no cluster"},
	} {
		found, err := Explain(name)
		var names []string
		for _, s := range found {
			names = append(names, s.Key)
		}
		if got := strings.Join(names, " "); got != want.keys {
			t.Errorf("%s: %q", name, got)
		}
		if (err == nil) != (want.err == "") || err != nil && !strings.HasPrefix(err.Error(), want.err) {
			t.Errorf("%s: %v, want %s", name, err, want.err)
		}
	}
	if all, err := Explain(""); err != nil || len(all) != len(keys) {
		t.Errorf("%d of all, %v", len(all), err)
	}
	if all, err := Explain(listenersPath); err != nil || len(all) != 1+len(listenerKeys) {
		t.Errorf("%d of the listeners, %v", len(all), err)
	}
}

// Whoever adds a key to a table learns here what else it needs.
func TestTables(t *testing.T) {
	for i := range keys {
		k := &keys[i]
		if k.kind.scalar() == integerScalar && unitOf(k.kind) == "" {
			t.Errorf("%s: nothing says what the number counts; write unit(\"bytes\", …) around its kind in keys.go", k.path)
		}
		if !strings.HasSuffix(k.help, ".") || len(k.help) < 20 {
			t.Errorf("%s: its help is no sentence: %q", k.path, k.help)
		}
		if strings.Contains(k.help, "](") {
			t.Errorf("%s: a terminal shows a link of Markdown as it is: %q", k.path, k.help)
		}
		if text := Default().text(k); k.path != listenersPath && k.kind.parse(k.field(Default()), text) != nil {
			t.Errorf("%s: its default %q is not allowed", k.path, text)
		}
		for j := range i {
			if keys[j].path == k.path || keys[j].flag() == k.flag() {
				t.Errorf("%s stands twice, or its flag does", k.path)
			}
		}
	}
	for i, path := range whileRunning {
		if slices.Contains(whileRunning[:i], path) {
			t.Errorf("%s stands twice in whileRunning", path)
		}
	}
	for _, name := range fixed {
		if listenerKeyOf(name) == nil {
			t.Errorf("there is no key %s of a listener", name)
		}
	}
	for _, k := range listenerKeys {
		if k.kind.scalar() == integerScalar && unitOf(k.kind) == "" {
			t.Errorf("%s: nothing says what the number counts", k.name)
		}
	}
}
