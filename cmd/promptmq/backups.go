package main

import (
	"context"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/store"
)

// backups makes copies of the store of a running broker, one at a time.
type backups struct {
	db  *store.DB
	log *slog.Logger

	mu   sync.Mutex // guards the following
	last inspect.Backup
	stop context.CancelFunc // of the one that is running
}

// A backupFile is where a backup is to be.
type backupFile struct {
	File string `json:"file" minLength:"1" maxLength:"4096" doc:"Path on the broker's machine, from the root on, of a file that is not there yet."`
}

// addBackups adds what copies the store.
func addBackups(api *admin.API, db *store.DB, log *slog.Logger) {
	b := &backups{db: db, log: log}
	type file struct{ Body backupFile }
	admin.Handle(api, admin.Operation{Method: http.MethodPost, Path: "/store/backup", Role: admin.Admin, Group: "store",
		Summary:     "Begin to copy the store to a file, with all that was acknowledged before.",
		Description: "Only over the administration socket, for the broker writes the file. It is read by the user of the broker alone. GET says how far it is.",
		Refused:     []int{http.StatusConflict}},
		func(ctx context.Context, in *file) (*inspect.Backup, error) { return b.begin(ctx, in.Body.File) })
	admin.Handle(api, admin.Operation{Method: http.MethodGet, Path: "/store/backup", Role: admin.Viewer, Group: "store", Summary: "The last backup that was begun, and how far it is."},
		func(context.Context, *admin.Nothing) (*inspect.Backup, error) {
			state := b.state()
			return &state, nil
		})
	admin.Handle(api, admin.Operation{Method: http.MethodDelete, Path: "/store/backup", Role: admin.Admin, Group: "store", Summary: "End the backup that is running. Its file is removed."},
		func(context.Context, *admin.Nothing) (*admin.Nothing, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.stop != nil {
				b.stop()
			}
			return new(admin.Nothing), nil
		})
}

func (b *backups) state() inspect.Backup {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}

func (b *backups) begin(ctx context.Context, path string) (*inspect.Backup, error) {
	if !admin.OnThisMachine(ctx) {
		return nil, admin.Refuse("the broker writes the file, and only for who asks over its administration socket: run this on its machine")
	}
	if !filepath.IsAbs(path) {
		return nil, admin.RefuseField("file", "the path is from the root on, and %.200q is not", path)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last.Running {
		return nil, &admin.Error{Text: "a backup is running, to " + b.last.File, Status: http.StatusConflict, Asked: true}
	}
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	b.last, b.stop = inspect.Backup{File: path, Running: true, BeganAt: time.Now().UTC()}, stop
	go b.run(working, path)
	state := b.last
	return &state, nil
}

// run copies, and notes how it ended. The store ends it when it is closed.
func (b *backups) run(ctx context.Context, path string) {
	err := b.db.Backup(ctx, path, func(copied, total int64) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.last.CopiedBytes, b.last.TotalBytes = copied, total
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stop()
	b.stop, b.last.Running, b.last.EndedAt = nil, false, time.Now().UTC()
	if err != nil {
		b.last.Error = err.Error()
		b.log.Warn("a backup was not made", trouble.BackupFailed, "file", path, "error", err)
		return
	}
	b.log.Info("a backup was made", "file", path, "bytes", b.last.TotalBytes, "took", b.last.EndedAt.Sub(b.last.BeganAt))
}
