package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/store"
	"github.com/x0a1b/promptmq/terminal"
)

type restoreCommand struct {
	place
	From  string `arg:"" name:"file" placeholder:"FILE" help:"Backup to restore."`
	Force bool   `help:"Set a database that is there aside."`
}

// Run implements the command.
func (c *restoreCommand) Run() error {
	if err := c.here("restore", false); err != nil {
		return err
	}
	dir, err := c.dir()
	if err != nil {
		return err
	}
	if err := ownerAsks(dir); err != nil {
		return err
	}
	bar := newProgressBar(os.Stderr)
	aside, err := store.Restore(context.Background(), c.From, dir, c.Force, time.Now(), bar.show)
	bar.clear()
	switch {
	case errors.Is(err, store.ErrInUse):
		return fmt.Errorf("%w: stop the broker first", err)
	case errors.Is(err, store.ErrTarget):
		return admin.Refuse("nothing was restored: %v", err)
	case err != nil:
		return fmt.Errorf("nothing was restored: %w", err)
	}
	if aside != "" {
		fmt.Printf("the database that was there is now %s\n", aside)
	}
	_, err = fmt.Printf("%s: restored from %s\n", dir, c.From)
	return err
}

type verifyCommand struct {
	place
	What string `arg:"" optional:"" name:"file" placeholder:"FILE" help:"Backup to look through. Default: the store in the data directory."`
	JSON bool   `help:"Write JSON."`
}

// Run implements the command.
func (c *verifyCommand) Run() error {
	if err := c.here("verify", c.What != ""); err != nil {
		return err
	}
	what, v, err := c.look()
	if err != nil {
		return err
	}
	if c.JSON {
		err = c.writeJSON(what, v)
	} else {
		err = c.writeTable(what, v)
	}
	if err == nil && v.Damage != nil {
		err = errDamaged
	}
	return err
}

// errDamaged is returned for damage that was told.
var errDamaged = errors.New("it is damaged")

// look verifies a file, the store of a broker that does not run, or a copy of that of one
// that does.
func (c *verifyCommand) look() (what string, v *store.Verified, err error) {
	stepBehind()
	if c.What != "" {
		v, err = store.VerifyFile(c.What)
		return c.What, v, err
	}
	dir, err := c.dir()
	if err != nil {
		return "", nil, err
	}
	if !store.Exists(dir) {
		return "", nil, fmt.Errorf("there is no database in %s: is that the data directory of the server?", dir)
	}
	if err := ownerAsks(dir); err != nil && !running(dir) {
		return "", nil, err
	}
	if v, err = store.VerifyStopped(dir); !errors.Is(err, store.ErrInUse) {
		return dir, v, err
	}
	partial := filepath.Join(dir, "verify"+partialSuffix)
	if err := c.copyTo(context.Background(), partial); err != nil {
		return "", nil, err
	}
	defer func() { _ = os.Remove(partial) }() // the next one does it otherwise
	v, err = store.VerifyFile(partial)
	return dir, v, err
}

// running reports whether a broker listens on a data directory.
func running(dir string) bool {
	_, err := admin.Dial(context.Background(), dir)
	return err == nil
}

// A verifiedTable is inspect of one table for programs.
type verifiedTable struct {
	Table      string `json:"table"`
	Sound      int    `json:"sound"`
	Lost       int    `json:"lost"`
	Unreadable int    `json:"unreadable_places"`
}

func (c *verifyCommand) writeJSON(what string, v *store.Verified) error {
	out := struct {
		What    string          `json:"what"`
		Sound   bool            `json:"sound"`
		Damage  string          `json:"damage,omitempty"`
		Schema  int64           `json:"schema_version"`
		Orphans int64           `json:"orphans"`
		Tables  []verifiedTable `json:"tables"`
	}{What: what, Sound: v.Damage == nil, Schema: v.SchemaVersion, Orphans: v.Orphans, Tables: []verifiedTable{}}
	if v.Damage != nil {
		out.Damage = v.Damage.Error()
	}
	for _, t := range v.Tables {
		out.Tables = append(out.Tables, verifiedTable{t.Name, t.Recovered, t.Lost, t.Unreadable})
	}
	return writeJSON(os.Stdout, out)
}

func (c *verifyCommand) writeTable(what string, v *store.Verified) error {
	t := terminal.Table{Columns: []terminal.Column{{Title: "ROWS OF"}, {Title: "SOUND", Right: true}, {Title: "LOST", Right: true}, {Title: "UNREADABLE PLACES", Right: true}, {Title: "WHAT THEY HOLD"}}}
	for _, row := range v.Tables {
		t.Add(row.Name, strconv.Itoa(row.Recovered), strconv.Itoa(row.Lost), strconv.Itoa(row.Unreadable), rowsHold[row.Name])
	}
	if err := t.Write(os.Stdout, 0); err != nil {
		return err
	}
	if v.Orphans > 0 {
		fmt.Printf("%d rows belong to sessions that are not there, which does no harm\n", v.Orphans)
	}
	if v.Damage == nil {
		_, err := fmt.Printf("%s: sound, schema version %d\n", what, v.SchemaVersion)
		return err
	}
	_, err := fmt.Printf("%s: %v\n\"promptmq server --salvage\" would keep the sound rows\n", what, v.Damage)
	return err
}
