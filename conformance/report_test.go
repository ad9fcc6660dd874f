package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// status is how a test or a statement came out.
type status string

const (
	passed        status = "pass"
	failed        status = "fail"
	notOffered    status = "not offered"
	notRun        status = "not run"
	notObservable status = "not observable"
)

// A result is one test for one version.
type result struct {
	Test         string   `json:"test"`
	Version      string   `json:"version"`
	Statements   []string `json:"statements"`
	Status       status   `json:"status"`
	Detail       string   `json:"detail,omitempty"`
	Milliseconds int64    `json:"milliseconds"`
}

var results struct {
	sync.Mutex
	all []result
}

// record keeps the outcome of a test.
func record(t *T, d *test) {
	t.mu.Lock()
	r := result{Test: d.name, Version: versions()[t.version], Status: t.status, Detail: t.detail, Milliseconds: time.Since(t.started).Milliseconds()}
	t.mu.Unlock()
	for _, id := range d.statements(t.version) {
		if id != beyond {
			r.Statements = append(r.Statements, "MQTT-"+id)
		}
	}
	if t.Failed() {
		r.Status = failed // whatever it said before
	} else if r.Status == "" {
		r.Status = passed
	}
	results.Lock()
	defer results.Unlock()
	results.all = append(results.all, r)
}

// finishReport prints the counts, writes -report and checks or rewrites
// docs/conformance.md.
func finishReport(code int) error {
	order := map[string]int{}
	for i, d := range tests {
		order[d.name] = i
	}
	results.Lock()
	defer results.Unlock()
	all := results.all
	slices.SortStableFunc(all, func(a, b result) int {
		if a.Version != b.Version {
			return -strings.Compare(a.Version, b.Version)
		}
		return order[a.Test] - order[b.Test]
	})
	if len(all) == 0 && *reportFlag == "" {
		return nil
	}
	fmt.Println("conformance:", counts(all))
	if *reportFlag != "" {
		if err := writeJSON(all); err != nil {
			return err
		}
	}
	if *brokerFlag != "" || code != 0 && !*updateFlag || !complete(all) {
		return nil
	}
	return checkDocument(all)
}

func counts(all []result) string {
	n := map[status]int{}
	for _, r := range all {
		n[r.Status]++
	}
	var parts []string
	for _, s := range []status{passed, failed, notOffered, notRun} {
		parts = append(parts, fmt.Sprintf("%d %s", n[s], s))
	}
	return fmt.Sprintf("%d tests: %s", len(all), strings.Join(parts, ", "))
}

// complete says whether the run had every test for every version.
func complete(all []result) bool {
	n := 0
	for i := range tests {
		n += min(1, len(tests[i].statements(codec.Version5))) + min(1, len(tests[i].statements(codec.Version311)))
	}
	return len(all) == n
}

func writeJSON(all []result) error {
	type row struct {
		Version   string   `json:"version"`
		Statement string   `json:"statement"`
		Status    status   `json:"status"`
		Tests     []string `json:"tests,omitempty"`
		Reason    string   `json:"reason,omitempty"`
	}
	list, err := readStatements()
	if err != nil {
		return err
	}
	out := struct {
		Broker     string   `json:"broker"`
		Date       string   `json:"date"`
		Counts     string   `json:"counts"`
		Statements []row    `json:"statements"`
		Tests      []result `json:"tests"`
	}{*brokerFlag, time.Now().UTC().Format(time.RFC3339), counts(all), nil, all}
	if out.Broker == "" {
		out.Broker = "PromptMQ, started by the suite"
	}
	for _, s := range list {
		if _, run := versions()[s.version]; run && s.bindsServer() {
			out.Statements = append(out.Statements, row{versions()[s.version], s.id, outcome(s, all), s.tests, s.reason})
		}
	}
	b, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(*reportFlag, append(b, '\n'), 0o644)
}

// outcome is the outcome of a statement: that of the worst of its tests that
// were run.
func outcome(s *statement, all []result) status {
	if s.reason != "" {
		return notObservable
	}
	worst := notRun
	for _, r := range all {
		if r.Version != versions()[s.version] || !slices.Contains(s.tests, r.Test) {
			continue
		}
		if r.Status == failed {
			return failed
		}
		if r.Status == passed || worst == notRun {
			worst = r.Status
		}
	}
	return worst
}

const document = "../docs/conformance.md"

// volatile are the lines of the document that change without a cause.
var volatile = regexp.MustCompile(`(?m)^- (Version|Date): .*$`)

// checkDocument compares docs/conformance.md with this run, or rewrites it.
func checkDocument(all []result) error {
	list, err := readStatements()
	if err != nil {
		return err
	}
	if *updateFlag { // the embedded file may be older than what was just written
		cited := map[codec.Version]map[string][]string{codec.Version5: citing(codec.Version5), codec.Version311: citing(codec.Version311)}
		for _, s := range list {
			s.tests = cited[s.version][s.id]
		}
	}
	text, err := render(list, all)
	if err != nil {
		return err
	}
	if *updateFlag {
		return os.WriteFile(document, text, 0o644)
	}
	old, err := os.ReadFile(document)
	if os.IsNotExist(err) && *promptmqFlag != "" {
		return nil // a binary of the suite, without the source beside it
	}
	if err != nil {
		return err
	}
	if !bytes.Equal(volatile.ReplaceAll(old, nil), volatile.ReplaceAll(text, nil)) {
		return fmt.Errorf("docs/conformance.md is out of date: make conformance-report")
	}
	return nil
}
