package main

import (
	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/control"
)

// govern has a gate, and through it a broker that does not run yet, know the users and rules
// of the store, now and after each change, and adds the commands that make them.
func (a *accounts) govern(g *gate, b *broker.Broker, c *admin.Commands) error {
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
	a.addCommands(c, b.Revoke)
	a.addExplain(c)
	addBanCommands(c, g.logins.chain)
	return a.changed()
}
