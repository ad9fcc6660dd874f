package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/store"
)

// A commander runs commands on one data directory.
type commander struct {
	t    *testing.T
	data string
}

// withInput runs a command that reads standard input.
func (c commander) withInput(input string, args ...string) result {
	c.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(c.t.Context(), binaryFor(args), append(args, "--data-dir", c.data)...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = environ(), strings.NewReader(input), &stdout, &stderr
	_ = cmd.Run() // the code says it
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// ok runs a command that must succeed, and returns what it writes.
func (c commander) ok(args ...string) string {
	c.t.Helper()
	return c.okWith("", args...)
}

func (c commander) okWith(input string, args ...string) string {
	c.t.Helper()
	r := c.withInput(input, args...)
	if r.code != 0 || r.stderr != "" {
		c.t.Fatalf("promptmq %s: code %d\n%s", strings.Join(args, " "), r.code, r.stderr)
	}
	return r.stdout
}

// warned runs a command that succeeds, and ends what it says on standard error like this.
func (c commander) warned(want string, args ...string) {
	c.t.Helper()
	if r := c.withInput("", args...); r.code != 0 || !strings.HasPrefix(r.stderr, "warning: ") || !strings.HasSuffix(r.stderr, want) || r.stdout == "" {
		c.t.Errorf("promptmq %s: code %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
}

// refused runs a command that must end with code 2 and this in its error.
func (c commander) refused(want string, args ...string) {
	c.t.Helper()
	c.fails(exitUsage, want, args...)
}

func (c commander) fails(code int, want string, args ...string) {
	c.t.Helper()
	if r := c.withInput("secret", args...); r.code != code || !strings.Contains(r.stderr, want) || r.stdout != "" {
		c.t.Errorf("promptmq %s: code %d\n%s%s, expected code %d and %q", strings.Join(args, " "), r.code, r.stdout, r.stderr, code, want)
	}
}

// add adds a user.
func (c commander) add(name, password string, flags ...string) {
	c.t.Helper()
	c.okWith(password+"\n", append([]string{"user", "add", name, "--password-stdin"}, flags...)...)
}

// users are what user list says, with the groups and whether they are disabled.
func (c commander) users() (users []string) {
	c.t.Helper()
	var list userList
	if err := json.Unmarshal([]byte(c.ok("user", "list", "--json")), &list); err != nil {
		c.t.Fatal(err)
	}
	for _, u := range list.Users {
		line := u.Name + " " + strings.Join(u.Groups, ",")
		if u.Disabled {
			line += " disabled"
		}
		users = append(users, line)
	}
	return users
}

// rules are what acl list says.
func (c commander) rules() (rules []string) {
	c.t.Helper()
	var list ruleList
	if err := json.Unmarshal([]byte(c.ok("acl", "list", "--json")), &list); err != nil {
		c.t.Fatal(err)
	}
	for _, r := range list.Rules {
		rules = append(rules, r.Rule)
	}
	return rules
}

func (c commander) wantUsers(want ...string) {
	c.t.Helper()
	if got := c.users(); !slices.Equal(got, want) {
		c.t.Errorf("users %q, expected %q", got, want)
	}
}

func (c commander) wantRules(want ...string) {
	c.t.Helper()
	if got := c.rules(); !slices.Equal(got, want) {
		c.t.Errorf("rules %q, expected %q", got, want)
	}
}

// everyCommand changes users and rules in all ways, and in none that is not allowed.
func (c commander) everyCommand() {
	c.add("bob", "secret", "--group", "b", "--group", "a", "--group", "b")
	c.add("ann", "secret")
	c.wantUsers("ann ", "bob a,b")
	c.refused(`there is a user "ann" already: change it with passwd, groups, role, disable and enable`, "user", "add", "ann", "--password-stdin")
	if out := c.okWith("ab", "user", "add", "cid", "--password-stdin"); !strings.Contains(out, "a password of 2 bytes") {
		c.t.Error(out)
	}
	c.ok("user", "delete", "cid")
	if r := c.withInput("", "user", "add", "cid", "--password-stdin"); r.code != exitUsage || !strings.Contains(r.stderr, "is empty") {
		c.t.Errorf("no password: %+v", r)
	}
	c.refused("no such file", "user", "add", "cid", "--password-file", filepath.Join(c.t.TempDir(), "none"))
	c.refused("without control characters", "user", "add", "a\tb", "--password-stdin")
	c.refused("has no comma", "user", "add", "cid", "--group", "a,b", "--password-stdin")
	for _, command := range []string{"passwd", "disable", "enable", "delete", "groups"} {
		args := []string{"user", command, "nobody"}
		if command == "passwd" {
			args = append(args, "--password-stdin")
		}
		c.refused(`there is no user "nobody"`, args...)
	}
	c.ok("user", "disable", "bob")
	c.ok("user", "groups", "ann", "--group", "c")
	c.okWith("other", "user", "passwd", "bob", "--password-stdin")
	c.wantUsers("ann c", "bob a,b disabled")
	c.ok("user", "enable", "bob")
	c.ok("user", "remove", "ann")
	c.wantUsers("bob a,b")

	c.refused("the rule: ", "acl", "add", "permit", "everything")
	if out := c.ok("acl", "add", "allow user bob publish topic a/#"); !strings.Contains(out, "from now on what no rule allows is denied") {
		c.t.Error(out)
	}
	c.ok("acl", "add", "allow", "user", "bob b", "read", "topic", "b c/#")
	if out := c.ok("acl", "add", "--at", "1", "deny user nobodysuch all topic x"); !strings.Contains(out, "no user of that name") {
		c.t.Error(out)
	}
	c.ok("acl", "remove", "1")
	c.ok("acl", "add", "--at", "1", "deny everyone all topic a/secret")
	c.refused("this rule already", "acl", "add", "allow  user bob  publish topic a/#")
	c.refused("a position from 1 to 4", "acl", "add", "--at", "5", "deny everyone all topic #")
	c.wantRules("deny everyone all topic a/secret", "allow user bob publish topic a/#", `allow user "bob b" read topic "b c/#"`)
	for question, want := range map[string]string{
		"--user bob publish a/b":                 "allowed: ",
		"--user bob publish a/secret":            "denied: ",
		"--user bob receive a/b":                 "denied: ",
		"--client x publish a/b":                 "denied: ",
		"--user bob --qos 2 --retain publish a/": "allowed: ",
		"--user bob publish $SYS/x":              "denied: ",
	} {
		if out := c.ok(append([]string{"acl", "explain"}, strings.Fields(question)...)...); !strings.HasPrefix(out, want) {
			c.t.Errorf("%s: %s", question, out)
		}
	}
	c.warned("rule 2 of the store is asked before it and decides all that it is about: allow user bob publish topic a/#\nTo have it decide, remove it (promptmq acl remove) and add it before that rule: promptmq acl add --at 2\n",
		"acl", "add", "deny user bob publish topic a/b")
	c.warned("decides all that it is about: deny everyone all topic a/secret\n", "acl", "add", "deny user ann read topic a/secret")
	c.ok("acl", "remove", "5")
	c.ok("acl", "remove", "4")
	c.ok("acl", "add", "--at", "2", "deny user bob publish topic a/b")
	c.ok("acl", "remove", "2")
	c.refused("a/#", "acl", "explain", "publish", "a/#")
	c.refused("has no rule 4: it has 3", "acl", "remove", "4")
	c.refused("no such rule", "acl", "remove", "deny everyone all topic a")
	c.ok("acl", "remove", "1")
	c.ok("acl", "remove", "allow", "user", "bob", "publish", "topic", "a/#")
	c.refused("it is the last rule", "acl", "remove", "1")
	c.ok("acl", "delete", "1", "--last")
	c.wantRules()
	c.refused("it is the last user", "user", "delete", "bob")
	c.wantUsers("bob a,b")
	c.ok("user", "delete", "bob", "--last")
}

// TestAccountCommands: the same commands do the same whether a broker runs or not, and what
// one leaves the other finds.
func TestAccountCommands(t *testing.T) {
	unraced(t)
	t.Parallel()
	s := start(t, "")
	c := commander{t, s.dataDir()}
	c.everyCommand()
	c.add("from the running broker", "secret")
	s.stop()
	for msg, want := range map[string]int{"a user was added": 4, "a user was changed": 4, "a user was deleted": 3} {
		if n := len(s.linesOf(msg)); n != want {
			t.Errorf("%q is logged %d times, not %d", msg, n, want)
		}
	}
	if lines := s.linesOf("a rule was removed"); len(lines) != 7 || lines[4].text("rule") != "deny everyone all topic a/secret" {
		t.Errorf("logged %v", lines)
	}
	c.wantUsers("from the running broker ")
	c.ok("user", "delete", "from the running broker", "--last")
	c.everyCommand()
	c.add("from the command", "secret")
	s.restart()
	c.wantUsers("from the command ")
	s.stop()
}

// TestAccountsBeforeTheFirstStart: users can be there before a broker has run; a directory
// that is spelled wrong is not made.
func TestAccountsBeforeTheFirstStart(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	c := commander{t, data}
	c.fails(exitFailure, "there is no database in "+data, "user", "list")
	c.fails(exitFailure, "there is no database in "+data, "user", "delete", "ann")
	c.fails(exitFailure, "no broker runs on "+data, "reload")
	if _, err := os.Stat(data); err == nil {
		t.Error("the directory was made")
	}
	c.add("ann", "secret")
	c.wantUsers("ann ")
	files, err := os.ReadDir(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", f.Name(), info.Mode(), err)
		}
	}
	if info, err := os.Stat(data); err != nil || info.Mode() != fs.ModeDir|0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestAnsweredAccountsSurvive: what was answered is there after kill -9 at once, and so is
// what was changed by a command alone.
func TestAnsweredAccountsSurvive(t *testing.T) {
	unraced(t)
	t.Parallel()
	s := start(t, "storage:\n  sqlite:\n    synchronous: \"OFF\"\n")
	c := commander{t, s.dataDir()}
	var users, rules []string
	for i := range 5 {
		name := fmt.Sprint("user", i)
		c.add(name, "secret")
		rule := "allow user " + name + " all topic #"
		c.ok("acl", "add", rule)
		users, rules = append(users, name+" "), append(rules, rule)
		s.kill()
		c.wantUsers(users...)
		c.wantRules(rules...)
		s.restart()
		c.wantUsers(users...)
		c.wantRules(rules...)
	}
	c.ok("user", "delete", "user0")
	s.kill()
	s.restart()
	c.wantUsers(users[1:]...)
}

// TestAccountControls: without the write, or without the change of a running broker, the
// other tests would see it.
func TestAccountControls(t *testing.T) {
	t.Parallel()
	s := startBinary(t, controlBinary(t), []string{"BREAK_RULES=access-not-stored"}, "")
	c := commander{t, s.dataDir()}
	c.add("ann", "secret")
	c.wantUsers("ann ")
	s.kill()
	c.wantUsers()

	s = startBinary(t, controlBinary(t), []string{"BREAK_RULES=accounts-not-applied"}, "")
	c = commander{t, s.dataDir()}
	c.add("ann", "secret")
	s.stop()
	s.restart()
	c.ok("user", "disable", "ann")
	if r := logIn(t, s, "ann", "secret"); r != codec.Success {
		t.Errorf("the change was applied: %v", r)
	}
	s.stop()
}

// TestStartWaitsForACommand: a start does not fail because of a command that is about to end.
func TestStartWaitsForACommand(t *testing.T) {
	t.Parallel()
	o := store.DefaultOptions()
	o.DataDir = filepath.Join(t.TempDir(), "data")
	db, err := store.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(commandsEndWithin/4, func() { _ = db.Close() })
	start(t, "", "--data-dir", o.DataDir).stop()
}

// TestCommandsAtOnce: commands that come at once are all done, one after the other, whether
// a broker runs or they have to wait for each other.
func TestCommandsAtOnce(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	c := commander{t, s.dataDir()}
	var users, rules []string
	for _, stopped := range []bool{false, true} {
		if stopped {
			s.stop()
		}
		var done sync.WaitGroup
		for i := range 8 {
			name := fmt.Sprint("user", len(users))
			users, rules = append(users, name+" "), append(rules, "allow user "+name+" all topic #")
			done.Go(func() {
				if i%2 == 0 {
					c.add(name, "secret")
					c.ok("acl", "add", "allow user "+name+" all topic #")
				} else {
					c.ok("acl", "add", "allow user "+name+" all topic #")
					c.add(name, "secret")
				}
			})
		}
		done.Wait()
		slices.Sort(users)
		c.wantUsers(users...)
		got := c.rules()
		slices.Sort(got)
		slices.Sort(rules)
		if !slices.Equal(got, rules) {
			t.Errorf("rules %q, expected %q", got, rules)
		}
	}
}

// TestDamagedAccounts: neither a broker nor a command goes on with users or rules that are
// not what was stored.
func TestDamagedAccounts(t *testing.T) {
	unraced(t)
	t.Parallel()
	for old, changed := range map[string]string{
		"deny everyone all topic secret": "deny everyone all topic sEcret",
		"group-of-ann":                   "group-of-bob",
	} {
		data := filepath.Join(t.TempDir(), "data")
		c := commander{t, data}
		c.add("ann", "secret", "--group", "group-of-ann")
		c.ok("acl", "add", "deny everyone all topic secret")
		path := filepath.Join(data, "promptmq.db")
		b, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(b, []byte(old)) {
			t.Fatalf("no %q in the file, %v", old, err)
		}
		if err := os.WriteFile(path, bytes.ReplaceAll(b, []byte(old), []byte(changed)), 0o600); err != nil {
			t.Fatal(err)
		}
		s := &server{t: t, data: data}
		if log := s.startRefused(); !strings.Contains(log, "damaged") || !strings.Contains(log, salvageHintInLog) {
			t.Errorf("%s: %s", changed, log)
		}
		c.fails(exitFailure, "damaged", "acl", "list")
		if log := s.startRefused("--salvage"); !strings.Contains(log, "may have lost users or rules") {
			t.Errorf("%s: %s", changed, log)
		}
		if log := s.startRefused(); !strings.Contains(log, "acl keep") {
			t.Errorf("%s: %s", changed, log)
		}
		c.ok("acl", "keep")
		running := start(t, "", "--data-dir", data)
		running.stop()
	}
}
