package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/store"
)

// The most that a store has of users and rules, and that these may have.
const (
	usersMax     = 100_000
	rulesMax     = 10_000
	nameBytesMax = 1024
	groupsMax    = 64
)

// An accounts has the users and rules of a store. All that changes them goes through it, so
// that memory has what is stored. Its methods may be called by any goroutine.
type accounts struct {
	db  *store.DB
	now func() time.Time
	log *slog.Logger // of what is changed
	// write calls its argument when db may be written to.
	write func(ctx context.Context, write func() error) error
	// changed is called after each change, before it is answered. nil: no broker runs.
	changed func() error
	// fileRules are those that files add.
	fileRules func() ([]access.Rule, error)

	turn chan struct{} // has one element, which who makes a change takes

	mu    sync.RWMutex // guards the following, which are replaced, not changed
	users map[string]*store.User
	rules []access.Rule
	lost  bool // a salvage may have lost some
}

// loadAccounts reads the users and rules of a store that nobody else uses yet. What cannot be
// read is an error: without a rule that denies, the others would allow too much.
func loadAccounts(db *store.DB) (*accounts, error) {
	users, err := db.Users()
	if err != nil {
		return nil, err
	}
	lines, err := db.Rules()
	if err != nil {
		return nil, err
	}
	lost, err := db.AccessLost()
	if err != nil {
		return nil, err
	}
	a := &accounts{
		db: db, now: time.Now, log: slog.New(slog.DiscardHandler), turn: make(chan struct{}, 1), users: make(map[string]*store.User, len(users)), lost: lost,
		write:     func(_ context.Context, write func() error) error { return write() },
		fileRules: func() ([]access.Rule, error) { return nil, nil },
	}
	a.turn <- struct{}{}
	for i := range users {
		if err := checkUser(&users[i]); err != nil {
			return nil, fmt.Errorf("the stored user %q: %w", users[i].Name, err)
		}
		a.users[users[i].Name] = &users[i]
	}
	if a.rules, err = rulesOf(lines); err != nil {
		return nil, err
	}
	return a, nil
}

// errLost is a start after a salvage that may have lost users or rules.
var errLost = errors.New(`the salvage of a damaged database may have lost users or rules, and what is left may allow too much: ` +
	`look at "promptmq acl list" and "promptmq user list", add what is missing, and then say so with "promptmq acl keep"`)

// whole returns nil unless users or rules may be missing.
func (a *accounts) whole() error {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if a.lost {
		return errLost
	}
	return nil
}

// rulesOf reads the lines of the store.
func rulesOf(lines []string) ([]access.Rule, error) {
	rules := make([]access.Rule, len(lines))
	for i, line := range lines {
		r, err := access.ParseRule(line)
		if err != nil {
			return nil, fmt.Errorf("rule %d of the store, %q: %w", i+1, line, err)
		}
		rules[i] = r
	}
	return placed(rules), nil
}

// placed says of each rule where it stands.
func placed(rules []access.Rule) []access.Rule {
	for i := range rules {
		rules[i].Where = fmt.Sprintf("rule %d of the store", i+1)
	}
	return rules
}

// allRules returns those that are stored, in order. They belong to the caller.
func (a *accounts) allRules() []access.Rule {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return slices.Clone(a.rules)
}

// allUsers returns them by name. Who changes one makes another.
func (a *accounts) allUsers() map[string]*store.User {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.users
}

// policyRules returns all that a policy has, in order.
func (a *accounts) policyRules() ([]access.Rule, error) {
	files, err := a.fileRules()
	return slices.Concat(a.allRules(), files), err
}

// change lets f store something when it is its turn, and then has everybody know what f
// put into users and rules.
func (a *accounts) change(ctx context.Context, f func() error) error {
	select {
	case <-a.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { a.turn <- struct{}{} }()
	if err := f(); err != nil {
		return err
	}
	if a.changed == nil {
		return nil
	}
	return a.changed()
}

// changeUser stores what f makes of a user; f has a copy, nil if there is none, and returns
// nil to delete it.
func (a *accounts) changeUser(ctx context.Context, name string, f func(*store.User) (*store.User, error)) error {
	return a.change(ctx, func() error {
		was := a.allUsers()[name]
		if was != nil {
			c := *was
			was = &c
		}
		next, err := f(was)
		if err != nil {
			return err
		}
		users := maps.Clone(a.allUsers())
		if next == nil {
			delete(users, name)
			err = a.write(ctx, func() error { return a.db.DeleteUser(name) })
		} else {
			next.Changed = a.now().Truncate(time.Millisecond)
			if err = checkUser(next); err != nil {
				return admin.Refuse("%v", err)
			}
			users[name] = next
			err = a.write(ctx, func() error { return a.db.PutUser(next) })
		}
		if err != nil {
			return err
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.users = users
		return nil
	})
}

// changeRules stores what f makes of the rules, which belong to it.
func (a *accounts) changeRules(ctx context.Context, f func([]access.Rule) ([]access.Rule, error)) error {
	return a.change(ctx, func() error {
		rules, err := f(a.allRules())
		if err != nil {
			return err
		}
		lines := make([]string, len(rules))
		for i := range rules {
			lines[i] = rules[i].String()
		}
		if err := a.write(ctx, func() error { return a.db.SetRules(lines) }); err != nil {
			return err
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.rules = placed(rules)
		return nil
	})
}

// keep notes that what is there may stand, after a salvage.
func (a *accounts) keep(ctx context.Context) error {
	return a.change(ctx, func() error {
		if err := a.write(ctx, a.db.KeepAccess); err != nil {
			return err
		}
		a.log.Info("an operator has confirmed the users and rules that a salvage left")
		a.mu.Lock()
		defer a.mu.Unlock()
		a.lost = false
		return nil
	})
}

// checkUser says what is wrong with a user, if anything. It repeats no secret.
func checkUser(u *store.User) error {
	if err := checkUserWithout(u); err != nil {
		return err
	}
	if _, err := access.ParseHash(u.Hash); err != nil {
		return fmt.Errorf("the hash of the password: %w", err)
	}
	if u.Scram == "" {
		return nil
	}
	if _, err := access.ParseSCRAMKeys(u.Scram); err != nil {
		return fmt.Errorf("the keys for SCRAM: %w", err)
	}
	return nil
}

// checkUserWithout says what is wrong with a user, but for what is stored of a password.
func checkUserWithout(u *store.User) error {
	if err := checkName("the name of a user", u.Name); err != nil {
		return err
	}
	if u.Role != "" && u.Role != string(admin.Viewer) && u.Role != string(admin.Admin) {
		return fmt.Errorf("the role of a user is admin, viewer or none; %.80q is not", u.Role)
	}
	if len(u.Groups) > groupsMax {
		return fmt.Errorf("a user is in %d groups at most", groupsMax)
	}
	for _, g := range u.Groups {
		if err := checkName("the name of a group", g); err != nil {
			return err
		}
		if strings.Contains(g, ",") {
			return fmt.Errorf("the name of a group has no comma, %q has", g)
		}
	}
	return nil
}

func checkName(what, name string) error {
	if name == "" || len(name) > nameBytesMax || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return fmt.Errorf("%s has 1 to %d bytes of UTF-8 without control characters; %.80q has not", what, nameBytesMax, name)
	}
	return nil
}
