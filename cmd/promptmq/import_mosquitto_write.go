package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/cmd/promptmq/mosquitto"
	"github.com/x0a1b/promptmq/store"
)

// mayBeWritten returns an error that says what is there already.
func (m *mosquittoMove) mayBeWritten() error {
	if _, err := os.Lstat(m.file); err == nil {
		return fmt.Errorf("%s is there already: --force replaces it", m.file)
	}
	if store.Exists(m.dataDir) {
		return fmt.Errorf("there is a database in %s already: --force sets it aside", m.dataDir)
	}
	return nil
}

// write writes the configuration and the store, both or neither; if the configuration, which is
// whole by then, cannot get its name, the error says that the store is there alone.
func (m *mosquittoMove) write(force bool) (err error) {
	if info, err := os.Stat(m.file); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("nothing was imported: %s is no file that can be replaced", m.file)
	}
	owner, owned := store.Owner(m.dataDir)
	for dir, mode := range map[string]fs.FileMode{filepath.Dir(m.file): 0o755, m.dataDir: 0o700} {
		made, err := firstMissing(dir)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(dir, mode); err != nil {
			return err
		}
		if made != "" {
			defer func() {
				if m.imported == nil {
					_ = os.RemoveAll(made) // nothing is in it but what this process made
				}
			}()
		}
	}
	partial := m.file + partialSuffix
	defer func() { _ = os.Remove(partial) }() // it is not there any more after a success
	if err := m.writeConfig(partial); err != nil {
		return err
	}
	counts, err := m.fill(force)
	if err != nil {
		return err
	}
	m.imported = counts // and stays, whatever comes
	if err := store.PutInPlace(partial, m.file); err != nil {
		return fmt.Errorf("%s has users, rules and state, but there is no configuration: %w", m.dataDir, err)
	}
	if owned && owner != 0 && os.Geteuid() == 0 {
		return giveTo(owner, m.dataDir)
	}
	return nil
}

// firstMissing is the uppermost directory of a path that is not there; "": all are.
func firstMissing(dir string) (string, error) {
	missing := ""
	for ; ; dir = filepath.Dir(dir) {
		_, err := os.Stat(dir)
		if err == nil {
			return missing, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		missing = dir
	}
}

func (m *mosquittoMove) writeConfig(path string) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "# end required\n# Made of %s by promptmq import mosquitto.\n# Keys that are not here have their defaults: promptmq config print shows them all.\n\n", m.from)
	if err == nil {
		err = m.config.WriteGiven(f)
	}
	if err == nil {
		_, err = fmt.Fprintln(f, "# end")
	}
	return errors.Join(err, f.Sync(), f.Close())
}

// fill makes a database beside the one that may be there, and puts it in its place when it is
// whole.
func (m *mosquittoMove) fill(force bool) (*store.Counts, error) {
	staging, err := os.MkdirTemp(m.dataDir, "import-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(staging) }()
	o := m.config.Store
	o.DataDir = staging
	counts, err := store.ImportStopped(o, m.lines(time.Now()), checksOfImport)
	if err != nil {
		return nil, fmt.Errorf("nothing was imported: %w", err)
	}
	bar := newProgressBar(os.Stderr)
	m.aside, err = store.Restore(context.Background(), store.File(staging), m.dataDir, force, time.Now(), bar.show)
	bar.clear()
	switch {
	case errors.Is(err, store.ErrInUse):
		return nil, fmt.Errorf("nothing was imported: %w: stop the broker first", err)
	case errors.Is(err, store.ErrTarget):
		return nil, admin.Refuse("nothing was imported: %v", err)
	case err != nil:
		return nil, fmt.Errorf("nothing was imported: %w", err)
	}
	return counts, nil
}

// lines are what is stored.
func (m *mosquittoMove) lines(now time.Time) store.Lines {
	return func(yield func(*store.Line, error) bool) {
		for _, u := range m.access.Users {
			if !yield(&store.Line{User: &store.LineUser{Name: u.Name, Hash: u.Hash, Groups: u.Groups, Disabled: u.Disabled, Changed: now}}, nil) {
				return
			}
		}
		for _, r := range m.access.Rules {
			text := r.String()
			if !yield(&store.Line{Rule: &text}, nil) {
				return
			}
		}
		m.stateLines(now)(yield)
	}
}

// storedUser is a user as the store would have it.
func storedUser(u *mosquitto.User) *store.User {
	return &store.User{Name: u.Name, Hash: u.Hash, Groups: u.Groups, Disabled: u.Disabled}
}

// giveTo gives what root has made in a data directory to whose it is.
func giveTo(owner int, dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, owner, -1)
	})
}
