package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/config"
	"github.com/x0a1b/promptmq/store"
)

// answersWithin is how long a command waits while a broker, or another command, has the data
// directory and does not answer.
const answersWithin = 15 * time.Second

// A place is what a command works on: a data directory, or a broker elsewhere.
type place struct {
	File    string `name:"config" env:"PROMPTMQ_CONFIG" placeholder:"FILE" help:"YAML file that the server has."`
	DataDir string `name:"data-dir" placeholder:"DIR" xor:"place" help:"Data directory of the server. Default: what the file or the environment ($$PROMPTMQ_DATA_DIR) says, else ./data."`
	remote
}

func (p *place) load() (*config.Config, error) {
	cfg, err := config.Load(config.Sources{File: p.File, Environ: os.Environ()})
	if err != nil {
		return nil, err
	}
	if p.DataDir != "" {
		cfg.Store.DataDir = p.DataDir
	}
	cfg.Store.DataDir = config.Absolute(cfg.Store.DataDir)
	return cfg, nil
}

// dir is the data directory. Who names it can reach a broker whose configuration is broken.
func (p *place) dir() (string, error) {
	if p.DataDir != "" {
		return config.Absolute(p.DataDir), nil
	}
	cfg, err := p.load()
	if faults, ok := errors.AsType[config.Errors](err); ok {
		return "", append(faults, &config.Error{Origin: config.Origin{Name: "--data-dir"}, Text: "say the data directory of the broker with it, and the configuration is not read to find that"})
	}
	if err != nil {
		return "", err
	}
	return cfg.Store.DataDir, nil
}

// administered is who does what a command asks for.
type administered struct {
	*admin.Client
	dir     string
	running bool // a broker does it; else this process does
	close   func() error
}

// administer calls do with who has the data directory: the broker that runs on it, or else
// this process, which then keeps a broker from it. With create it may make a database.
func (p *place) administer(create bool, do func(context.Context, *administered) error) error {
	ctx := context.Background()
	if a, err := p.elsewhere(p.DataDir != ""); a != nil || err != nil {
		return doWith(ctx, a, err, do)
	}
	dir, err := p.dir()
	if err != nil {
		return err
	}
	a, err := p.find(ctx, dir, create)
	if err != nil {
		return err
	}
	return errors.Join(do(ctx, a), a.close())
}

// doWith calls do if there is no error yet.
func doWith(ctx context.Context, a *administered, err error, do func(context.Context, *administered) error) error {
	if err != nil {
		return err
	}
	return do(ctx, a)
}

// ask calls do with the broker that runs on the data directory, or elsewhere.
func (p *place) ask(do func(context.Context, *administered) error) error {
	ctx := context.Background()
	if a, err := p.elsewhere(p.DataDir != ""); a != nil || err != nil {
		return doWith(ctx, a, err, do)
	}
	dir, err := p.dir()
	if err != nil {
		return err
	}
	a, err := dialSoon(ctx, dir)
	if errors.Is(err, admin.ErrNobody) {
		return nobodyRuns{dir}
	}
	return doWith(ctx, a, err, do)
}

// A nobodyRuns is an admin.ErrNobody, with what who reads it can do about it.
type nobodyRuns struct{ dir string }

// Error implements error.
func (n nobodyRuns) Error() string {
	return fmt.Sprintf("no broker runs on %s: say where one does with --data-dir, --config or --url", n.dir)
}

// Is is for package errors.
func (nobodyRuns) Is(target error) bool { return target == admin.ErrNobody }

// dial finds the broker that runs on the data directory.
func dial(ctx context.Context, dir string) (*administered, error) {
	client, err := admin.Dial(ctx, dir)
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w; run this command as the user of the broker, or as root", err)
	}
	return &administered{client, dir, true, func() error { return nil }}, err
}

// dialSoon is dial, but that it waits while somebody has the data directory: one broker hands it to
// the next. Between the two nobody has it, for a moment.
func dialSoon(ctx context.Context, dir string) (*administered, error) {
	const freeTwice = 2
	for began, free := time.Now(), 0; ; time.Sleep(50 * time.Millisecond) {
		a, err := dial(ctx, dir)
		if !errors.Is(err, admin.ErrNobody) || time.Since(began) > answersWithin {
			return a, err
		}
		if _, looked := store.LookStopped(dir); errors.Is(looked, store.ErrInUse) {
			free = 0
		} else if free++; free == freeTwice {
			return nil, err
		}
	}
}

// find waits for who has the data directory.
func (p *place) find(ctx context.Context, dir string, create bool) (*administered, error) {
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		a, err := dial(ctx, dir)
		if !errors.Is(err, admin.ErrNobody) {
			return a, err
		}
		a, err = p.openStopped(dir, create)
		if !errors.Is(err, store.ErrInUse) {
			return a, err
		}
		if time.Since(began) > answersWithin {
			return nil, fmt.Errorf("%w; it does not answer on its administration socket: either it is starting or ending, or its log says why there is no socket", err)
		}
	}
}

// openStopped opens the store of a broker that does not run.
func (p *place) openStopped(dir string, create bool) (*administered, error) {
	if !create && !store.Exists(dir) {
		return nil, fmt.Errorf("there is no database in %s: is that the data directory of the server?", dir)
	}
	if err := ownerAsks(dir); err != nil {
		return nil, err
	}
	cfg, err := p.load()
	if err != nil {
		return nil, err
	}
	db, err := store.Open(cfg.Store)
	if err != nil {
		return nil, hintSalvage(err)
	}
	api, err := stoppedAPI(db, cfg)
	if err != nil {
		return nil, errors.Join(hintSalvage(err), db.Close())
	}
	return &administered{admin.Local(api), dir, false, db.Close}, nil
}

// ownerAsks returns an error if root would make files that the broker could not use.
func ownerAsks(dir string) error {
	if owner, known := store.Owner(dir); known && owner != os.Geteuid() && os.Geteuid() == 0 {
		return fmt.Errorf("no broker runs, and %s belongs to user %d, who could not use what root makes in there: run this command as that user", dir, owner)
	}
	return nil
}

// stoppedAPI has the operations that need no broker.
func stoppedAPI(db *store.DB, cfg *config.Config) (*admin.API, error) {
	a, err := loadAccounts(db)
	if err != nil {
		return nil, err
	}
	a.fileRules = func() ([]access.Rule, error) {
		rules, faults := readRules(cfg)
		if len(faults) > 0 {
			return nil, faults
		}
		return rules, nil
	}
	quiet := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})) // the command says itself what it does
	api := admin.New(version(), quiet, func() {})
	a.addUserOperations(api, func(string) int { return 0 })
	a.addRuleOperations(api)
	return api, nil
}
