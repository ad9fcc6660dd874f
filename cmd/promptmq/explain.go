package main

import (
	"context"
	"strings"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/topics"
)

// A question is whether a Client may do something.
type question struct {
	User   string   `json:"user,omitempty"`
	Groups []string `json:"groups,omitempty"` // none: those that are known of the user
	Client string   `json:"client,omitempty"`
	Action string   `json:"action"` // publish, subscribe or receive
	Topic  string   `json:"topic"`
	QoS    int      `json:"qos"`
	Retain bool     `json:"retain,omitempty"`
}

// An explanation is the answer, with what was passed over.
type explanation struct {
	Allowed bool     `json:"allowed"`
	Rule    string   `json:"rule,omitempty"`
	Where   string   `json:"where,omitempty"`
	Lines   []string `json:"lines"`
}

// addExplain adds the command that asks the policy.
func (a *accounts) addExplain(c *admin.Commands) {
	admin.Handle(c, "/acl/explain", func(_ context.Context, q *question) (*explanation, error) {
		rules, err := a.policyRules()
		if err != nil {
			return nil, err
		}
		return a.explain(access.NewPolicy(rules), q)
	})
}

var actions = map[string]access.Actions{"publish": access.Publish, "subscribe": access.Subscribe, "receive": access.Receive}

// topicLevelsMax is more than any broker is told to take.
const topicLevelsMax = 1 << 16

// explain asks as the broker does.
func (a *accounts) explain(policy *access.Policy, q *question) (*explanation, error) {
	r := access.Request{Action: actions[q.Action], Topic: q.Topic, QoS: codec.QoS(q.QoS), Retain: q.Retain}
	if r.Action == 0 || q.QoS < 0 || q.QoS > 2 {
		return nil, admin.Refuse("a client can publish, subscribe or receive, with a QoS from 0 to 2")
	}
	valid := topics.ValidName
	if r.Action == access.Subscribe {
		valid = topics.ValidFilter
		if shared, found := strings.CutPrefix(q.Topic, "$share/"); found {
			_, r.Topic, _ = strings.Cut(shared, "/")
		}
	}
	if err := valid([]byte(r.Topic), topicLevelsMax); err != nil {
		return nil, admin.Refuse("%q: %v", r.Topic, err)
	}
	who, notes := a.known(q)
	if r.Action == access.Publish && strings.HasPrefix(r.Topic, "$SYS/") {
		return &explanation{Lines: append([]string{"denied: nobody may publish to $SYS, whatever the rules say"}, notes...)}, nil
	}
	d, lines := access.Explain(policy, access.NewSubject(who, q.Client), r)
	out := &explanation{Allowed: d.Allowed, Lines: append(lines, notes...)}
	if d.Rule != nil {
		out.Rule, out.Where = d.Rule.String(), d.Rule.Where
	}
	return out, nil
}

// known returns what a user would be taken for, and what else there is to say.
func (a *accounts) known(q *question) (who *access.Identity, notes []string) {
	who = &access.Identity{User: q.User, Groups: q.Groups}
	u := a.allUsers()[q.User]
	switch {
	case q.User == "":
		return who, nil
	case u == nil:
		return who, []string{"note: the store has no user of this name; a file, certificate or token may have, with rules of its own"}
	case u.Disabled:
		notes = []string{"note: the user is disabled, and cannot connect by the store"}
	}
	if len(q.Groups) == 0 {
		who.Groups = u.Groups
	}
	return who, notes
}
