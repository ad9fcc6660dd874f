package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/store"
)

// openData opens the store, and loads who is in it.
func (p *process) openData(ctx context.Context, o store.Options) (*store.DB, *accounts, error) {
	db, err := openStore(ctx, p.log, o, p.command.Salvage)
	if err != nil {
		return nil, nil, err
	}
	if err = logStore(p.log, o.DataDir, db); err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	stored, err := loadAccounts(db)
	if err == nil {
		err = stored.whole()
	}
	if err != nil {
		return nil, nil, errors.Join(hintSalvage(err), db.Close())
	}
	return db, stored, nil
}

// openStore opens the store, after it is salvaged if that is asked for.
func openStore(ctx context.Context, log *slog.Logger, o store.Options, salvage bool) (*store.DB, error) {
	if salvage {
		if err := salvageStore(log, o); err != nil {
			return nil, fmt.Errorf("salvage the store in %s: %w", o.DataDir, err)
		}
	}
	db, err := openUnused(ctx, o)
	if err != nil {
		return nil, hintSalvage(fmt.Errorf("open the store in %s: %w", o.DataDir, err))
	}
	return db, nil
}

// openUnused opens the store, if need be when the command has ended that has it.
func openUnused(ctx context.Context, o store.Options) (*store.DB, error) {
	for began := time.Now(); ; {
		db, err := store.Open(o)
		if !errors.Is(err, store.ErrInUse) || time.Since(began) > commandsEndWithin {
			return db, err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return db, err
		}
	}
}

// logStore writes the settings as SQLite itself reports them.
func logStore(log *slog.Logger, dir string, db *store.DB) error {
	pragmas, err := db.Pragmas()
	if err != nil {
		return fmt.Errorf("read the pragmas back: %w", err)
	}
	system := db.FileSystem()
	attrs := []any{"data_dir", dir, "file_system", system.Name}
	for _, name := range slices.Sorted(maps.Keys(pragmas)) {
		attrs = append(attrs, name, pragmas[name])
	}
	log.Info("store opened", attrs...)
	if system.Doubt != "" {
		log.Warn("the file system of the data directory may not keep what is acknowledged; docs/storage.md has a section on file systems", trouble.FileSystem,
			"data_dir", dir, "file_system", system.Name, "because", system.Doubt)
	}
	for _, f := range db.Exposed() {
		log.Warn("other users of this machine can get at a file of the database, and its mode cannot be changed: give it to the user of this process (chown), or keep others out of the directory (chmod 0700) or the mount (its options)", trouble.FileMode,
			"file", f.Path, "mode", f.Mode.String(), "error", f.Err)
	}
	return nil
}
