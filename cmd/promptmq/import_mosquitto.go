package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/cmd/promptmq/mosquitto"
	"github.com/x0a1b/promptmq/config"
	"github.com/x0a1b/promptmq/store"
)

type importMosquittoCommand struct {
	Conf    string `placeholder:"FILE" help:"The mosquitto.conf. The files that it names are read too; none is changed."`
	DB      string `name:"db" placeholder:"FILE" help:"The state: a mosquitto.db, or the SQLite database of 2.1. Default: what --conf says. Without --conf only the state is imported, into the data directory."`
	To      string `default:"." placeholder:"DIR" help:"Directory for promptmq.yaml; created when missing. Default: this one."`
	DataDir string `name:"data-dir" placeholder:"DIR" help:"Data directory for users, rules and state. Default: data in the directory of --to."`
	DryRun  bool   `name:"dry-run" help:"Write nothing, and report what would become of each thing."`
	Force   bool   `help:"Replace a promptmq.yaml, and set a database aside, that are there."`
	JSON    bool   `name:"json" help:"Write the report as JSON."`
	Verbose bool   `help:"List each session in the report, and not only how many there are."`
}

// A mosquittoMove is what is to be written of a Mosquitto.
type mosquittoMove struct {
	report   *mosquitto.Report
	from     string // the mosquitto.conf
	config   *config.Config
	file     string // promptmq.yaml
	dataDir  string
	access   *mosquitto.Access
	imported *store.Counts
	aside    string // what a database that was there is now

	state     mosquitto.State // nil: there is none
	stateFile string
	listening string // an address of the Mosquitto where something listens; "": nothing does
}

// Run implements the command.
func (c *importMosquittoCommand) Run() error {
	if c.Conf == "" {
		return c.runState()
	}
	m, err := c.read()
	if m != nil {
		defer m.closeState()
	}
	if err != nil {
		return admin.Refuse("nothing was imported: %v", err)
	}
	refused := m.report.Count(mosquitto.Refused) > 0
	if refused || c.DryRun {
		err = m.lookThrough()
	} else {
		err = m.write(c.Force)
	}
	if err != nil {
		return err
	}
	if err := c.tell(m); err != nil {
		return err
	}
	if m.listening != "" {
		fmt.Fprintf(os.Stderr, "warning: something listens on %s, as this Mosquitto does while it runs: what has changed since it last saved its state is not in %s, and not imported. Stop it, and import again\n", m.listening, m.stateFile)
	}
	switch {
	case refused:
		return admin.Refuse("nothing was imported: what is refused has a meaning that cannot be kept, or is wrong")
	case m.report.Count(mosquitto.Changed)+m.report.Count(mosquitto.LeftOut) > 0:
		return errAttention
	}
	return nil
}

// read reads everything, and looks whether it can be written.
func (c *importMosquittoCommand) read() (*mosquittoMove, error) {
	read, err := mosquitto.ReadConf(c.Conf)
	if err != nil {
		return nil, err
	}
	to := config.Absolute(c.To)
	m := &mosquittoMove{report: read.Report, from: config.Absolute(c.Conf), file: filepath.Join(to, "promptmq.yaml"), dataDir: filepath.Join(to, "data")}
	if c.DataDir != "" {
		m.dataDir = config.Absolute(c.DataDir)
	}
	m.access = read.ReadAccess(randomBytes)
	for _, u := range m.access.Users {
		if err := checkUser(storedUser(&u)); err != nil {
			m.report.Add(u.File, u.Line, "user "+u.Name, mosquitto.Refused, "%v", err)
		}
	}
	if err := m.build(read); err != nil {
		return nil, err
	}
	if err := m.openState(c.DB, read); err != nil {
		return m, err
	}
	if m.state != nil {
		m.listening = openAddress(read.Listeners)
	}
	if !c.Force {
		return m, m.mayBeWritten()
	}
	return m, nil
}

// randomBytes are from the system's generator, which does not fail.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// build makes the configuration. Faults are told in the report: they are about values that
// PromptMQ does not have.
func (m *mosquittoMove) build(read *mosquitto.Conf) error {
	values := valuesOf(append(read.Settings, mosquitto.Value{Place: mosquitto.Place{File: "import"}, Path: "storage.data-dir", Text: m.dataDir}))
	var listeners [][]config.Value
	for _, entry := range read.Listeners {
		listeners = append(listeners, valuesOf(entry))
	}
	var err error
	m.config, err = config.Build(values, listeners)
	faults, ok := errors.AsType[config.Errors](err)
	if !ok {
		return err
	}
	for _, f := range faults {
		m.report.Add(f.Origin.Name, f.Origin.Line, f.Key, mosquitto.Refused, "%s", f.Text)
	}
	return nil
}

func valuesOf(from []mosquitto.Value) []config.Value {
	values := make([]config.Value, len(from))
	for i, v := range from {
		values[i] = config.Value{Path: v.Path, Text: v.Text, From: config.Origin{Name: v.File, Line: v.Line}}
	}
	return values
}
