package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/config"
	"github.com/x0a1b/promptmq/store"
)

// A migration is what `upgrade --migrate` has done to a database.
type migration struct {
	Version      string  `json:"version"`
	SchemaBefore int64   `json:"schema_before"` // 0: there was none
	SchemaAfter  int64   `json:"schema_after"`
	Seconds      float64 `json:"seconds"` // to migrate and load it
	Sessions     int     `json:"sessions"`
	Retained     int     `json:"retained"`
	BytesAfter   int64   `json:"bytes_after"`
}

// migrateStore brings the database in a directory to the version of this program.
func migrateStore(dir string) error {
	began := time.Now()
	m, err := store.Migrate(config.Absolute(dir))
	if err != nil {
		return err
	}
	return writeJSON(os.Stdout, migration{version(), m.Before, m.After, time.Since(began).Seconds(), m.Sessions, m.Retained, m.Bytes})
}

// A changedDefault is a setting whose default differs between two programs.
type changedDefault struct {
	Key    string `json:"key"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// An upgradeReport says what a new program would change.
type upgradeReport struct {
	Binary       string           `json:"binary"`
	From         string           `json:"from"` // what the broker is that runs, else this program
	To           string           `json:"to"`
	Database     string           `json:"database"`
	Migration    migration        `json:"migration"`
	BytesBefore  int64            `json:"bytes_before"`
	WayBack      bool             `json:"way_back"` // the old program can open the database afterwards
	ConfigFaults string           `json:"config_faults,omitempty"`
	SettingsNew  []string         `json:"settings_new"`
	SettingsGone []string         `json:"settings_gone"`
	Defaults     []changedDefault `json:"defaults_changed"`
	Attention    []string         `json:"attention"`
	Stops        []string         `json:"stops"` // why the new program would not start
}

// report checks and writes what it found. Its error is errAttention if something needs that.
func (c *upgradeCommand) report(ctx context.Context) error {
	r := &upgradeReport{Binary: c.Binary, From: version(), SettingsNew: []string{}, SettingsGone: []string{}, Defaults: []changedDefault{}, Attention: []string{}, Stops: []string{}}
	err := c.examine(ctx, r)
	if err != nil {
		return err
	}
	if c.JSON && c.Check {
		err = writeJSON(os.Stdout, r)
	} else {
		err = r.write(os.Stdout)
	}
	switch {
	case err != nil:
		return err
	case len(r.Stops) > 0:
		return errors.New("the new program would not start: " + r.Stops[0])
	case len(r.Attention) > 0:
		return errAttention
	}
	return nil
}

// examine tries the new program on a copy.
func (c *upgradeCommand) examine(ctx context.Context, r *upgradeReport) error {
	dir, err := c.dir()
	if err != nil {
		return err
	}
	r.Database = store.File(dir)
	temp, err := c.tempDir(dir)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temp) }() // its name says what it is
	out, err := c.runNew(ctx, "version")
	if err != nil {
		r.Stops = append(r.Stops, err.Error())
		return nil
	}
	if r.To = strings.TrimSpace(string(out)); !strings.HasPrefix(r.To, "promptmq ") {
		r.Stops = append(r.Stops, c.Binary+" is no promptmq")
		return nil
	}
	if c.File != "" {
		if out, err := c.runNew(ctx, "config", "check", "--files", c.File); err != nil {
			r.ConfigFaults = err.Error()
			r.Stops = append(r.Stops, "the configuration is not one for it: "+string(out)+err.Error())
		}
	}
	if err := c.compareSettings(ctx, dir, r); err != nil {
		return err
	}
	copied := filepath.Join(temp, "promptmq.db")
	if err := c.copyTo(ctx, copied); err != nil {
		return fmt.Errorf("no copy was made, on which it could be tried: %w", err)
	}
	return c.examineCopy(ctx, r, temp, copied)
}

// tempDir makes a directory for the copy, if there is room for it.
func (c *upgradeCommand) tempDir(dir string) (string, error) {
	parent := c.Temp
	if parent == "" {
		parent = dir
	}
	parent = config.Absolute(parent)
	size := store.SizeOf(dir)
	const times = 2 // the copy, and what a migration writes of it
	if free := store.FreeBytes(parent); free >= 0 && free < times*size {
		return "", fmt.Errorf("%s has %s free, and to try it on a copy of the data takes %s: say where there is more with --temp", parent, inspect.BytesText(free), inspect.BytesText(times*size))
	}
	temp, err := os.MkdirTemp(parent, "upgrade-check-")
	if err != nil {
		return "", err
	}
	if owner, known := store.Owner(dir); known && owner != os.Geteuid() && os.Geteuid() == 0 {
		if err := os.Chown(temp, owner, -1); err != nil { // the broker writes the copy
			_ = os.Remove(temp)
			return "", err
		}
	}
	return temp, nil
}

// examineCopy has the new program migrate the copy, and compares.
func (c *upgradeCommand) examineCopy(ctx context.Context, r *upgradeReport, temp, copied string) error {
	before, err := store.VerifyFile(copied)
	if err != nil {
		return err
	}
	if before.Damage != nil {
		r.Attention = append(r.Attention, "the data are damaged as they are: "+before.Damage.Error())
	}
	if info, err := os.Stat(copied); err == nil {
		r.BytesBefore = info.Size()
	}
	out, err := c.runNew(ctx, "upgrade", "--migrate", temp)
	if err == nil {
		err = json.Unmarshal(out, &r.Migration)
	}
	if err != nil {
		r.Stops = append(r.Stops, "it cannot take over the data, or has no upgrade --migrate: "+err.Error())
		return nil
	}
	r.WayBack = r.Migration.SchemaAfter == before.SchemaVersion
	if !r.WayBack {
		r.Attention = append(r.Attention, fmt.Sprintf("there is no way back to this version but a backup: the database becomes one of schema version %d", r.Migration.SchemaAfter))
	}
	return c.compareRows(ctx, r, before, copied)
}

// compareRows compares what there was with what the new program finds in the copy.
func (c *upgradeCommand) compareRows(ctx context.Context, r *upgradeReport, before *store.Verified, copied string) error {
	var after struct {
		Damage string          `json:"damage"`
		Tables []verifiedTable `json:"tables"`
	}
	out, err := c.runNew(ctx, "verify", "--json", copied)
	if jsonErr := json.Unmarshal(out, &after); jsonErr != nil {
		return errors.Join(err, jsonErr)
	}
	if after.Damage != "" {
		r.Attention = append(r.Attention, "the new program finds damage in the copy: "+after.Damage)
	}
	rows := make(map[string]int)
	for _, t := range after.Tables {
		rows[t.Table] = t.Sound
	}
	for _, t := range before.Tables {
		if now, there := rows[t.Name]; !there || now != t.Recovered {
			r.Attention = append(r.Attention, fmt.Sprintf("rows of %s: %d, and %d in the copy that was migrated", t.Name, t.Recovered, now))
		}
	}
	return nil
}

// compareSettings compares the settings that both programs have, and their defaults: those of
// the broker that runs, else of this program.
func (c *upgradeCommand) compareSettings(ctx context.Context, dir string, r *upgradeReport) error {
	mine, err := config.Explain("")
	if err != nil {
		return err
	}
	if a, err := dial(ctx, dir); err == nil {
		page, err := admin.Call[inspect.Page[inspect.Setting]](ctx, a.Client, http.MethodGet, "/config", nil)
		if err != nil {
			return err
		}
		numbers, err := admin.Call[inspect.Numbers](ctx, a.Client, http.MethodGet, "/numbers", nil)
		if err != nil {
			return err
		}
		mine, r.From = page.Items, numbers.Version
	}
	out, err := c.runNew(ctx, "config", "explain", "--json")
	if err != nil {
		r.Attention = append(r.Attention, "the settings cannot be compared: "+err.Error())
		return nil
	}
	var theirs []inspect.Setting
	if err := json.Unmarshal(out, &theirs); err != nil {
		return err
	}
	now := make(map[string]*inspect.Setting)
	for i := range theirs {
		now[theirs[i].Key] = &theirs[i]
	}
	for _, s := range mine {
		switch n := now[s.Key]; {
		case n == nil:
			r.SettingsGone = append(r.SettingsGone, s.Key)
		case n.Default != s.Default:
			r.Defaults = append(r.Defaults, changedDefault{s.Key, s.Default, n.Default})
		}
		delete(now, s.Key)
	}
	for _, s := range theirs {
		if now[s.Key] != nil {
			r.SettingsNew = append(r.SettingsNew, s.Key)
		}
	}
	if n := len(r.SettingsGone) + len(r.Defaults); n > 0 {
		r.Attention = append(r.Attention, fmt.Sprintf("%d settings are gone or have another default", n))
	}
	return nil
}

// schemaOfNew asks the new program for the version of its databases.
func (c *upgradeCommand) schemaOfNew(ctx context.Context) (int64, error) {
	temp, err := os.MkdirTemp("", "promptmq-upgrade-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(temp) }() // its name says what it is
	out, err := c.runNew(ctx, "upgrade", "--migrate", temp)
	var m migration
	if err == nil {
		err = json.Unmarshal(out, &m)
	}
	if err != nil {
		return 0, fmt.Errorf("%s has no upgrade --migrate, so it is older than 0.2.0, or no promptmq: %w", c.Binary, err)
	}
	return m.SchemaAfter, nil
}

// runNew runs the new program, and returns what it wrote. Its error has what it complained of.
func (c *upgradeCommand) runNew(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, c.Binary, args...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%s %s: %w", c.Binary, strings.Join(args, " "), err)
		if text := strings.TrimSpace(complaints.String()); text != "" {
			err = fmt.Errorf("%w: %s", err, text)
		}
	}
	return out.Bytes(), err
}

// write writes the report for people.
func (r *upgradeReport) write(w io.Writer) error {
	m := &r.Migration
	lines := []string{fmt.Sprintf("new program   %s: %s", r.Binary, orNone(r.To)), "old program   " + r.From}
	if m.SchemaAfter > 0 {
		lines = append(lines,
			fmt.Sprintf("database      %s: schema version %d, then %d; %s, then %s; migrated and loaded in %v", r.Database, m.SchemaBefore, m.SchemaAfter,
				inspect.BytesText(r.BytesBefore), inspect.BytesText(m.BytesAfter), time.Duration(m.Seconds*float64(time.Second)).Round(time.Millisecond)),
			fmt.Sprintf("loaded        %s sessions, %s retained messages", inspect.CountText(m.Sessions), inspect.CountText(m.Retained)),
			"way back      "+map[bool]string{true: "yes: the old program can open the database afterwards", false: "no: only a backup"}[r.WayBack])
	}
	lines = append(lines, "new settings  "+orNone(strings.Join(r.SettingsNew, ", ")), "gone settings "+orNone(strings.Join(r.SettingsGone, ", ")))
	for _, d := range r.Defaults {
		lines = append(lines, fmt.Sprintf("default       %s: %s, then %s", d.Key, quotedIfEmpty(d.Before), quotedIfEmpty(d.After)))
	}
	for _, text := range r.Stops {
		lines = append(lines, "! "+text)
	}
	for _, text := range r.Attention {
		lines = append(lines, "! "+text)
	}
	_, err := fmt.Fprintln(w, strings.Join(lines, "\n"))
	return err
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}
