package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
)

type userCommand struct {
	Add     userAddCommand     `cmd:"" help:"Add a user; its password is asked for."`
	Passwd  userPasswdCommand  `cmd:"" help:"Change the password of a user, and end its connections."`
	Groups  userGroupsCommand  `cmd:"" help:"Change the groups that a user is in, and end its connections."`
	Role    userRoleCommand    `cmd:"" help:"Let a user administer the broker over the API and the page, only see it there, or neither."`
	Delete  userDeleteCommand  `cmd:"" aliases:"remove" help:"Delete a user, and end its connections. Its sessions stay its own, unless it was the last user."`
	Disable userDisableCommand `cmd:"" help:"Let a user connect no more, and end its connections."`
	Enable  userEnableCommand  `cmd:"" help:"Let a user connect again."`
	List    userListCommand    `cmd:"" help:"List the users."`
}

type userAddCommand struct {
	place
	passwordSource
	Name  string   `arg:"" help:"Name of the user."`
	Group []string `placeholder:"GROUP" sep:"none" help:"Group that the user is in; may be repeated."`
	Role  string   `enum:"admin,viewer,none" default:"none" placeholder:"ROLE" help:"What it may do with the API and the page: admin, viewer or none."`
}

// Run implements the command.
func (c *userAddCommand) Run() error {
	password, err := c.read()
	if err != nil {
		return err
	}
	in, done := &newUser{Name: c.Name, Groups: c.Group, Role: roleNamed(c.Role)}, "added"+shortText(password)
	in.Hash, in.Scram = hashPassword(password)
	return c.change(true, c.Name, http.MethodPost, "/users", in, done)
}

type userPasswdCommand struct {
	place
	passwordSource
	Name string `arg:"" help:"Name of the user."`
	Keep bool   `name:"keep-connections" help:"Leave the connections open that have proved the old password."`
}

// Run implements the command.
func (c *userPasswdCommand) Run() error {
	password, err := c.read()
	if err != nil {
		return err
	}
	in, done := &userPassword{Keep: c.Keep}, "has another password"+shortText(password)
	in.Hash, in.Scram = hashPassword(password)
	return c.change(false, c.Name, http.MethodPut, admin.Path("users", c.Name, "password"), in, done)
}

// shortText is what is said of a password that does not last long against who tries them all.
func shortText(password []byte) string {
	const enough = 8
	if n := len(password); n < enough {
		return ", with a password of " + counted(n, "byte", "bytes") + ", which is soon guessed"
	}
	return ""
}

type userGroupsCommand struct {
	place
	Name  string   `arg:"" help:"Name of the user."`
	Group []string `placeholder:"GROUP" sep:"none" help:"Group that the user is in from now on; may be repeated. None: it is in no group."`
}

// Run implements the command.
func (c *userGroupsCommand) Run() error {
	groups := append([]string{}, c.Group...)
	return c.change(false, c.Name, http.MethodPatch, admin.Path("users", c.Name), &userChange{Groups: &groups}, "is in other groups")
}

type userRoleCommand struct {
	namedUser
	Role string `arg:"" enum:"admin,viewer,none" help:"admin, viewer or none."`
}

// Run implements the command.
func (c *userRoleCommand) Run() error {
	role := roleNamed(c.Role)
	return c.change(false, c.Name, http.MethodPatch, admin.Path("users", c.Name), &userChange{Role: &role}, "has the role "+c.Role)
}

// roleNamed is what is stored for the role of a command line.
func roleNamed(role string) string {
	if role == "none" {
		return ""
	}
	return role
}

type userDeleteCommand struct {
	namedUser
	Last bool `help:"It may be the last user: without any, and without other sources of identities, user names and passwords mean nothing."`
}

// Run implements the command.
func (c *userDeleteCommand) Run() error {
	query := ""
	if c.Last {
		query = "?last=true"
	}
	return c.change(false, c.Name, http.MethodDelete, admin.Path("users", c.Name)+query, nil, "deleted")
}

type userDisableCommand struct{ namedUser }

// Run implements the command.
func (c *userDisableCommand) Run() error { return c.disable(true, "disabled") }

type userEnableCommand struct{ namedUser }

// Run implements the command.
func (c *userEnableCommand) Run() error { return c.disable(false, "enabled") }

// A namedUser is all that some commands are about.
type namedUser struct {
	place
	Name string `arg:"" help:"Name of the user."`
}

func (c *namedUser) disable(disabled bool, done string) error {
	return c.change(false, c.Name, http.MethodPatch, admin.Path("users", c.Name), &userChange{Disabled: &disabled}, done)
}

// change changes a user and says so.
func (p *place) change(create bool, user, method, path string, in any, done string) error {
	return p.administer(create, func(ctx context.Context, a *administered) error {
		out, err := admin.Call[changed](ctx, a.Client, method, path, in)
		if err != nil {
			return err
		}
		fmt.Printf("user %q: %s", user, done)
		if out.Ended > 0 {
			fmt.Printf("; %d connections ended", out.Ended)
		}
		fmt.Println(a.inForce())
		return nil
	})
}

// inForce says where a change counts.
func (a *administered) inForce() string {
	if a.running {
		return ""
	}
	return " (no broker runs on " + a.dir + ")"
}

type userListCommand struct {
	place
	JSON bool `help:"Write JSON."`
}

// Run implements the command.
func (c *userListCommand) Run() error {
	return c.administer(false, func(ctx context.Context, a *administered) error {
		users, err := admin.All[inspect.User](ctx, a.Client, "/users")
		if err != nil {
			return err
		}
		if c.JSON {
			return writeJSON(os.Stdout, &userList{users})
		}
		rows := [][]string{{"USER", "GROUPS", "ROLE", "STATE", "SCRAM", "CHANGED"}}
		for _, u := range users {
			state := "enabled"
			if u.Disabled {
				state = "disabled"
			}
			scram := "no"
			if u.SCRAM {
				scram = "yes"
			}
			rows = append(rows, []string{u.Name, strings.Join(u.Groups, ","), u.Role, state, scram, u.Changed.Format(time.RFC3339)})
		}
		return writeTable(os.Stdout, rows)
	})
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// writeTable writes rows, the first of which has the names of the columns.
func writeTable(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		for i, cell := range r {
			if cell == "" {
				r[i] = "-"
			}
		}
		if _, err := fmt.Fprintln(t, strings.Join(r, "\t")); err != nil {
			return err
		}
	}
	return t.Flush()
}
