// Command rerun runs go test, and then each test that has failed up to twice more
// on its own, since a machine may be slow and busy:
//
//	rerun FILE [flags of go test] -- PACKAGE...
//
// A test that passes then is named in FILE; one that fails three times fails the
// command. Nothing runs again where a failure says more than that a test failed:
// after a build that fails, a panic, a timeout, a data race, a process that ends
// before its tests have, or very many failures.
package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
)

const (
	runsMax     = 3
	failuresMax = 10 // tests that fail at once; more are no accident
)

func main() {
	end := slices.Index(os.Args, "--")
	if end < 2 {
		fmt.Fprintln(os.Stderr, "usage: rerun FILE [flags of go test] -- PACKAGE...")
		os.Exit(2)
	}
	flaky, err := rerun(goTest{flags: os.Args[2:end], out: os.Stdout}.run, os.Args[end+1:])
	if noting := note(os.Args[1], flaky); err == nil {
		err = noting
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "rerun:", err)
		os.Exit(1)
	}
}

// note appends one line for each test to the file.
func note(file string, lines []string) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	for _, line := range lines {
		if _, err = fmt.Fprintln(f, line); err != nil {
			break
		}
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	return err
}

// rerun runs the packages, and again what fails. It returns a line for each test
// that passed in the end.
func rerun(run func(args ...string) (*outcome, error), packages []string) (flaky []string, err error) {
	o, err := run(packages...)
	if err != nil {
		return nil, err
	}
	failed, err := o.failed()
	if err != nil {
		return nil, err
	}
	if len(failed) > failuresMax {
		return nil, fmt.Errorf("%d tests failed: none runs again", len(failed))
	}
	for n := 2; n <= runsMax && len(failed) > 0; n++ {
		var still []test
		for _, t := range failed {
			fmt.Printf("\n%s failed: run %d of at most %d\n", t, n, runsMax)
			o, err := run("-run", "^"+t.name+"$", t.pkg)
			if err != nil {
				return flaky, err
			}
			again, err := o.failed()
			switch {
			case err != nil:
				return flaky, err
			case len(again) > 0:
				still = append(still, t)
			case o.tests[t] != "pass":
				return flaky, fmt.Errorf("%s did not run again", t)
			default:
				flaky = append(flaky, fmt.Sprintf("%s failed %d of %d times", t, n-1, n))
			}
		}
		failed = still
	}
	if len(failed) > 0 {
		return flaky, fmt.Errorf("failed %d times: %v", runsMax, failed)
	}
	return flaky, nil
}

// A goTest calls go test with its flags.
type goTest struct {
	flags []string
	out   io.Writer
}

func (g goTest) run(args ...string) (*outcome, error) {
	cmd := exec.Command("go", slices.Concat([]string{"test", "-json"}, g.flags, args)...)
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	o, err := read(events, g.out)
	if ended := cmd.Wait(); err == nil && ended != nil {
		o.ended = ended
	}
	return o, err
}
