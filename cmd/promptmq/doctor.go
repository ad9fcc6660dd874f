package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/cmd/promptmq/doctor"
	"github.com/x0a1b/promptmq/config"
	"github.com/x0a1b/promptmq/store"
)

type doctorCommand struct {
	settings
	JSON bool `name:"json" help:"Write JSON."`
}

// A doctorReport is what the command writes as JSON.
type doctorReport struct {
	Well     bool             `json:"well"`
	Findings []doctor.Finding `json:"findings"`
}

// errFaults says that a fault was told.
var errFaults = fmt.Errorf("there are faults: %w", errLogged)

// Run implements the command. It changes nothing.
func (c *doctorCommand) Run() error {
	found := c.examine()
	worst := doctor.OK
	for _, f := range found {
		if f.Level == doctor.Fault || f.Level == doctor.Warning && worst != doctor.Fault {
			worst = f.Level
		}
	}
	if c.JSON {
		if err := writeJSON(os.Stdout, &doctorReport{worst == doctor.OK, found}); err != nil {
			return err
		}
	} else if err := writeFindings(found); err != nil {
		return err
	}
	switch worst {
	case doctor.Fault:
		return errFaults
	case doctor.Warning:
		return errAttention
	}
	return nil
}

// writeFindings writes a line for each, and one below it that says what to do.
func writeFindings(found []doctor.Finding) error {
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintf(&b, "%-8s %-15s %s\n", f.Level, f.About, escaped(f.What))
		if f.Do != "" {
			fmt.Fprintf(&b, "%24s %s\n", "", escaped(f.Do))
		}
	}
	_, err := fmt.Print(b.String())
	return err
}

// examine returns all findings.
func (c *doctorCommand) examine() (found []doctor.Finding) {
	cfg, err := c.load()
	if err != nil {
		return append(found, faultFindings(err)...)
	}
	cfg.Store.DataDir = config.Absolute(cfg.Store.DataDir)
	named := "the defaults hold: no file was named"
	if cfg.File != "" {
		named = cfg.File + " is right"
	}
	if faults := checkFiles(cfg); len(faults) > 0 {
		found = append(found, faultFindings(faults)...)
	} else {
		found = append(found, doctor.Finding{Level: doctor.OK, About: "configuration", What: named + ", with the files that it names"})
	}
	e := &doctor.Examination{Config: cfg, Users: -1, Rules: -1, FilesBeside: filesOfSources(cfg)}
	beside := c.broker(e)
	if e.Users >= 0 {
		if entries, fault := readPasswordFile(cfg); fault == nil {
			e.Users += int64(len(entries))
		}
	}
	if e.Rules >= 0 && e.Running == nil { // a broker tells of those of files itself
		if rules, faults := readRules(cfg); len(faults) == 0 {
			e.Rules += int64(len(rules))
		}
	}
	return slices.Concat(found, e.Examine(), beside)
}

func faultFindings(err error) (found []doctor.Finding) {
	faults, ok := errors.AsType[config.Errors](err)
	if !ok {
		return []doctor.Finding{{Level: doctor.Fault, About: "configuration", What: err.Error()}}
	}
	for _, f := range faults {
		do := "correct it"
		if f.Key != "" {
			do += "; promptmq config explain " + f.Key + " says what is allowed"
		}
		found = append(found, doctor.Finding{Level: doctor.Fault, About: "configuration", What: f.Error(), Do: do})
	}
	return found
}

// broker asks the one that runs on the data directory, or looks at its store.
func (c *doctorCommand) broker(e *doctor.Examination) (found []doctor.Finding) {
	dir := e.Config.Store.DataDir
	say := func(level doctor.Level, what, do string) {
		found = append(found, doctor.Finding{Level: level, About: "broker", What: what, Do: do})
	}
	ctx := context.Background()
	a, err := dial(ctx, dir)
	if err == nil {
		err = askRunning(ctx, a, e, say)
	}
	switch {
	case err == nil:
	case !errors.Is(err, admin.ErrNobody):
		say(doctor.Warning, err.Error(), "see promptmq status")
	case store.Exists(dir):
		lookStopped(dir, e, say)
	default:
		say(doctor.OK, "none has run on "+dir, "")
	}
	return found
}

// askRunning has what the broker itself says: what status judges, and who may do what.
func askRunning(ctx context.Context, a *administered, e *doctor.Examination, say func(level doctor.Level, what, do string)) error {
	seen, err := look(ctx, a)
	if err != nil {
		return err
	}
	listeners, err := admin.Call[inspect.Page[inspect.Listener]](ctx, a.Client, http.MethodGet, "/listeners", nil)
	if err != nil {
		return err
	}
	users, err := admin.Call[inspect.Page[inspect.User]](ctx, a.Client, http.MethodGet, "/users", nil)
	if err != nil {
		return err
	}
	rules, err := admin.Call[inspect.Page[inspect.Rule]](ctx, a.Client, http.MethodGet, "/rules", nil)
	if err != nil {
		return err
	}
	e.Running, e.Users, e.Rules = new(doctor.Running), int64(users.Total), int64(rules.Total)
	for _, l := range listeners.Items {
		e.Running.Addresses = append(e.Running.Addresses, l.Address)
	}
	say(doctor.OK, fmt.Sprintf("one runs on %s: version %s, up %s", a.dir, seen.Now.Version, inspect.DurationText(time.Duration(float64(seen.Now.UptimeSeconds)*float64(time.Second)))), "")
	for _, f := range inspect.Judge(seen) {
		level := doctor.Note
		if f.Attention {
			level = doctor.Warning
		}
		say(level, f.What, f.Do)
	}
	return nil
}

// lookStopped looks at the store of a broker that does not run.
func lookStopped(dir string, e *doctor.Examination, say func(level doctor.Level, what, do string)) {
	l, err := store.LookStopped(dir)
	switch {
	case errors.Is(err, store.ErrInUse):
		say(doctor.Warning, err.Error(), "a broker starts or ends there, or another command works: run this again")
	case errors.Is(err, fs.ErrPermission):
		say(doctor.Note, err.Error(), "run this as the user of the broker")
	case err != nil:
		say(doctor.Fault, err.Error(), "promptmq verify says more, and promptmq server --salvage keeps what can be read")
	case l.Version < l.Newest:
		say(doctor.Note, fmt.Sprintf("none runs; the store in %s has version %d, and the next start makes version %d of it", dir, l.Version, l.Newest), "make a backup first (promptmq backup FILE), if you may want to go back")
	default:
		say(doctor.OK, fmt.Sprintf("none runs; the store in %s is of this version", dir), "")
	}
	if err == nil {
		e.Users, e.Rules = l.Users, l.Rules
	}
}
