package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/codec"
)

// effective is what print --effective says, by key.
func effective(t *testing.T, env []string, args ...string) (settings map[string]inspect.Setting, of string) {
	t.Helper()
	args = append([]string{"config", "print", "--effective"}, args...)
	table, r := run(t, env, args...), run(t, env, append(args, "--json")...)
	var list []inspect.Setting
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil || r.code != 0 || table.code != 0 {
		t.Fatalf("exit code %d, %v\n%s%s", r.code, err, r.stdout, r.stderr)
	}
	settings = make(map[string]inspect.Setting)
	for _, s := range list {
		settings[s.Key] = s
		if !strings.Contains(table.stdout, "\n"+s.Key+" ") {
			t.Errorf("no %s in\n%s", s.Key, table.stdout)
		}
	}
	return settings, table.stderr
}

// print --effective has what the running broker has, and not what the files say by now.
func TestConfigEffective(t *testing.T) {
	t.Parallel()
	s := startBinary(t, binary, []string{"PROMPTMQ_MQTT_MAX_QOS=1"}, "log: {level: info}\nauth: {http: {url: 'http://127.0.0.1:1/login?key=canary'}}\n")
	s.writeFile("promptmq.yaml", "log: {level: warn}\n")
	got, of := effective(t, nil, "--data-dir", s.dataDir(), "--config", s.dir+"/promptmq.yaml")
	if of != "the broker that runs on "+s.dataDir()+"\n" {
		t.Errorf("%q", of)
	}
	for key, want := range map[string][3]string{
		"log.level":        {"info", "", s.dir + "/promptmq.yaml:1"},
		"log.format":       {"auto", "json", "default"},
		"mqtt.max-qos":     {"1", "", "PROMPTMQ_MQTT_MAX_QOS"},
		"mqtt.keep-alive":  {"0", "", "default"},
		"server.bind":      {"127.0.0.1:0", s.mqtt, "--server-bind"},
		"auth.http.url":    {"http://127.0.0.1:1/login?(hidden)", "", s.dir + "/promptmq.yaml:2"},
		"storage.data-dir": {s.dataDir(), "", "--data-dir"},
	} {
		if g := got[key]; (g.Value != want[0] || g.InUse != want[1] || g.Source != want[2]) && key != "mqtt.keep-alive" {
			t.Errorf("%s: %q, %q, %q; want %q", key, g.Value, g.InUse, g.Source, want)
		}
	}
	if limit := got["limits.memory"]; limit.Value != "-1" || strings.Trim(limit.InUse, "0123456789") != "" || len(limit.InUse) < 8 {
		t.Errorf("%+v", limit)
	}
	s.reload("log: {level: trace}\n")
	if now, _ := effective(t, nil, "--data-dir", s.dataDir()); now["log.level"].Value != "trace" || now["auth.http.url"].Source != "default" {
		t.Errorf("after the reload: %+v", now["log.level"])
	}
	s.stop()
	stopped, of := effective(t, []string{"PROMPTMQ_LOG_LEVEL=debug"}, "--data-dir", s.dataDir())
	if !strings.HasPrefix(of, "no broker runs on ") || stopped["log.level"].Value != "debug" || stopped["limits.memory"].InUse == "" {
		t.Errorf("%q, %+v", of, stopped["log.level"])
	}
}

// What a reload cannot take over is shown beside what is in force, and not as its source.
func TestConfigEffectiveWaits(t *testing.T) {
	t.Parallel()
	s := startBinary(t, binary, nil, "mqtt: {max-qos: 1}\n")
	file := s.dir + "/promptmq.yaml"
	has := func(key, value, source, waiting, waitingSource string) {
		t.Helper()
		all, _ := effective(t, nil, "--data-dir", s.dataDir())
		g, next := all[key], "-"
		if g.Waiting != nil {
			next = *g.Waiting
		}
		if g.Value != value || g.Source != source || next != waiting || g.WaitingSource != waitingSource {
			t.Errorf("%s: %q from %q, waiting %q from %q", key, g.Value, g.Source, next, g.WaitingSource)
		}
	}
	has("mqtt.max-qos", "1", file+":1", "-", "")
	s.reload("\nmqtt: {max-qos: 0}\nlog: {format: json}\n")
	has("mqtt.max-qos", "1", file+":1, before it was changed", "0", file+":2")
	has("log.format", "auto", "default", "json", file+":3")
	table := run(t, nil, "config", "print", "--effective", "--data-dir", s.dataDir()).stdout
	if !strings.Contains(table, "WAITS FOR A RESTART") || !strings.Contains(table, "0 ("+file+":2)") {
		t.Error(table)
	}
	s.reload("\n\nmqtt: {max-qos: 1}\n")
	has("mqtt.max-qos", "1", file+":3", "-", "")
	has("log.format", "auto", "default", "-", "")
	s.stop()
}

// The level is changed through the API, outlives a reload that does not change log.level, and the
// last lines show what happened.
func TestLogOperations(t *testing.T) {
	t.Parallel()
	s := start(t, "log: {level: info}\n")
	ctx := context.Background()
	c, err := admin.Dial(ctx, s.dataDir())
	if err != nil {
		t.Fatal(err)
	}
	level := func(method string, in any, want inspect.LogLevel) {
		t.Helper()
		got, err := admin.Call[inspect.LogLevel](ctx, c, method, "/log/level", in)
		if err != nil || *got != want {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}
	level(http.MethodGet, nil, inspect.LogLevel{Level: "info", Configured: "info"})
	if _, err := admin.Call[inspect.LogLevel](ctx, c, http.MethodPut, "/log/level", &wantedLevel{"debgu"}); err == nil || !strings.Contains(err.Error(), "did you mean debug?") {
		t.Errorf("%v", err)
	}
	debug := inspect.LogLevel{Level: "debug", Configured: "info", SetAtRunTime: true}
	level(http.MethodPut, &wantedLevel{"debug"}, debug)
	connectRaw(t, s.mqtt, codec.Version5, "one", nil)
	eventually(t, "debug is logged", func() bool {
		for _, r := range s.log() {
			if r.text("level") == "DEBUG" {
				return true
			}
		}
		return false
	})
	s.reload("log: {level: info}\nmqtt: {keep-alive: 60}\n")
	level(http.MethodGet, nil, debug)
	if len(s.linesOf("log.level is as it was in the configuration, so that what was set at run time holds on")) != 1 {
		t.Error("no line says so")
	}
	s.reload("log: {level: trace}\nmqtt: {keep-alive: 60}\n")
	level(http.MethodGet, nil, inspect.LogLevel{Level: "trace", Configured: "trace"})

	lines, err := admin.Call[inspect.LogLines](ctx, c, http.MethodGet, "/log?limit=1000", nil)
	if err != nil || len(lines.Items) < 5 || lines.Items[0].Seq != 1 || lines.Missed != 0 {
		t.Fatalf("%+v, %v", lines, err)
	}
	var first record
	if err := json.Unmarshal([]byte(lines.Items[0].Text), &first); err != nil || first.text("msg") != "starting" {
		t.Errorf("%v, %v", first, err)
	}
	rest, err := admin.Call[inspect.LogLines](ctx, c, http.MethodGet, fmt.Sprintf("/log?after=%d", len(lines.Items)-2), nil)
	if err != nil || len(rest.Items) < 2 || rest.Items[0] != lines.Items[len(lines.Items)-2] {
		t.Errorf("%+v, %v", rest, err)
	}
}
