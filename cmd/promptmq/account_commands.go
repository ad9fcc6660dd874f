package main

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/store"
)

// What commands about users and rules ask for and are answered. Passwords are hashed by the
// process of the command: the broker never has them.

type userChange struct {
	Name   string   `json:"name"`
	Hash   string   `json:"hash,omitempty"`
	Scram  string   `json:"scram,omitempty"`
	Groups []string `json:"groups,omitempty"`
	// Keep leaves the connections of the user open, where the command would end them.
	Keep bool `json:"keep,omitempty"`
	// Last: the one that is deleted may be the last.
	Last bool `json:"last,omitempty"`
}

type changed struct {
	// Ended counts the connections that were ended.
	Ended int `json:"ended"`
}

type nothing struct{}

type listedUser struct {
	Name     string    `json:"name"`
	Groups   []string  `json:"groups"`
	Disabled bool      `json:"disabled"`
	SCRAM    bool      `json:"scram"`
	Changed  time.Time `json:"changed"`
}

type userList struct {
	Users []listedUser `json:"users"`
}

type ruleChange struct {
	Rule string `json:"rule,omitempty"`
	// Position is from 1 on; 0: the end, or that of Rule.
	Position int `json:"position,omitempty"`
	// Last: it may be the last rule, without which everything is allowed.
	Last bool `json:"last,omitempty"`
}

type rulePlace struct {
	Rule  string `json:"rule"`
	Where string `json:"where"`
}

type ruleAdded struct {
	rulePlace
	// First: there was none before, so that from now on the rest is denied.
	First bool `json:"first"`
}

type ruleList struct {
	// Rules are in the order in which they are asked: those of the store and of files.
	Rules []rulePlace `json:"rules"`
}

// addCommands adds what changes and lists users and rules. end ends the connections
// of a user and returns how many.
func (a *accounts) addCommands(c *admin.Commands, end func(user string) int) {
	admin.Handle(c, "/user/list", func(context.Context, *nothing) (*userList, error) { return a.listUsers(), nil })
	user := func(path string, ends bool, f func(in *userChange, was *store.User) (*store.User, error)) {
		admin.Handle(c, path, func(ctx context.Context, in *userChange) (*changed, error) {
			err := a.changeUser(ctx, in.Name, func(was *store.User) (*store.User, error) { return f(in, was) })
			if err != nil {
				return nil, err
			}
			out := new(changed)
			if ends && !in.Keep {
				out.Ended = end(in.Name)
			}
			a.log.Info("a user was changed", "command", path, "user", in.Name, "connections_ended", out.Ended)
			return out, nil
		})
	}
	user("/user/add", false, a.added)
	user("/user/passwd", true, existing(func(in *userChange, u *store.User) { u.Hash, u.Scram = in.Hash, in.Scram }))
	user("/user/groups", true, existing(func(in *userChange, u *store.User) { u.Groups = sortedGroups(in.Groups) }))
	user("/user/disable", true, existing(func(_ *userChange, u *store.User) { u.Disabled = true }))
	user("/user/enable", false, existing(func(_ *userChange, u *store.User) { u.Disabled = false }))
	user("/user/delete", true, func(in *userChange, was *store.User) (*store.User, error) {
		if was == nil {
			return nil, noUser(in.Name)
		}
		if len(a.allUsers()) == 1 && !in.Last {
			return nil, admin.Refuse("it is the last user: if nothing else says who clients are, user names and passwords mean nothing without any, and whoever may come without them may take the sessions of all users: say --last if you mean that")
		}
		return nil, nil
	})
	admin.Handle(c, "/acl/list", func(context.Context, *nothing) (*ruleList, error) { return a.listRules() })
	admin.Handle(c, "/acl/add", a.addRule)
	admin.Handle(c, "/acl/remove", a.removeRule)
	admin.Handle(c, "/acl/keep", func(ctx context.Context, _ *nothing) (*nothing, error) { return new(nothing), a.keep(ctx) })
}

func noUser(name string) error { return admin.Refuse("there is no user %q", name) }

func existing(f func(*userChange, *store.User)) func(*userChange, *store.User) (*store.User, error) {
	return func(in *userChange, u *store.User) (*store.User, error) {
		if u == nil {
			return nil, noUser(in.Name)
		}
		f(in, u)
		return u, nil
	}
}

func (a *accounts) added(in *userChange, was *store.User) (*store.User, error) {
	switch {
	case was != nil:
		return nil, admin.Refuse("there is a user %q already: change it with passwd, groups, disable and enable", in.Name)
	case len(a.allUsers()) >= usersMax:
		return nil, admin.Refuse("there are %d users already, which is the most", usersMax)
	}
	return &store.User{Name: in.Name, Hash: in.Hash, Scram: in.Scram, Groups: sortedGroups(in.Groups)}, nil
}

func sortedGroups(groups []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(groups)))
}

func (a *accounts) listUsers() *userList {
	users := a.allUsers()
	list := &userList{Users: make([]listedUser, 0, len(users))}
	for _, name := range slices.Sorted(maps.Keys(users)) {
		u := users[name]
		list.Users = append(list.Users, listedUser{
			Name: name, Groups: append([]string{}, u.Groups...), Disabled: u.Disabled, SCRAM: u.Scram != "", Changed: u.Changed.UTC(),
		})
	}
	return list
}

func (a *accounts) listRules() (*ruleList, error) {
	rules, err := a.policyRules()
	if err != nil {
		return nil, err
	}
	list := &ruleList{Rules: []rulePlace{}}
	for i := range rules {
		list.Rules = append(list.Rules, rulePlace{rules[i].String(), rules[i].Where})
	}
	return list, nil
}

func (a *accounts) addRule(ctx context.Context, in *ruleChange) (*ruleAdded, error) {
	r, err := access.ParseRule(in.Rule)
	if err != nil {
		return nil, admin.Refuse("the rule: %v", err)
	}
	files, err := a.fileRules()
	if err != nil {
		return nil, err
	}
	added := new(ruleAdded)
	err = a.changeRules(ctx, func(rules []access.Rule) ([]access.Rule, error) {
		at := cmp.Or(in.Position, len(rules)+1)
		switch {
		case len(rules) >= rulesMax:
			return nil, admin.Refuse("there are %d rules already, which is the most", rulesMax)
		case at < 1 || at > len(rules)+1:
			return nil, admin.Refuse("there are %d stored rules: a new one goes to a position from 1 to %d", len(rules), len(rules)+1)
		case slices.ContainsFunc(rules, func(other access.Rule) bool { return other.String() == r.String() }):
			return nil, admin.Refuse("there is this rule already: %s", r.String())
		}
		rules = placed(slices.Insert(rules, at-1, r))
		added.rulePlace, added.First = rulePlace{r.String(), rules[at-1].Where}, len(rules)+len(files) == 1
		return rules, nil
	})
	if err == nil {
		a.log.Info("a rule was added", "rule", added.Rule, "where", added.Where)
	}
	return added, err
}

func (a *accounts) removeRule(ctx context.Context, in *ruleChange) (*rulePlace, error) {
	files, err := a.fileRules()
	if err != nil {
		return nil, err
	}
	var removed *rulePlace
	err = a.changeRules(ctx, func(rules []access.Rule) ([]access.Rule, error) {
		at := in.Position - 1
		if in.Position == 0 {
			r, err := access.ParseRule(in.Rule)
			if err != nil {
				return nil, admin.Refuse("the rule: %v", err)
			}
			at = slices.IndexFunc(rules, func(other access.Rule) bool { return other.String() == r.String() })
		}
		switch {
		case at < 0 && in.Position == 0:
			return nil, admin.Refuse("the store has no such rule: %.200s", in.Rule)
		case at < 0 || at >= len(rules):
			return nil, admin.Refuse("the store has no rule %d: it has %d", in.Position, len(rules))
		}
		if len(rules)+len(files) == 1 && !in.Last {
			return nil, admin.Refuse("it is the last rule, and without any everybody may do everything: say --last if you mean that")
		}
		removed = &rulePlace{rules[at].String(), rules[at].Where}
		return slices.Delete(rules, at, at+1), nil
	})
	if err == nil {
		a.log.Info("a rule was removed", "rule", removed.Rule, "where", removed.Where)
	}
	return removed, err
}
