package conformance

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

var (
	brokerFlag   = flag.String("broker", "", "`URL` of the broker under test, tcp:// or tls://host:port, or ws:// or wss://host:port/path; empty: a PromptMQ started for it")
	brokerWSFlag = flag.String("broker-ws", "", "`URL` of the WebSocket listener of the same broker; empty: the statements about WebSocket are not run")
	versionFlag  = flag.String("version", "", "protocol version to test: 5 or 311; empty: both")
	reportFlag   = flag.String("report", "", "`FILE` to write the results to as JSON, with its full path under go test, which changes the directory")
	restartFlag  = flag.String("restart-command", "", "shell `COMMAND` that ends the broker at -broker and starts it again with its state; empty: tests that restart a foreign broker are not run")
	promptmqFlag = flag.String("promptmq", "", "promptmq `BINARY` for the tests that start their own; empty: built from this source")
	updateFlag   = flag.Bool("update", false, "rewrite the tests column of statements.tsv and docs/conformance.md from this run")
)

// answerTime bounds how long a broker may take to answer. A PromptMQ that the
// suite starts itself, and that breaks no rule, has more: where CI runs, a machine
// may be slow and busy.
var answerTime = 10 * time.Second

const ownAnswerTime = time.Minute

// cleanupSeconds bounds how long a test waits for the broker to forget what it
// has left behind.
const cleanupSeconds = 2

// parallelTests is how many tests run at a time: most of them wait.
const parallelTests = "24"

// A test is one check of the suite. v5 and v311 are the identifiers, without
// "MQTT-" and separated by spaces, of the statements it cites; it runs once for
// each version that has some.
type test struct {
	name     string
	v5, v311 string
	run      func(t *T)
}

// beyond is cited by tests of behaviour that no statement asks for, but that
// users' tools rely on.
const beyond = "beyond"

// tests are all tests, in the order of the report.
var tests = slices.Concat(
	connectTests, authTests, willTests, publishTests, retainTests, subscribeTests, qosTests, sessionTests,
	stringTests, topicTests, sizeTests, disconnectTests, sharedTests, transportTests, clientTests, toolTests,
)

func (d *test) statements(v codec.Version) []string {
	if v == codec.Version5 {
		return strings.Fields(d.v5)
	}
	return strings.Fields(d.v311)
}

// versions are the protocol versions to test, by the name they have in the
// names of tests.
func versions() map[codec.Version]string {
	switch *versionFlag {
	case "5":
		return map[codec.Version]string{codec.Version5: "v5"}
	case "311":
		return map[codec.Version]string{codec.Version311: "v311"}
	}
	return map[codec.Version]string{codec.Version5: "v5", codec.Version311: "v311"}
}

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := runSuite(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func runSuite(m *testing.M) (code int, err error) {
	if !slices.Contains([]string{"", "5", "311"}, *versionFlag) {
		return 2, fmt.Errorf("-version %s: 5 or 311", *versionFlag)
	}
	if *brokerFlag == "" && (*brokerWSFlag != "" || *restartFlag != "") {
		return 2, errors.New("-broker-ws and -restart-command are about the broker at -broker, which is missing")
	}
	if flag.NArg() > 0 {
		return 2, fmt.Errorf("%q: no flag", flag.Arg(0))
	}
	if *reportFlag != "" { // said now, and not after the run
		f, err := os.OpenFile(*reportFlag, os.O_WRONLY|os.O_CREATE, 0o644)
		if err != nil {
			return 2, fmt.Errorf("-report: %w", err)
		}
		if err := f.Close(); err != nil {
			return 2, fmt.Errorf("-report: %w", err)
		}
	}
	if !slices.ContainsFunc(os.Args, func(a string) bool { return strings.HasPrefix(a, "-test.parallel") }) {
		if err := flag.Set("test.parallel", parallelTests); err != nil {
			return 1, err
		}
	}
	defer func() { err = errors.Join(err, removeBuild()) }()
	if *brokerFlag == "" {
		if os.Getenv("BREAK_RULES") == "" {
			answerTime = ownAnswerTime
		}
		own, err := startPromptMQ("")
		if err != nil {
			return 1, err
		}
		shared = own.target
		defer func() { err = errors.Join(err, own.stop()) }()
	} else if shared, err = parseTarget(*brokerFlag, *brokerWSFlag); err != nil {
		return 2, err
	}
	code = m.Run()
	return code, finishReport(code)
}

// TestConformance runs every test for every version.
func TestConformance(t *testing.T) {
	askCapabilities(t)
	for v, name := range versions() {
		t.Run(name, func(t *testing.T) {
			for i := range tests {
				if len(tests[i].statements(v)) > 0 {
					t.Run(tests[i].name, func(t *testing.T) { runTest(t, &tests[i], v) })
				}
			}
		})
	}
}

// restarting is held for reading by the tests that talk to a foreign broker,
// and for writing by a test that restarts it.
var restarting sync.RWMutex

func runTest(tt *testing.T, d *test, v codec.Version) {
	tt.Parallel()
	t := &T{T: tt, version: v, target: shared, started: time.Now()}
	t.restarting = restarting.RLocker()
	t.restarting.Lock()
	tt.Cleanup(func() {
		t.restarting.Unlock()
		record(t, d)
	})
	if v == codec.Version5 && !offered.v5 {
		t.NotOffered("MQTT 5")
	}
	if v == codec.Version311 && !offered.v311 {
		t.NotOffered("MQTT 3.1.1")
	}
	d.run(t)
}

// T is what a test is given: the version to speak, the broker to speak to, and
// the first thing that went wrong, for the report.
type T struct {
	*testing.T
	version codec.Version
	target  *target
	started time.Time

	restarting sync.Locker

	mu     sync.Mutex // guards the following
	detail string
	status status
}

// v5 says whether the test speaks MQTT 5 this time.
func (t *T) v5() bool { return t.version == codec.Version5 }

func (t *T) note(s status, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.status == "" {
		t.status, t.detail = s, text
	}
}

// Errorf reports what the broker did wrong.
func (t *T) Errorf(format string, args ...any) {
	t.Helper()
	t.note(failed, fmt.Sprintf(format, args...))
	t.T.Errorf(format, args...)
}

// Fatalf is Errorf where the test cannot go on.
func (t *T) Fatalf(format string, args ...any) {
	t.Helper()
	t.note(failed, fmt.Sprintf(format, args...))
	t.T.Fatalf(format, args...)
}

// NotOffered ends the test: the broker said that it lacks the feature.
func (t *T) NotOffered(feature string) {
	t.Helper()
	t.note(notOffered, feature)
	t.Skip("not offered: " + feature)
}

// NotRun ends the test: the suite lacks the means.
func (t *T) NotRun(why string) {
	t.Helper()
	t.note(notRun, why)
	t.Skip("not run: " + why)
}
