package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
)

type aclCommand struct {
	Add     aclAddCommand     `cmd:"" help:"Add a rule, as a line of text."`
	Remove  aclRemoveCommand  `cmd:"" aliases:"delete" help:"Remove a stored rule."`
	List    aclListCommand    `cmd:"" help:"List the rules in the order in which they are asked; the first that fits decides."`
	Explain aclExplainCommand `cmd:"" help:"Say whether a client may do something, and which rule says so."`
	Keep    aclKeepCommand    `cmd:"" help:"Say, after the salvage of a damaged database, that the users and rules that are left may stand."`
}

type aclAddCommand struct {
	place
	Rule []string `arg:"" placeholder:"RULE" help:"The rule, such as: allow user ann publish topic sensors/#"`
	At   int      `placeholder:"N" help:"Position among the stored rules, from 1 on; the first rule that fits decides. Default: the last."`
}

// Run implements the command.
func (c *aclAddCommand) Run() error {
	return c.administer(true, func(ctx context.Context, a *administered) error {
		out, err := admin.Call[ruleAdded](ctx, a.Client, http.MethodPost, "/rules", &newRule{Rule: ruleOf(c.Rule), Position: c.At})
		if err != nil {
			return err
		}
		fmt.Printf("%s: %s%s\n", out.Where, out.Rule.Rule, a.inForce())
		if out.First {
			fmt.Println("It is the first rule: from now on what no rule allows is denied, also to clients that are connected. promptmq acl explain says of each request why, promptmq status what is refused.")
		}
		if out.UnknownUser {
			fmt.Println("The store has no user of that name: the rule is for one whom a file, a token or a certificate names, or who is added (promptmq user add).")
		}
		if by := out.ShadowedBy; by != nil {
			fmt.Fprintf(os.Stderr, "warning: it has no effect: %s is asked before it and decides all that it is about: %s\n", by.Where, by.Rule.Rule)
			if verdict, _, _ := strings.Cut(by.Rule.Rule, " "); !strings.HasPrefix(out.Rule.Rule, verdict) {
				fmt.Fprintf(os.Stderr, "To have it decide, remove it (promptmq acl remove) and add it before that rule: promptmq acl add --at %d\n", by.Position)
			}
		}
		return nil
	})
}

// ruleOf joins what a shell has parted.
func ruleOf(args []string) string {
	if len(args) == 1 {
		return args[0]
	}
	words := make([]string, len(args))
	for i, arg := range args {
		if words[i] = arg; arg == "" || strings.ContainsAny(arg, " \t\"\\") {
			words[i] = strconv.Quote(arg)
		}
	}
	return strings.Join(words, " ")
}

type aclRemoveCommand struct {
	place
	Rule []string `arg:"" placeholder:"N|RULE" help:"Position among the stored rules, or the rule itself."`
	Last bool     `help:"It may be the last rule: without any, everybody may do everything."`
}

// Run implements the command.
func (c *aclRemoveCommand) Run() error {
	text, q := ruleOf(c.Rule), url.Values{"last": {strconv.FormatBool(c.Last)}}
	if _, err := strconv.Atoi(text); err == nil {
		q.Set("position", text)
	} else {
		q.Set("rule", text)
	}
	return c.administer(false, func(ctx context.Context, a *administered) error {
		out, err := admin.Call[inspect.Rule](ctx, a.Client, http.MethodDelete, "/rules?"+q.Encode(), nil)
		if err != nil {
			return err
		}
		fmt.Printf("removed %s: %s%s\n", out.Where, out.Rule, a.inForce())
		return nil
	})
}

type aclListCommand struct {
	place
	JSON bool `help:"Write JSON."`
}

// Run implements the command.
func (c *aclListCommand) Run() error {
	return c.administer(false, func(ctx context.Context, a *administered) error {
		rules, err := admin.All[inspect.Rule](ctx, a.Client, "/rules")
		if err != nil {
			return err
		}
		if c.JSON {
			return writeJSON(os.Stdout, &ruleList{rules})
		}
		if len(rules) == 0 {
			fmt.Println("There are no rules: whoever may connect may do everything.")
			return nil
		}
		rows := [][]string{{"WHERE", "RULE"}}
		for _, r := range rules {
			rows = append(rows, []string{r.Where, r.Rule})
		}
		return writeTable(os.Stdout, append(rows, []string{"otherwise", "everything is denied"}))
	})
}

type aclExplainCommand struct {
	place
	User   string   `placeholder:"USER" help:"User name. None: a client without one."`
	Group  []string `placeholder:"GROUP" sep:"none" help:"Group that the user is in; may be repeated. Default: those of the stored user, or of the files."`
	Client string   `placeholder:"CLIENT" help:"Client identifier."`
	Action string   `arg:"" enum:"publish,subscribe,receive" help:"publish, subscribe or receive."`
	Topic  string   `arg:"" help:"Topic name; for subscribe a topic filter."`
	QoS    int      `name:"qos" default:"0" enum:"0,1,2" help:"QoS. Default: 0."`
	Retain bool     `help:"The message is retained."`
	JSON   bool     `help:"Write JSON."`
}

// Run implements the command.
func (c *aclExplainCommand) Run() error {
	q := url.Values{
		"user": {c.User}, "group": c.Group, "client": {c.Client}, "action": {c.Action}, "topic": {c.Topic},
		"qos": {strconv.Itoa(c.QoS)}, "retain": {strconv.FormatBool(c.Retain)},
	}
	return c.administer(false, func(ctx context.Context, a *administered) error {
		out, err := admin.Call[inspect.Explanation](ctx, a.Client, http.MethodGet, "/rules/explain?"+q.Encode(), nil)
		if err != nil {
			return err
		}
		if c.JSON {
			return writeJSON(os.Stdout, out)
		}
		fmt.Println(strings.Join(out.Lines, "\n"))
		return nil
	})
}

type aclKeepCommand struct{ place }

// Run implements the command.
func (c *aclKeepCommand) Run() error {
	return c.administer(false, func(ctx context.Context, a *administered) error {
		_, err := admin.Call[admin.Nothing](ctx, a.Client, http.MethodPost, "/rules/keep", nil)
		return err
	})
}
