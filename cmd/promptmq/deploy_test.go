package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/x0a1b/promptmq/metrics"
)

// deployed is where what is for other programs lies.
var deployed = filepath.Join(root, "deploy")

// A ruleFile is deploy/prometheus/rules.yml, as far as the tests look at it.
type ruleFile struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Record, Alert, Expr string
			For                 string
			Labels, Annotations map[string]string
		}
	}
}

func readAlerts(t *testing.T) (f ruleFile) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deployed, "prometheus", "rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// A panel is one of the dashboard.
type panel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ H, W, X, Y int }
	Targets                  []struct{ Expr string }
	FieldConfig              struct{ Defaults struct{ Unit string } }
}

type dashboard struct {
	UID, Title  string
	Panels      []panel
	Annotations struct{ List []struct{ Expr string } }
	Templating  struct{ List []struct{ Name string } }
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deployed, "grafana", "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

var metricInText = regexp.MustCompile(`\b(promptmq|process|go)_[a-z0-9_]+|\bpromptmq:[a-z0-9_:]+`)

// unknownMetrics returns the metrics that a text names and that neither the broker has nor
// recorded.
func unknownMetrics(text string, recorded []string) (unknown []string) {
	known := metrics.Families()
	for name, help := range metrics.ProcessFamilies() {
		known[name] = help
	}
	for _, name := range metricInText.FindAllString(text, -1) {
		family := name
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if f, ok := strings.CutSuffix(name, suffix); ok && known[f] != "" {
				family = f
			}
		}
		if known[family] == "" && !slices.Contains(recorded, name) {
			unknown = append(unknown, name)
		}
	}
	return unknown
}

// TestRulesFile: each alert says what to do, is tested by promtool in rules_test.yml, and asks
// for metrics that there are.
func TestRulesFile(t *testing.T) {
	t.Parallel()
	tests, err := os.ReadFile(filepath.Join(deployed, "prometheus", "rules_test.yml"))
	if err != nil {
		t.Fatal(err)
	}
	docs, err := os.ReadFile(filepath.Join(root, "docs", "monitoring.md"))
	if err != nil {
		t.Fatal(err)
	}
	var recorded []string
	for _, g := range readAlerts(t).Groups {
		for _, r := range g.Rules {
			if unknown := unknownMetrics(r.Expr+r.Annotations["description"], recorded); len(unknown) > 0 {
				t.Errorf("%s%s: there are no metrics %v", r.Alert, r.Record, unknown)
			}
			if r.Record != "" {
				recorded = append(recorded, r.Record)
				continue
			}
			if s := r.Labels["severity"]; s != "warning" && s != "critical" {
				t.Errorf("%s: severity %q", r.Alert, s)
			}
			if r.Annotations["summary"] == "" || len(r.Annotations["description"]) < 60 || !strings.HasSuffix(r.Annotations["description"], ".") {
				t.Errorf("%s: no summary, or no sentence of what to do", r.Alert)
			}
			for _, what := range []string{"fires", "is silent"} {
				if !strings.Contains(string(tests), fmt.Sprintf("name: %s %s\n", r.Alert, what)) {
					t.Errorf("rules_test.yml has no test that %s %s", r.Alert, what)
				}
			}
			if !strings.Contains(string(docs), r.Alert) {
				t.Errorf("docs/monitoring.md does not name %s", r.Alert)
			}
		}
	}
}

// TestDashboardFile: each panel of the dashboard says what it shows, in a unit, has a place of its
// own, and asks for metrics that there are.
func TestDashboardFile(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	var variables []string
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name)
	}
	if !slices.Equal(variables, []string{"datasource", "job", "instance"}) {
		t.Errorf("variables %v", variables)
	}
	ids, places := make(map[int]bool), make(map[[2]int]string)
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("%s: identifier %d is another's", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := places[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%s: it is where %q is, or outside", p.Title, other)
				}
				places[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Description == "" || len(p.Targets) == 0 || (p.FieldConfig.Defaults.Unit == "" && p.Type != "heatmap") {
			t.Errorf("%s: no description, no expression or no unit", p.Title)
		}
		for _, target := range p.Targets {
			if unknown := unknownMetrics(target.Expr, nil); len(unknown) > 0 {
				t.Errorf("%s: there are no metrics %v", p.Title, unknown)
			}
			if strings.Count(target.Expr, `{job=~"$job",instance=~"$instance"`) != len(metricInText.FindAllString(target.Expr, -1)) {
				t.Errorf("%s: not each metric is one of $job and $instance: %s", p.Title, target.Expr)
			}
		}
	}
}
