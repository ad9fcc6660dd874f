package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/cmd/promptmq/mosquitto"
	"github.com/x0a1b/promptmq/config"
	"github.com/x0a1b/promptmq/store"
)

// checksOfImport are those of each import.
var checksOfImport = store.Checks{User: checkUser, UserWithout: checkUserWithout, Rule: checkRule, Filter: checkFilter, Message: checkMessage}

// openState opens the state that --db names, or else the configuration, if it does.
func (m *mosquittoMove) openState(named string, read *mosquitto.Conf) (err error) {
	m.stateFile = named
	if named == "" {
		said := read.Database
		if read.SQLite.Path != "" {
			said = read.SQLite
		}
		if said.Path == "" {
			return nil
		}
		if _, err := os.Stat(said.Path); errors.Is(err, fs.ErrNotExist) {
			m.report.Add(said.File, said.Line, "state", mosquitto.LeftOut, "there is no %s: nothing is stored there, or --db says where it is", said.Path)
			return nil
		}
		m.stateFile = said.Path
	}
	m.state, err = mosquitto.OpenState(m.stateFile, m.report)
	return err
}

// closeState ends reading the state: it was only read.
func (m *mosquittoMove) closeState() {
	if m.state != nil {
		_ = m.state.Close()
	}
}

// stateLines are what is stored of the state. The report is written while they are read.
func (m *mosquittoMove) stateLines(now time.Time) store.Lines {
	if m.state == nil {
		return func(func(*store.Line, error) bool) {}
	}
	limits := broker.DefaultOptions()
	if m.config != nil { // else it is refused, and this is for the report alone
		limits = m.config.Broker
	}
	i := &stateImport{from: m.state, file: m.stateFile, report: m.report, limits: &limits, now: now}
	return i.lines
}

// lookThrough reads the state for the report alone.
func (m *mosquittoMove) lookThrough() error {
	for _, err := range m.stateLines(time.Now()) {
		if err != nil {
			return err
		}
	}
	return nil
}

// runState imports the state alone, into the store of a broker that is stopped.
func (c *importMosquittoCommand) runState() error {
	if c.DB == "" {
		return admin.Refuse("say with --conf where the mosquitto.conf is, or with --db where the state is")
	}
	if c.Force {
		return admin.Refuse("--force replaces what --conf writes: without that, sessions are added to the database, and nothing is replaced but retained messages")
	}
	m := &mosquittoMove{report: new(mosquitto.Report), dataDir: config.Absolute(c.DataDir)}
	if c.DataDir == "" {
		m.dataDir = filepath.Join(config.Absolute(c.To), "data")
	}
	var err error
	if m.config, err = config.Load(config.Sources{File: os.Getenv("PROMPTMQ_CONFIG"), Environ: os.Environ()}); err != nil {
		return err
	}
	defer m.closeState()
	if err := m.openState(c.DB, nil); err != nil {
		return admin.Refuse("nothing was imported: %v", err)
	}
	if c.DryRun {
		err = m.lookThrough()
	} else {
		err = m.addState()
	}
	if err != nil {
		return err
	}
	if err := c.tell(m); err != nil {
		return err
	}
	if m.report.Count(mosquitto.Changed)+m.report.Count(mosquitto.LeftOut) > 0 {
		return errAttention
	}
	return nil
}

// addState adds the state to what is in the data directory.
func (m *mosquittoMove) addState() error {
	if err := ownerAsks(m.dataDir); err != nil {
		return err
	}
	o := m.config.Store
	o.DataDir = m.dataDir
	counts, err := store.ImportStopped(o, m.stateLines(time.Now()), checksOfImport)
	switch {
	case errors.Is(err, store.ErrInUse):
		return fmt.Errorf("%w: stop the broker first", err)
	case errors.As(err, new(store.ImportError)):
		return admin.Refuse("nothing was imported: %v", err)
	case err != nil:
		return hintSalvage(err)
	}
	m.imported = counts
	return nil
}
