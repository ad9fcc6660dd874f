package conformance

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// controls are rules that a PromptMQ built with the tag control breaks on
// purpose, one run each, and a test that must notice. See broker/control_on.go.
var controls = []struct{ rule, version, test string }{
	{"ack-before-commit,commit-late", "v5", "session/over-restart"},
	{"alias-ahead", "v5", "alias/to-client-each-qos"},
	{"alias-invented", "v5", "alias/none-to-client"},
	{"alias-not-reset", "v5", "alias/not-carried-over"},
	{"authentication-method-lost", "v5", "auth/scram"},
	{"clean-start-ignored", "v5", "session/clean-start"},
	{"clean-start-ignored", "v311", "session/clean-start"},
	{"dollar-matched", "v5", "topic/dollar"},
	{"dup-invented", "v311", "qos1/dup-not-handed-on"},
	{"dup-lost", "v5", "resend/qos1"},
	{"expiry-not-counted-down", "v5", "publish/expiry-counts-down"},
	{"identifier-in-use-ignored", "v5", "qos2/identifier-in-use"},
	{"keep-alive-ignored", "v311", "connack/keep-alive-of-client"},
	{"limit-of-bad-connect-ignored", "v5", "connack/small-packets-for-bad-connect"},
	{"maximum-packet-size-ignored", "v5", "size/publish"},
	{"maximum-qos-not-told", "v5", "connack/maximum-qos"},
	{"no-local-ignored", "v5", "subscribe/no-local"},
	{"packet-identifier-in-use", "v5", "qos1/new-identifiers"},
	{"properties-lost", "v5", "publish/properties-unaltered"},
	{"qos-not-lowered", "v5", "subscribe/qos-is-the-lower"},
	{"qos2-twice", "v311", "qos2/no-duplicate-over-reconnect"},
	{"reason-string-unasked", "v5", "problem-information/only-where-asked"},
	{"reauthentication-not-needed", "v5", "auth/reauthentication-fails"},
	{"receive-maximum-ignored", "v5", "flow/receive-maximum-of-client"},
	{"retain-handling-ignored", "v5", "retain/handling-2"},
	{"retain-invented", "v311", "retain/flag-of-a-live-message"},
	{"retain-lost", "v5", "retain/kept-and-replaced"},
	{"retained-not-removed", "v5", "retain/empty-payload-removes"},
	{"retained-twice", "v311", "retain/kept-and-replaced"},
	{"return-code-invented", "v311", "will/empty-topic"},
	{"second-connect-ignored", "v5", "connect/second-connect"},
	{"session-expiry-ignored", "v5", "session/expires"},
	{"session-present-lost", "v311", "connack/session-present"},
	{"suback-out-of-order", "v5", "subscribe/one-reason-code-each"},
	{"subscription-identifier-lost", "v5", "subscribe/identifiers"},
	{"takeover-reason", "v5", "session/takeover"},
	{"unsuback-always-success", "v5", "unsubscribe/unsuback"},
	{"unsubscribe-ignored", "v311", "unsubscribe/stops"},
	{"will-after-disconnect", "v5", "will/normal-disconnect"},
	{"will-delay-ignored", "v5", "will/delay"},
	{"will-lost", "v311", "will/network-drops"},
	{"wrong-acknowledgement-ignored", "v5", "qos/wrong-acknowledgement"},
	{"wrong-packet-identifier", "v5", "qos1/puback"},
}

// TestControls shows that the suite notices each broken rule: a test that
// passes against a broker that breaks its rule is no test.
func TestControls(t *testing.T) {
	if *brokerFlag != "" || *promptmqFlag != "" || *versionFlag != "" {
		t.Skip("controls are for a PromptMQ built from this source")
	}
	if testing.Short() {
		t.Skip("slow")
	}
	path := filepath.Join(t.TempDir(), "promptmq")
	if out, err := exec.Command("go", "build", "-tags", "control", "-o", path, "../cmd/promptmq").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	var names []string
	for _, c := range controls {
		names = append(names, c.test)
	}
	t.Run("none", func(t *testing.T) { // the same build and tests without a broken rule
		t.Parallel()
		for _, r := range runSuiteAgainst(t, path, "", "v5|v311", names...) {
			if r.Status != passed {
				t.Errorf("%s %s: %s: %s", r.Version, r.Test, r.Status, r.Detail)
			}
		}
	})
	for _, c := range controls {
		t.Run(c.rule+"/"+c.version, func(t *testing.T) {
			t.Parallel()
			got := runSuiteAgainst(t, path, c.rule, c.version, c.test)
			if !slices.ContainsFunc(got, func(r result) bool { return r.Test == c.test && r.Status == failed }) {
				t.Errorf("%s does not notice: %+v", c.test, got)
			}
		})
	}
}

// runSuiteAgainst runs these tests of the suite in a process of its own, with a
// PromptMQ that breaks the rule.
func runSuiteAgainst(t *testing.T, promptmq, rule, versions string, names ...string) []result {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	report := filepath.Join(t.TempDir(), "report.json")
	// Patterns are matched level by level, and a name has two.
	var first, second []string
	for _, n := range names {
		a, b, _ := strings.Cut(n, "/")
		first, second = append(first, a), append(second, b)
	}
	pattern := "^TestConformance$/^(" + versions + ")$/^(" + strings.Join(first, "|") + ")$/^(" + strings.Join(second, "|") + ")$"
	cmd := exec.Command(self, "-test.run", pattern, "-promptmq", promptmq, "-report", report)
	cmd.Env = append(os.Environ(), "BREAK_RULES="+rule)
	out, _ := cmd.CombinedOutput() // how it ends is in the report
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var r struct{ Tests []result }
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Tests) == 0 {
		t.Fatalf("no test was run:\n%s", out)
	}
	return r.Tests
}
