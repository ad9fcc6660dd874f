package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// ranges has for every number and duration the lowest and the highest value that
// are allowed, and those next to them that are not. Those of mqtt that go into
// packets are bounded by the fields that hold them.
var ranges = map[string]struct{ lowest, highest, below, above string }{
	"server.connect-timeout":          {`"10ms"`, `"1h"`, `"9ms"`, `"1h0m1s"`},
	"server.ws-ping-interval":         {`"0s"`, `"1h"`, `"999ms"`, `"1h0m1s"`},
	"server.read-timeout":             {`"10ms"`, `"1h"`, `"9ms"`, `"1h0m1s"`},
	"server.read-rate-min":            {"1", "1073741824", "0", "1073741825"},
	"server.write-timeout":            {`"10ms"`, `"1h"`, `"9ms"`, `"1h0m1s"`},
	"server.read-buffer":              {"512", "1048576", "511", "1048577"},
	"server.write-buffer":             {"512", "1048576", "511", "1048577"},
	"server.shutdown-rate":            {"0", "1000000", "199", "1000001"},
	"mqtt.max-qos":                    {"0", "2", "-1", "3"},
	"mqtt.max-connections":            {"1", "10000000", "0", "10000001"},
	"mqtt.max-inflight":               {"1", "65535", "0", "65536"}, // Packet Identifiers, which are not 0
	"mqtt.receive-maximum":            {"1", "65535", "0", "65536"}, // section 3.2.2.3.3
	"mqtt.keep-alive":                 {"0", "65535", "-1", "65536"},
	"mqtt.max-packet-size":            {"512", "268435455", "511", "268435456"}, // section 2.1.4
	"mqtt.topic-alias-maximum":        {"0", "65535", "-1", "65536"},
	"mqtt.max-topic-levels":           {"1", "1024", "0", "1025"},
	"mqtt.max-subscriptions":          {"1", "10000000", "0", "10000001"},
	"mqtt.max-sessions":               {"1", "100000000", "0", "100000001"},
	"mqtt.max-queued-messages":        {"1", "1000000000", "0", "1000000001"},
	"mqtt.max-queued-bytes":           {"1024", "1125899906842624", "1023", "1125899906842625"},
	"mqtt.max-session-expiry":         {"0", "4294967295", "-1", "4294967296"}, // section 3.1.2.11.2
	"mqtt.will-grace":                 {`"0s"`, `"1h"`, `"-1s"`, `"1h0m1s"`},
	"mqtt.max-retained-messages":      {"1", "1000000000", "0", "1000000001"},
	"mqtt.max-retained-bytes":         {"1024", "1125899906842624", "1023", "1125899906842625"},
	"auth.remember-password":          {`"0s"`, `"24h"`, `"999ms"`, `"24h0m1s"`},
	"auth.backoff-max":                {`"0s"`, `"1h"`, `"999ms"`, `"1h0m1s"`},
	"auth.hashing.workers":            {"0", "256", "-1", "257"},
	"auth.hashing.waiting":            {"4", "100000", "3", "100001"},
	"auth.ban.failures":               {"0", "1000000", "2", "1000001"},
	"auth.ban.window":                 {`"1s"`, `"24h"`, `"999ms"`, `"24h0m1s"`},
	"auth.ban.time":                   {`"1s"`, `"720h"`, `"999ms"`, `"720h0m1s"`},
	"storage.max-size":                {"0", "1125899906842624", "1048575", "1125899906842625"},
	"storage.cleanup.check-interval":  {`"100ms"`, `"8760h"`, `"99ms"`, `"8760h0m1s"`},
	"storage.cleanup.max-message-age": {`"0s"`, `"87600h"`, `"-1s"`, `"87600h0m1s"`},
	"storage.cleanup.batch-size":      {"1", "1000000", "0", "1000001"},
	"storage.sqlite.cache-size":       {"-67108864", "67108864", "-67108865", "67108865"},
	"storage.sqlite.mmap-size":        {"0", "1099511627776", "-1", "1099511627777"},
	"storage.sqlite.busy-timeout":     {"0", "3600000", "-1", "3600001"},

	"mqtt.sys-interval":                  {"0s", "1h0m0s", "999ms", "1h0m1s"},
	"mqtt.max-user-properties":           {"0", "1000000", "-1", "1000001"},
	"limits.memory":                      {"-1", "1125899906842624", "33554431", "1125899906842625"},
	"limits.connection-rate":             {"0", "10000000", "-1", "10000001"},
	"limits.connection-rate-per-address": {"0", "10000000", "-1", "10000001"},
	"limits.message-rate":                {"0", "10000000", "-1", "10000001"},
	"limits.byte-rate":                   {"0", "1099511627776", "1023", "1099511627777"},
	"limits.sessions-per-user":           {"0", "100000000", "-1", "100000001"},
	"limits.retained-messages-per-user":  {"0", "1000000000", "-1", "1000000001"},
	"limits.retained-bytes-per-user":     {"0", "1125899906842624", "1023", "1125899906842625"},
}

// inLines writes values by path as YAML and returns the line of each.
func inLines(value func(path string) string) (text string, lines map[string]int) {
	var out strings.Builder
	lines = make(map[string]int)
	line := 0
	put := func(depth int, text string) {
		line++
		fmt.Fprintf(&out, "%s%s\n", strings.Repeat("  ", depth), text)
	}
	var open []string
	for _, path := range slices.Sorted(maps.Keys(ranges)) {
		parts := strings.Split(path, ".")
		sections, name := parts[:len(parts)-1], parts[len(parts)-1]
		for depth, s := range sections {
			if depth >= len(open) || open[depth] != s {
				put(depth, s+":")
				open = append(open[:depth:depth], s)
			}
		}
		open = open[:len(sections)]
		put(len(sections), name+": "+value(path))
		lines[path] = line
	}
	return out.String(), lines
}

// TestEveryRange: what is allowed is taken, and what is next to it is refused with
// file, line, key, value and what is allowed.
func TestEveryRange(t *testing.T) {
	unraced(t)
	t.Parallel()
	for path := range settable { // no number has been forgotten
		if strings.HasPrefix(path, "auth.http.") {
			continue // an error by itself: it has no effect without auth.http.url
		}
		if _, ok := ranges[path]; !ok && strings.ContainsAny(settable[path][:1], "-0123456789") {
			t.Errorf("the range of %s is not tested: add its lowest and highest value, and those next to them, to ranges", path)
		}
	}
	for name, value := range map[string]func(path string) string{
		"lowest":  func(path string) string { return ranges[path].lowest },
		"highest": func(path string) string { return ranges[path].highest },
	} {
		text, _ := inLines(value)
		if r := run(t, nil, "config", "check", yamlFile(t, text)); r.code != 0 {
			t.Errorf("%s: exit code %d\n%s", name, r.code, r.stderr)
		}
	}
	for _, value := range []func(path string) string{
		func(path string) string { return ranges[path].below }, func(path string) string { return ranges[path].above },
	} {
		text, lines := inLines(value)
		file := yamlFile(t, text)
		r := run(t, nil, "config", "check", file)
		faults := strings.Split(strings.TrimSpace(r.stderr), "\n")
		if r.code != exitUsage || len(faults) != len(ranges) {
			t.Errorf("exit code %d, %d faults of %d", r.code, len(faults), len(ranges))
		}
		for path := range ranges {
			want := fmt.Sprintf("%s:%d: %s: %q is not allowed; it must be ", file, lines[path], path, plain(value(path)))
			if !slices.ContainsFunc(faults, func(f string) bool { return strings.HasPrefix(f, want) && strings.Contains(f, " from ") }) {
				t.Errorf("missing %q in\n%s", want, r.stderr)
			}
		}
	}
}

// TestFileOfWindows: a file as editors on Windows write it is taken, and what they
// leave at the end of values is not, wherever it stands.
func TestFileOfWindows(t *testing.T) {
	unraced(t)
	t.Parallel()
	s := start(t, "\ufeff# größer\r\nmqtt:\r\n  max-qos: 1\r\nlog:\r\n  level: \"info\" # so\r\n")
	if _, ack := connectRaw(t, s.mqtt, codec.Version5, "c", nil); ack.MaximumQoS != 1 || !ack.HasMaximumQoS {
		t.Errorf("the file was not read: %+v", ack)
	}
	dir := filepath.Join(t.TempDir(), "data")
	for what, test := range map[string]struct {
		yaml string
		env  []string
		args []string
		want string
	}{
		"file":            {yaml: "storage:\r\n  data-dir: '" + dir + " '\r\n", want: `:2: storage.data-dir: "` + dir + ` " ends in a blank; remove it`},
		"variable":        {env: []string{"PROMPTMQ_DATA_DIR=" + dir + "\r"}, want: `PROMPTMQ_DATA_DIR: storage.data-dir: "` + dir + `\r" ends in a carriage return`},
		"variable, word":  {env: []string{"PROMPTMQ_LOG_LEVEL=info\r"}, want: `PROMPTMQ_LOG_LEVEL: log.level: "info\r" ends in a carriage return`},
		"variable, count": {env: []string{"PROMPTMQ_MQTT_MAX_QOS=1\u00a0"}, want: `PROMPTMQ_MQTT_MAX_QOS: mqtt.max-qos: "1\u00a0" ends in a no-break space`},
		"flag":            {args: []string{"--data-dir=" + dir + "\u00a0"}, want: `--data-dir: storage.data-dir: "` + dir + `\u00a0" ends in a no-break space`},
		"UTF-16":          {yaml: "\xff\xfel\x00o\x00g\x00:\x00", want: "promptmq.yaml: is UTF-16; save it as UTF-8"},
	} {
		r := run(t, test.env, append([]string{"server", "--config", yamlFile(t, test.yaml)}, test.args...)...)
		if r.code != exitUsage || !strings.Contains(r.stderr, test.want) {
			t.Errorf("%s: exit code %d\n%s\nwant %s", what, r.code, r.stderr, test.want)
		}
		if left, _ := filepath.Glob(dir + "*"); len(left) > 0 {
			t.Errorf("%s: made %q", what, left)
		}
	}
}
