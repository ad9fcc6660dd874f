package main

import (
	"log/slog"
	"slices"
	"sync"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/broker/login"
	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/config"
)

// An accessControl has a broker know who may connect and what they may do, as it changes.
type accessControl struct {
	log    *slog.Logger
	logins *logins
	files  ruleFiles

	mu     sync.Mutex // guards the following
	broker *broker.Broker
	stored func() []access.Rule // those of the store
	others bool                 // see directory
	rules  int
}

// parts are what it has of a configuration, behind the parts of logins.
func (g *accessControl) parts() []part {
	return []part{certificates, g.files.reload(g.byFilesOnly, g.setRules), g.otherUsers}
}

// checkFiles reads the files that a configuration names, and says what is wrong with them.
func checkFiles(cfg *config.Config) config.Errors {
	_, faults := prepareParts(append((&accessControl{}).parts(), passwords(nil), new(sources).part, new(network).part), cfg)
	return faults
}

// certificates is the part that checks the files of listeners. Who listens reads them anew.
func certificates(next *config.Config) (take func(), faults config.Errors) {
	return func() {}, next.CheckFiles()
}

// guard has a broker ask it, from before it starts.
func (g *accessControl) guard(b *broker.Broker, stored func() []access.Rule) {
	g.mu.Lock()
	g.broker, g.stored = b, stored
	g.mu.Unlock()
	g.setDirectory()
	g.setRules()
}

// byFilesOnly reports whether there are rules, and all of them are of files.
func (g *accessControl) byFilesOnly() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.rules > 0 && len(g.stored()) == 0
}

// setRules has the broker decide by the rules that there are now: those of the store come
// before those of files.
func (g *accessControl) setRules() {
	g.mu.Lock()
	defer g.mu.Unlock()
	rules := slices.Concat(g.stored(), g.files.list())
	if g.rules > 0 && len(rules) == 0 {
		g.log.Warn("there are no rules any more: who is let in may do everything", trouble.NoRules)
	}
	g.rules = len(rules)
	if len(rules) == 0 {
		g.broker.SetPolicy(nil)
		return
	}
	g.broker.SetPolicy(access.NewPolicy(rules))
}

// summary is for the start log.
func (g *accessControl) summary(cfg *config.Config) *accessSummary {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := &accessSummary{allowAnonymous: cfg.Broker.AllowAnonymous, rules: g.rules}
	if g.logins.chain.HasLists() {
		s.identities = append(s.identities, "users with passwords")
	}
	if cfg.Tokens.Configured() {
		s.identities = append(s.identities, "auth.jwt")
	}
	if cfg.Callback.URL != "" {
		s.identities = append(s.identities, "auth.http")
	}
	return s
}

// setDirectory has the broker ask it who Clients are, and anew about the users that are
// not connected. As long as nobody can have an identity it is not asked: Sessions that were
// made with user names which nobody checked stay everybody's.
func (g *accessControl) setDirectory() {
	g.mu.Lock()
	defer g.mu.Unlock()
	listed := g.logins.chain.HasLists()
	switch {
	case g.broker == nil:
	case listed || g.others:
		g.broker.SetDirectory(&directory{g.logins.chain, g.others || !listed})
		g.broker.SetAuthenticator(g.logins.chain)
	default:
		g.broker.SetAuthenticator(nil)
		g.broker.SetDirectory(nil)
	}
}

// otherUsers is the part that says whether there may be users in no list.
func (g *accessControl) otherUsers(next *config.Config) (take func(), faults config.Errors) {
	others := next.Tokens.Configured() || next.Callback.URL != "" || slices.ContainsFunc(next.Broker.Listeners, func(l link.ListenerConfig) bool {
		return l.TLS != nil && l.TLS.ClientCert != link.ClientCertNone && l.TLS.UserFrom != link.NameNone
	})
	return func() {
		g.mu.Lock()
		g.others = others
		g.mu.Unlock()
		g.setDirectory()
	}, nil
}

// A directory has a broker know the users that are not connected.
type directory struct {
	chain *login.Chain
	// others says that there may be users who are in no list, as those of certificates.
	others bool
}

// Groups implements broker.Directory.
func (d *directory) Groups(user string) (groups []string, known bool) {
	u, found := d.chain.Listed(user)
	switch {
	case !found:
		return nil, d.others
	case u.Disabled:
		return nil, false
	}
	return u.Groups, true
}

// govern has an accessControl, and through it a broker that does not run yet, know the users and rules
// of the store, now and after each change, and adds the operations that make them.
func (a *accounts) govern(g *accessControl, b *broker.Broker, api *admin.API) error {
	a.write, a.log = b.BetweenCommits, g.log
	a.changed = func() error {
		if control.Broken(control.AccountsNotApplied) && b.Ready() == nil {
			return nil
		}
		if err := g.logins.setUsers(a.allUsers()); err != nil {
			return err
		}
		g.setDirectory()
		g.setRules()
		return nil
	}
	a.fileRules = func() ([]access.Rule, error) { return g.files.list(), nil }
	g.guard(b, a.allRules)
	a.addUserOperations(api, b.Revoke)
	a.addRuleOperations(api)
	addBanOperations(api, g.logins.chain)
	return a.changed()
}
