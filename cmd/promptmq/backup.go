package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/store"
)

// partialSuffix ends the name of a copy that is not known to be whole and sound.
const partialSuffix = ".partial"

// lookEvery is how often a command asks how far a backup is.
const lookEvery = 100 * time.Millisecond

type backupCommand struct {
	place
	To    string `arg:"" name:"file" placeholder:"FILE" help:"File to make."`
	Force bool   `help:"Replace the file if it is there."`
}

// Run implements the command.
func (c *backupCommand) Run() error {
	if err := c.here("backup", false); err != nil {
		return err
	}
	dir, err := c.dir()
	if err != nil {
		return err
	}
	to, err := target(dir, c.To, c.Force)
	if err != nil {
		return err
	}
	ctx, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer restore()
	partial := to + partialSuffix
	stepBehind()
	if err := c.copyTo(ctx, partial); err != nil {
		return err
	}
	v, err := store.VerifyFile(partial)
	if err == nil {
		err = v.Damage
	}
	if err != nil {
		return fmt.Errorf("the copy is not sound, and is left at %s: %w", partial, hintSalvage(err))
	}
	if err := putInPlace(dir, partial, to); err != nil {
		return err
	}
	info, err := os.Stat(to)
	if err != nil {
		return err
	}
	_, err = fmt.Printf("%s: %d bytes, verified: %s\n", to, info.Size(), countsText(v))
	return err
}

// rowsHold says what rows are whose names do not.
var rowsHold = map[string]string{
	"run":   "queued messages, those of a session that came together in one row",
	"owed":  "retained messages that a subscription has still to be sent",
	"state": "what is under way between a session and its client",
}

// countsText says how many rows of each kind there are.
func countsText(v *store.Verified) string {
	var parts []string
	for _, t := range v.Tables {
		if t.Recovered > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", t.Name, t.Recovered))
			if what := rowsHold[t.Name]; what != "" {
				parts[len(parts)-1] += " (" + what + ")"
			}
		}
	}
	if len(parts) == 0 {
		return "nothing is stored"
	}
	return "rows of " + strings.Join(parts, ", ")
}

// copyTo has the broker copy its store to a file, or copies that of one that does not run.
func (p *place) copyTo(ctx context.Context, path string) error {
	dir, err := p.dir()
	if err != nil {
		return err
	}
	bar := newProgressBar(os.Stderr)
	defer bar.clear()
	for began := time.Now(); ; time.Sleep(lookEvery) {
		a, err := dial(ctx, dir)
		if err == nil {
			return a.copyTo(ctx, path, bar)
		}
		if !errors.Is(err, admin.ErrNobody) {
			return err
		}
		if err := ownerAsks(dir); err != nil {
			return err
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err // of a command that was cut short
		}
		err = store.BackupStopped(ctx, dir, path, bar.show)
		if !errors.Is(err, store.ErrInUse) || time.Since(began) > answersWithin {
			return hintSalvage(err)
		}
	}
}

// copyTo has a running broker copy its store.
func (a *administered) copyTo(ctx context.Context, path string, bar *progressBar) error {
	state, err := admin.Call[inspect.Backup](ctx, a.Client, http.MethodGet, "/store/backup", nil)
	if err == nil && !state.Running {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err // of a command that was cut short
		}
	}
	if err == nil {
		state, err = admin.Call[inspect.Backup](ctx, a.Client, http.MethodPost, "/store/backup", &backupFile{path})
	}
	for err == nil && state.Running {
		bar.show(state.CopiedBytes, state.TotalBytes)
		select {
		case <-time.After(lookEvery):
			state, err = admin.Call[inspect.Backup](ctx, a.Client, http.MethodGet, "/store/backup", nil)
		case <-ctx.Done():
			_, err = admin.Call[admin.Nothing](context.WithoutCancel(ctx), a.Client, http.MethodDelete, "/store/backup", nil)
			return errors.Join(errors.New("interrupted: there is no backup"), err)
		}
	}
	switch {
	case err != nil:
		return err
	case state.File != path:
		return errors.New("the broker was asked for another backup, or has started anew, before this one was done")
	case state.Error != "":
		return fmt.Errorf("the broker made no copy: %s; it is the broker that writes the file, so name one where its user may", state.Error)
	}
	return nil
}

// A progressBar shows how far something is, on a terminal.
type progressBar struct {
	w       io.Writer // nil: no terminal
	columns int
}

func newProgressBar(f *os.File) *progressBar {
	if columns, _, err := term.GetSize(int(f.Fd())); err == nil {
		return &progressBar{f, columns}
	}
	return new(progressBar)
}

// show shows that so much of a total is done.
func (b *progressBar) show(done, total int64) {
	if b.w == nil || total <= 0 {
		return
	}
	percent := int(done * 100 / total)
	text := " " + strconv.Itoa(percent) + " % of " + strconv.FormatInt(total>>20, 10) + " MiB"
	width := max(0, min(50, b.columns-len(text)-3))
	full := width * percent / 100
	fmt.Fprintf(b.w, "\r[%s%s]%s", strings.Repeat("#", full), strings.Repeat(" ", width-full), text)
}

// clear takes the bar away.
func (b *progressBar) clear() {
	if b.w != nil {
		fmt.Fprintf(b.w, "\r%s\r", strings.Repeat(" ", max(0, b.columns-1)))
	}
}
