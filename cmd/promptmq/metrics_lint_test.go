package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

var (
	metricName = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	sampleLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{([a-z_]+="(?:[^"\\]|\\.)*",?)*\})? (\S+)$`)
	labelName  = regexp.MustCompile(`[{,]([a-zA-Z_]+)=`)
)

// lintMetrics says what is wrong with metrics in the Prometheus text format, by the rules of
// promtool check metrics: each family is announced once with HELP and TYPE before its samples,
// names say what they should and nothing else, in base units.
func lintMetrics(text string) (faults []string) {
	types, help, seen := make(map[string]string), make(map[string]string), make(map[string]bool)
	fault := func(name, what string) { faults = append(faults, name+": "+what) }
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch fields := strings.SplitN(line, " ", 4); {
		case strings.HasPrefix(line, "# HELP ") && len(fields) == 4 && fields[3] != "":
			if help[fields[2]] != "" {
				fault(fields[2], "announced twice")
			}
			help[fields[2]] = fields[3]
		case strings.HasPrefix(line, "# TYPE ") && len(fields) == 4:
			types[fields[2]] = fields[3]
			faults = append(faults, lintName(fields[2], fields[3])...)
		case strings.HasPrefix(line, "#"):
			fault(line, "not HELP or TYPE with a text")
		default:
			m := sampleLine.FindStringSubmatch(line)
			if m == nil {
				fault(line, "no sample")
				continue
			}
			family := familyOf(m[1], types)
			if types[family] == "" || help[family] == "" {
				fault(m[1], "no HELP or no TYPE before it")
			}
			for _, label := range labelName.FindAllStringSubmatch(m[2], -1) {
				if of := map[string]string{"le": "histogram", "quantile": "summary"}[label[1]]; of != "" && types[family] != of {
					fault(family, "label "+label[1]+" of a "+types[family])
				}
			}
			if series := m[1] + m[2]; seen[series] {
				fault(series, "comes twice")
			} else {
				seen[series] = true
			}
		}
	}
	return faults
}

// familyOf is the family of a sample.
func familyOf(sample string, types map[string]string) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if family, ok := strings.CutSuffix(sample, suffix); ok && (types[family] == "histogram" || types[family] == "summary") {
			return family
		}
	}
	return sample
}

func lintName(name, kind string) (faults []string) {
	fault := func(what string) { faults = append(faults, fmt.Sprintf("%s, a %s: %s", name, kind, what)) }
	if !metricName.MatchString(name) {
		fault("not in snake_case")
	}
	if strings.HasSuffix(name, "_total") != (kind == "counter") {
		fault("counters, and nothing else, end with _total")
	}
	for _, suffix := range []string{"_bucket", "_count", "_sum"} {
		if strings.HasSuffix(name, suffix) {
			fault(suffix + " is for samples of histograms and summaries")
		}
	}
	for word := range strings.SplitSeq(name, "_") {
		switch word {
		case "milliseconds", "microseconds", "nanoseconds", "minutes", "hours", "days", "ms", "us", "ns", "s", "sec", "secs", "kilobytes", "megabytes", "kib", "mib", "bits", "percent":
			fault(word + " is no base unit")
		case "counter", "gauge", "histogram", "summary":
			fault("its type in the name")
		}
	}
	return faults
}

// TestLintMetrics: what the linter is to find, it finds. All that a server of any test exposes at its end
// is checked with it: see stopWith.
func TestLintMetrics(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a 1\n":                            "no HELP",
		"# HELP a \n# TYPE a gauge\na 1\n": "with a text",
		"# HELP a_total x\n# TYPE a_total gauge\na_total 1\n":                        "_total",
		"# HELP a x\n# TYPE a counter\na 1\n":                                        "_total",
		"# HELP a_count x\n# TYPE a_count gauge\na_count 1\n":                        "_count is for",
		"# HELP a_ms x\n# TYPE a_ms gauge\na_ms 1\n":                                 "no base unit",
		"# HELP aB x\n# TYPE aB gauge\naB 1\n":                                       "snake_case",
		"# HELP a x\n# TYPE a gauge\na{le=\"1\"} 1\n":                                "label le",
		"# HELP a x\n# TYPE a gauge\na 1\na 1\n":                                     "comes twice",
		"# HELP a_gauge x\n# TYPE a_gauge gauge\na_gauge 1\n":                        "type in the name",
		"# HELP a x\n# TYPE a gauge\na{x=y} 1\n":                                     "no sample",
		"# HELP a x\n# TYPE a gauge\na 1\n# HELP a x\n":                              "announced twice",
		"# HELP a x\n# TYPE a histogram\na_bucket{le=\"1\"} 1\na_sum 1\na_count 1\n": "",
	} {
		faults := strings.Join(lintMetrics(text), "; ")
		if (want == "") != (faults == "") || !strings.Contains(faults, want) {
			t.Errorf("%q: found %q, expected %q", text, faults, want)
		}
	}
}
