package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/config"
	"github.com/x0a1b/promptmq/store"
	"github.com/x0a1b/promptmq/terminal"
)

type upgradeCommand struct {
	place
	Binary    string        `arg:"" optional:"" name:"newbinary" placeholder:"NEWBINARY" help:"The new program. Default: the one that this command is."`
	Check     bool          `xor:"what" help:"Only say what would change, tried on a copy of the data: exit with 1 if the new program would not start, and with 3 if something needs attention, as that there is no way back."`
	Unchecked bool          `xor:"what" help:"Hand over without that, which else is done if the new program changes the database."`
	Migrate   string        `xor:"what" placeholder:"DIR" help:"Bring the database in a directory to the version of this program, load it, and write what was done as JSON. It is what --check has the new program do with the copy."`
	Within    time.Duration `default:"2m" placeholder:"DURATION" help:"How long the new process may take until it is ready. Then it is ended, and the old one carries on."`
	Temp      string        `placeholder:"DIR" help:"Where the copy is made. Default: in the data directory. The user of the broker has to be able to write there."`
	JSON      bool          `help:"Write JSON."`
}

// Run implements the command.
func (c *upgradeCommand) Run() error {
	if c.Migrate != "" {
		return migrateStore(c.Migrate)
	}
	if err := c.here("upgrade", false); err != nil {
		return err
	}
	if err := c.findBinary(); err != nil {
		return err
	}
	ctx, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer restore()
	if c.Check {
		return c.report(ctx)
	}
	if !c.Unchecked {
		if err := c.checkFirst(ctx); err != nil {
			return err
		}
	}
	restore() // a signal ends the command, which has nothing to take back
	return c.handOver()
}

// findBinary makes the path of the new program one from the root on.
func (c *upgradeCommand) findBinary() (err error) {
	if c.Binary == "" {
		c.Binary, err = os.Executable()
		return err
	}
	if info, err := os.Stat(c.Binary); err == nil && info.Mode().IsRegular() { // rather than one of that name on $PATH
		c.Binary = config.Absolute(c.Binary)
	}
	found, err := exec.LookPath(c.Binary)
	if errors.Is(err, fs.ErrPermission) {
		return admin.Refuse("%s is no program that may be run", c.Binary)
	}
	if err == nil || errors.Is(err, exec.ErrDot) {
		found, err = filepath.Abs(found)
	}
	if err != nil {
		return admin.Refuse("%v", err)
	}
	c.Binary = found
	return nil
}

// checkFirst tries it on a copy if the new program would change the database.
func (c *upgradeCommand) checkFirst(ctx context.Context) error {
	dir, err := c.dir()
	if err != nil {
		return err
	}
	is, err := store.SchemaOf(dir)
	if err != nil {
		return err
	}
	next, err := c.schemaOfNew(ctx)
	if err != nil {
		return fmt.Errorf("not upgraded, the broker carries on: %w", err)
	}
	if is == next {
		return nil
	}
	fmt.Fprintf(os.Stderr, "the new program changes the database (schema version %d to %d): it is tried on a copy first\n", is, next)
	if err := c.report(ctx); err != nil && !errors.Is(err, errAttention) {
		return fmt.Errorf("not upgraded, the broker carries on: %w", err)
	}
	return nil
}

// handOver has the running broker hand over, and waits for what comes of it.
func (c *upgradeCommand) handOver() error {
	var began *inspect.Upgrade
	err := c.ask(func(ctx context.Context, a *administered) (err error) {
		began, err = admin.Call[inspect.Upgrade](ctx, a.Client, http.MethodPost, "/upgrade", &upgradeRequest{Binary: c.Binary, WithinSeconds: c.Within.Seconds()})
		return err
	})
	if err != nil {
		return err
	}
	ended, err := c.outcome(began)
	switch {
	case err != nil:
		return err
	case ended.State == inspect.UpgradeFailed:
		return fmt.Errorf("not upgraded: the old process, %d, has taken its work back: %s", ended.PID, ended.Error)
	case c.JSON:
		return writeJSON(os.Stdout, ended)
	}
	fmt.Printf("upgraded from %s to %s: process %d, where connects waited for %v\n", ended.From, ended.To, ended.PID, time.Duration(ended.GapSeconds*float64(time.Second)).Round(time.Millisecond))
	if terminal.Is(os.Stdout) { // where a person may wait for the prompt of the old process, or press Ctrl-C
		fmt.Printf("It runs behind, whatever the old process was started from: what supervises it ends it, or kill %d\n", ended.PID)
	}
	return nil
}

// outcome asks whoever has the data directory until it is known what came of an upgrade.
func (c *upgradeCommand) outcome(began *inspect.Upgrade) (*inspect.Upgrade, error) {
	const spare = 30 * time.Second // for both to stop and to answer
	dir, err := c.dir()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.Within+spare)
	defer cancel()
	for {
		if a, err := dial(ctx, dir); err == nil {
			now, err := admin.Call[inspect.Upgrade](ctx, a.Client, http.MethodGet, "/upgrade", nil)
			if err == nil && now.BeganAt.Equal(began.BeganAt) && now.State != inspect.UpgradeUnderWay {
				return now, nil
			}
		}
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return nil, errors.New("neither the old nor the new process answers: its log says why, and `promptmq status` whether it does by now")
		}
	}
}
