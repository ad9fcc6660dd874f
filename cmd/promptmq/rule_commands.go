package main

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
)

type newRule struct {
	Rule     string `json:"rule" maxLength:"70000"`
	Position int    `json:"position,omitempty" minimum:"0" doc:"Among those of the store, from 1 on; 0: behind the last."`
}

type ruleAdded struct {
	inspect.Rule
	First       bool        `json:"first" doc:"There was none before, so that from now on the rest is denied."`
	UnknownUser bool        `json:"unknown_user,omitempty" doc:"The store has no user of the name in the rule: one may come from a file, a token or a certificate."`
	ShadowedBy  *storedRule `json:"shadowed_by,omitempty" doc:"A rule before it that decides everything that it is about, so that it has no effect."`
}

type storedRule struct {
	inspect.Rule
	Position int `json:"position" doc:"Among those of the store, from 1 on."`
}

type ruleList struct {
	// Rules are in the order in which they are asked: those of the store and of files.
	Rules []inspect.Rule `json:"rules"`
}

// A ruleChoice is a stored rule.
type ruleChoice struct {
	Rule     string `query:"rule" doc:"The rule itself."`
	Position int    `query:"position" minimum:"0" doc:"Or its position, from 1 on."`
	Last     bool   `query:"last" doc:"It may be the last rule, without which everybody may do everything."`
}

// addRuleOperations adds what changes, lists and explains rules.
func (a *accounts) addRuleOperations(api *admin.API) {
	type listing struct{ admin.List }
	admin.Handle(api, admin.Operation{Method: http.MethodGet, Path: "/rules", Role: admin.Viewer, Group: "rules",
		Summary: "The rules in the order in which they are asked: those of the store and of files."},
		func(_ context.Context, in *listing) (*inspect.Page[inspect.Rule], error) {
			return a.ruleWindow(in.Window())
		})
	type adding struct{ Body newRule }
	admin.Handle(api, admin.Operation{Method: http.MethodPost, Path: "/rules", Role: admin.Admin, Group: "rules", Summary: "Add a rule."},
		func(ctx context.Context, in *adding) (*ruleAdded, error) { return a.addRule(ctx, &in.Body) })
	admin.Handle(api, admin.Operation{Method: http.MethodDelete, Path: "/rules", Role: admin.Admin, Group: "rules", Summary: "Remove a rule of the store."}, a.removeRule)
	admin.Handle(api, admin.Operation{Method: http.MethodPost, Path: "/rules/keep", Role: admin.Admin, Group: "rules",
		Summary: "Say, after the salvage of a damaged database, that the users and rules that are left may stand."},
		func(ctx context.Context, _ *admin.Nothing) (*admin.Nothing, error) {
			return new(admin.Nothing), a.keep(ctx)
		})
	admin.Handle(api, admin.Operation{Method: http.MethodGet, Path: "/rules/explain", Role: admin.Viewer, Group: "rules",
		Summary: "Whether a client may do something, and which rule says so."},
		func(_ context.Context, q *inspect.Question) (*inspect.Explanation, error) {
			rules, err := a.policyRules()
			if err != nil {
				return nil, err
			}
			return a.explain(access.NewPolicy(rules), q)
		})
}

// ruleWindow is a part of the rules; its cursor is the number of rules before it.
func (a *accounts) ruleWindow(w inspect.Window) (*inspect.Page[inspect.Rule], error) {
	rules, err := a.policyRules()
	if err != nil {
		return nil, err
	}
	from := 0
	if w.Cursor != "" {
		if from, err = strconv.Atoi(w.Cursor); err != nil || from < 0 || from > len(rules) {
			return nil, &inspect.Invalid{Field: "cursor", Why: "it is not what next said"}
		}
	}
	p := &inspect.Page[inspect.Rule]{Items: []inspect.Rule{}, Total: len(rules)}
	for i := from; i < min(len(rules), from+w.Limit); i++ {
		p.Items = append(p.Items, inspect.Rule{Rule: rules[i].String(), Where: rules[i].Where})
	}
	if next := from + w.Limit; next < len(rules) {
		p.Next = strconv.Itoa(next)
	}
	return p, nil
}

func (a *accounts) addRule(ctx context.Context, in *newRule) (*ruleAdded, error) {
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
		added.UnknownUser = r.User != "" && a.allUsers()[r.User] == nil
		added.Rule, added.First = inspect.Rule{Rule: r.String(), Where: rules[at-1].Where}, len(rules)+len(files) == 1
		if by := slices.IndexFunc(rules[:at-1], func(before access.Rule) bool { return before.Shadows(&r) }); by >= 0 {
			added.ShadowedBy = &storedRule{inspect.Rule{Rule: rules[by].String(), Where: rules[by].Where}, by + 1}
		}
		return rules, nil
	})
	if err == nil {
		a.log.Info("a rule was added", "rule", added.Rule.Rule, "where", added.Where)
	}
	return added, err
}

func (a *accounts) removeRule(ctx context.Context, in *ruleChoice) (*inspect.Rule, error) {
	files, err := a.fileRules()
	if err != nil {
		return nil, err
	}
	var removed *inspect.Rule
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
		removed = &inspect.Rule{Rule: rules[at].String(), Where: rules[at].Where}
		return slices.Delete(rules, at, at+1), nil
	})
	if err == nil {
		a.log.Info("a rule was removed", "rule", removed.Rule, "where", removed.Where)
	}
	return removed, err
}
