package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/broker/inspect"
)

// TestStatusCommand says that a broker is well, and then that a queue is full, by text, JSON and
// exit code.
func TestStatusCommand(t *testing.T) {
	t.Parallel()
	s := start(t, "mqtt: {max-queued-messages: 2}")
	c := commander{t, s.dataDir()}
	away := v5Of(t, s, "away", lasting)
	away.subscribeOne("a", 1)
	away.drop()
	if out := c.ok("status"); !strings.Contains(strings.SplitN(out, "\n", 2)[0], ": well") {
		t.Error(out)
	}
	p := v5Of(t, s, "p", nil)
	for id := range uint16(3) {
		p.publish1(id+1, "a", "x")
	}
	r := c.withInput("", "status")
	if has(t, r.stdout, "need", `of 1 client without a connection: "away" (2)`, "promptmq sessions end ID", "LARGEST QUEUES", "LAST DROPS", "queue_full_oldest"); r.code != exitAttention || r.stderr != "" {
		t.Errorf("code %d\n%s", r.code, r.stderr)
	}
	r = c.withInput("", "status", "--json")
	report := new(statusReport)
	if err := json.Unmarshal([]byte(r.stdout), report); err != nil || r.code != exitAttention || report.Well || len(report.Findings) == 0 || !report.Findings[0].Attention {
		t.Errorf("code %d, %v, %+v", r.code, err, report)
	}
	s.stop()
	c.fails(exitFailure, "no broker runs on", "status")
}

func TestStatusScreen(t *testing.T) {
	t.Parallel()
	r := &statusReport{Well: true, PeriodSeconds: 600, Numbers: inspect.Numbers{Version: "1.2.3", UptimeSeconds: 3600, Connections: 1204}, Findings: []inspect.Finding{}}
	var out strings.Builder
	if err := r.write(&out, 80); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"PromptMQ 1.2.3: well\nup 1 h; 1,204 connections", "nothing was dropped or refused in the last 10 min, and nothing is full"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "commits within") {
		t.Errorf("there was no commit\n%s", &out)
	}
	out.Reset()
	r.Numbers.CommitP99 = 0.004
	r.Findings = []inspect.Finding{{Attention: true, What: "the disk \x1b[2J", Do: "make room"}, {What: "3 messages were dropped", Do: "nothing"}}
	r.Fullest = []inspect.Client{{ID: "phone\x07", Queued: 5, QueuedBytes: 2048}, {ID: "idle"}}
	r.Drops = []inspect.Drop{{At: time.Now(), Client: "phone", Topic: "a/\u202eb", Reason: "expired", Bytes: 12}}
	if err := r.write(&out, 0); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"free on the disk; 99 of 100 commits within 4 ms\n", "1 thing needs attention", `! the disk \x1b[2J` + "\n    make room\n  3 messages were dropped\n    nothing\n", `phone\a`, "2.0 KiB", `a/\u202eb`, "expired"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "idle") || strings.ContainsAny(out.String(), "\x1b\x07\u202e") {
		t.Errorf("%q", out.String())
	}
}
