package main

import (
	"strings"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/topics"
)

var actions = map[string]access.Actions{"publish": access.Publish, "subscribe": access.Subscribe, "receive": access.Receive}

// topicLevelsMax is more than any broker is told to take.
const topicLevelsMax = 1 << 16

// explain asks as the broker does.
func (a *accounts) explain(policy *access.Policy, q *inspect.Question) (*inspect.Explanation, error) {
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
		return nil, admin.RefuseField("topic", "%q: %v", r.Topic, err)
	}
	who, notes := a.known(q)
	if r.Action == access.Publish && strings.HasPrefix(r.Topic, "$SYS/") {
		return &inspect.Explanation{Lines: append([]string{"denied: nobody may publish to $SYS, whatever the rules say"}, notes...)}, nil
	}
	d, lines := access.Explain(policy, access.NewSubject(who, q.Client), r)
	out := &inspect.Explanation{Allowed: d.Allowed, Lines: append(lines, notes...)}
	if d.Rule != nil {
		out.Rule, out.Where = d.Rule.String(), d.Rule.Where
	}
	return out, nil
}

// known returns what a user would be taken for, and what else there is to say.
func (a *accounts) known(q *inspect.Question) (who *access.Identity, notes []string) {
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
