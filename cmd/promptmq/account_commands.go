package main

import (
	"context"
	"maps"
	"net/http"
	"slices"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/store"
)

// What operations on users and rules are told and answer. A command hashes passwords itself, so
// that the broker does not have them; the page cannot.

// Secrets are what is stored of a password.
type Secrets struct {
	Password string `json:"password,omitempty" doc:"Or hash." maxLength:"65535"`
	Hash     string `json:"hash,omitempty" doc:"As promptmq user makes it." maxLength:"1000"`
	Scram    string `json:"scram,omitempty" doc:"Keys for SCRAM-SHA-256, beside hash." maxLength:"1000"`
}

// read returns what is stored. It repeats nothing of it in its error.
func (s *Secrets) read() (hash, scram string, err error) {
	if (s.Password == "") == (s.Hash == "") {
		return "", "", admin.RefuseField("password", "either a password or its hash")
	}
	if s.Hash != "" {
		return s.Hash, s.Scram, nil
	}
	if err := checkPassword([]byte(s.Password)); err != nil {
		return "", "", admin.RefuseField("password", "%v", err)
	}
	hash, scram = hashPassword([]byte(s.Password))
	return hash, scram, nil
}

type newUser struct {
	Name string `json:"name" maxLength:"1024"`
	Secrets
	Groups []string `json:"groups,omitempty" maxItems:"64"`
	Role   string   `json:"role,omitempty" enum:"admin,viewer," doc:"What it may do with this API; empty: nothing."`
}

type userPassword struct {
	Secrets
	// Keep leaves the connections of the user open.
	Keep bool `json:"keep,omitempty" doc:"Leave the connections open that have proved the old password."`
}

// A userChange says what to change; nil: nothing.
type userChange struct {
	Groups   *[]string `json:"groups,omitempty" maxItems:"64"`
	Disabled *bool     `json:"disabled,omitempty"`
	Role     *string   `json:"role,omitempty" enum:"admin,viewer," doc:"What it may do with this API; empty: nothing."`
}

type changed struct {
	Ended int `json:"ended" doc:"Connections that were ended."`
}

type userList struct {
	Users []inspect.User `json:"users"`
}

// A UserPath is a user in a path.
type UserPath struct {
	Name string `path:"name" maxLength:"1024"`
}

// addUserOperations adds what changes and lists users. end ends the connections of a user and
// returns how many.
func (a *accounts) addUserOperations(api *admin.API, end func(user string) int) {
	type listing struct{ admin.List }
	admin.Handle(api, admin.Operation{Method: http.MethodGet, Path: "/users", Role: admin.Viewer, Group: "users", Summary: "The users of the store."},
		func(_ context.Context, in *listing) (*inspect.Page[inspect.User], error) {
			page := admin.Cut(a.listUsers(), in.Window(), func(u *inspect.User) string { return u.Name })
			return &page, nil
		})
	admin.Handle(api, admin.Operation{Method: http.MethodGet, Path: "/users/{name}", Role: admin.Viewer, Group: "users", Summary: "One user of the store.", Refused: []int{http.StatusNotFound}},
		func(_ context.Context, in *UserPath) (*inspect.User, error) {
			u := a.allUsers()[in.Name]
			if u == nil {
				return nil, noUser(in.Name)
			}
			return shownUser(u), nil
		})
	type adding struct{ Body newUser }
	admin.Handle(api, admin.Operation{Method: http.MethodPost, Path: "/users", Role: admin.Admin, Group: "users", Summary: "Add a user.", Refused: []int{http.StatusConflict}},
		func(ctx context.Context, in *adding) (*inspect.User, error) { return a.addUser(ctx, &in.Body) })
	type changing struct {
		UserPath
		Body userChange
	}
	admin.Handle(api, admin.Operation{Method: http.MethodPatch, Path: "/users/{name}", Role: admin.Admin, Group: "users", Refused: []int{http.StatusNotFound},
		Summary: "Change the groups or the role of a user, or disable or enable it.", Description: "Its connections are ended if it is disabled or is in other groups."},
		func(ctx context.Context, in *changing) (*changed, error) {
			return a.changeNamed(ctx, in.Name, end, in.Body.ends(), func(u *store.User) { in.Body.apply(u) })
		})
	type passing struct {
		UserPath
		Body userPassword
	}
	admin.Handle(api, admin.Operation{Method: http.MethodPut, Path: "/users/{name}/password", Role: admin.Admin, Group: "users", Refused: []int{http.StatusNotFound},
		Summary: "Give a user another password, and end its connections."},
		func(ctx context.Context, in *passing) (*changed, error) {
			hash, scram, err := in.Body.read()
			if err != nil {
				return nil, err
			}
			return a.changeNamed(ctx, in.Name, end, !in.Body.Keep, func(u *store.User) { u.Hash, u.Scram = hash, scram })
		})
	type deleting struct {
		UserPath
		Last bool `query:"last" doc:"It may be the last one, without whom user names and passwords may mean nothing."`
	}
	admin.Handle(api, admin.Operation{Method: http.MethodDelete, Path: "/users/{name}", Role: admin.Admin, Group: "users", Refused: []int{http.StatusNotFound},
		Summary: "Delete a user, and end its connections. Its sessions stay its own."},
		func(ctx context.Context, in *deleting) (*changed, error) {
			return a.deleteUser(ctx, in.Name, in.Last, end)
		})
}

func noUser(name string) error { return admin.NotFound("there is no user %q", name) }

// apply makes the change.
func (c *userChange) apply(u *store.User) {
	if c.Groups != nil {
		u.Groups = sortedGroups(*c.Groups)
	}
	if c.Disabled != nil {
		u.Disabled = *c.Disabled
	}
	if c.Role != nil {
		u.Role = *c.Role
	}
}

// ends reports whether who is connected may do so, or does so, as before.
func (c *userChange) ends() bool { return c.Groups != nil || c.Disabled != nil && *c.Disabled }

// changeNamed has f change a user that there is.
func (a *accounts) changeNamed(ctx context.Context, name string, end func(string) int, ends bool, f func(*store.User)) (*changed, error) {
	err := a.changeUser(ctx, name, func(u *store.User) (*store.User, error) {
		if u == nil {
			return nil, noUser(name)
		}
		f(u)
		return u, nil
	})
	if err != nil {
		return nil, err
	}
	out := new(changed)
	if ends {
		out.Ended = end(name)
	}
	a.log.Info("a user was changed", "user", name, "connections_ended", out.Ended)
	return out, nil
}

func (a *accounts) deleteUser(ctx context.Context, name string, last bool, end func(string) int) (*changed, error) {
	err := a.changeUser(ctx, name, func(was *store.User) (*store.User, error) {
		if was == nil {
			return nil, noUser(name)
		}
		if len(a.allUsers()) == 1 && !last {
			return nil, admin.RefuseField("last", "it is the last user: if nothing else says who clients are, user names and passwords mean nothing without any, and whoever may come without them may take the sessions of all users: say --last if you mean that")
		}
		return nil, nil
	})
	if err != nil {
		return nil, err
	}
	out := &changed{Ended: end(name)}
	a.log.Info("a user was deleted", "user", name, "connections_ended", out.Ended)
	return out, nil
}

func (a *accounts) addUser(ctx context.Context, in *newUser) (*inspect.User, error) {
	hash, scram, err := in.read()
	if err != nil {
		return nil, err
	}
	u := &store.User{Name: in.Name, Hash: hash, Scram: scram, Groups: sortedGroups(in.Groups), Role: in.Role}
	err = a.changeUser(ctx, in.Name, func(was *store.User) (*store.User, error) {
		switch {
		case was != nil:
			return nil, admin.Conflict("there is a user %q already: change it with passwd, groups, role, disable and enable", in.Name)
		case len(a.allUsers()) >= usersMax:
			return nil, admin.Refuse("there are %d users already, which is the most", usersMax)
		}
		return u, nil
	})
	if err != nil {
		return nil, err
	}
	a.log.Info("a user was added", "user", in.Name)
	return shownUser(u), nil
}

func sortedGroups(groups []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(groups)))
}

func (a *accounts) listUsers() []inspect.User {
	users := a.allUsers()
	list := make([]inspect.User, 0, len(users))
	for _, name := range slices.Sorted(maps.Keys(users)) {
		list = append(list, *shownUser(users[name]))
	}
	return list
}

// shownUser is a user without its secrets.
func shownUser(u *store.User) *inspect.User {
	return &inspect.User{Name: u.Name, Groups: append([]string{}, u.Groups...), Role: u.Role, Disabled: u.Disabled, SCRAM: u.Scram != "", Changed: u.Changed.UTC()}
}
