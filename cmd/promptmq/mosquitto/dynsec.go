package mosquitto

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/x0a1b/promptmq/broker/access"
)

const dynsecBytesMax = 64 << 20

// A dynsecFile is what the plugin for dynamic security stores.
type dynsecFile struct {
	Defaults struct {
		Send        bool `json:"publishClientSend"`
		Receive     bool `json:"publishClientReceive"`
		Subscribe   bool `json:"subscribe"`
		Unsubscribe bool `json:"unsubscribe"`
	} `json:"defaultACLAccess"`
	Clients        []dynsecClient `json:"clients"`
	Groups         []dynsecGroup  `json:"groups"`
	Roles          []dynsecRole   `json:"roles"`
	AnonymousGroup string         `json:"anonymousGroup"`
	ChangeIndex    int64          `json:"changeIndex"`
	described
}

// described is what people say of a thing.
type described struct {
	TextName        string `json:"textname"`
	TextDescription string `json:"textdescription"`
}

type dynsecClient struct {
	Name       string          `json:"username"`
	ClientID   *string         `json:"clientid"`
	Password   string          `json:"password"`
	Salt       string          `json:"salt"`
	Iterations int             `json:"iterations"`
	Encoded    string          `json:"encoded_password"`
	Disabled   bool            `json:"disabled"`
	Roles      []dynsecRoleRef `json:"roles"`
	described
}

type dynsecGroup struct {
	Name    string          `json:"groupname"`
	Roles   []dynsecRoleRef `json:"roles"`
	Clients []struct {
		Name     string `json:"username"`
		Priority *int   `json:"priority"`
	} `json:"clients"`
	described
}

type dynsecRoleRef struct {
	Name     string `json:"rolename"`
	Priority *int   `json:"priority"`
}

type dynsecRole struct {
	Name             string      `json:"rolename"`
	ACLs             []dynsecACL `json:"acls"`
	AllowWildcardSub *bool       `json:"allowwildcardsubs"`
	described
}

type dynsecACL struct {
	Type     string `json:"acltype"`
	Topic    string `json:"topic"`
	Priority int    `json:"priority"`
	Allow    bool   `json:"allow"`
}

// A dynsecReader makes users and rules of a dynsecFile.
type dynsecReader struct {
	conf  *Conf
	file  dynsecFile
	rules map[string][]access.Rule // of each role, without saying whom they are about
	// names: %u and %c in topics stand for names, as from Mosquitto 2.1 on.
	names bool
	// sharesAllowed: there is a role that speaks of $share/.
	sharesAllowed bool
}

func (r *dynsecReader) add(what string, outcome Outcome, why string, args ...any) {
	r.conf.Report.Add(r.conf.DynamicSecurity.Path, 0, what, outcome, why, args...)
}

func (c *Conf) readDynamicSecurity(a *Access, salts func(int) []byte) {
	text, ok := c.open(c.DynamicSecurity, dynsecBytesMax)
	if !ok {
		return
	}
	r := &dynsecReader{conf: c, rules: make(map[string][]access.Rule)}
	// What is not known may have a meaning for who may do what.
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(&r.file)
	if err == nil {
		if _, next := d.Token(); !errors.Is(next, io.EOF) {
			err = errors.New("there is more behind the JSON value")
		}
	}
	if err == nil {
		err = r.check()
	}
	if err != nil {
		r.add("the file", Refused, "%v", err)
		return
	}
	r.names = slices.ContainsFunc(r.file.Clients, func(c dynsecClient) bool { return c.Encoded != "" })
	for i := range r.file.Roles {
		r.role(&r.file.Roles[i])
	}
	r.users(a, salts)
	if len(a.Rules) > maxRules {
		r.add("roles", Refused, "they are %d rules, and the store has %d at most", len(a.Rules), maxRules)
	}
	if !r.sharesAllowed {
		r.add("shared subscriptions", Changed, "who may subscribe to a filter may also as $share/GROUP/FILTER, which Mosquitto asks about apart")
	}
}

// check finds what is there twice, or without a name.
func (r *dynsecReader) check() error {
	seen := make(map[string]bool)
	once := func(kind, name string) error {
		if name == "" || seen[kind+name] {
			return fmt.Errorf("a %s without a name, or twice: %q", kind, name)
		}
		seen[kind+name] = true
		return nil
	}
	for _, c := range r.file.Clients {
		if err := once("client ", c.Name); err != nil {
			return err
		}
	}
	for _, g := range r.file.Groups {
		if err := once("group ", g.Name); err != nil {
			return err
		}
	}
	for _, role := range r.file.Roles {
		if err := once("role ", role.Name); err != nil {
			return err
		}
		for _, acl := range role.ACLs {
			if err := once("rule of role ", role.Name+" for "+acl.Type+" "+acl.Topic); err != nil {
				return err
			}
		}
	}
	if r.file.AnonymousGroup != "" && !seen["group "+r.file.AnonymousGroup] {
		return fmt.Errorf("there is no group %q, which anonymousGroup names", r.file.AnonymousGroup)
	}
	return nil
}

type dynsecAction struct {
	name    string
	action  access.Actions
	literal bool
}

// dynsecActions are the kinds of rules, in the order in which those of one action are asked.
var dynsecActions = []dynsecAction{
	{"publishClientSend", access.Publish, false}, {"publishClientReceive", access.Receive, false},
	{"subscribeLiteral", access.Subscribe, true}, {"subscribePattern", access.Subscribe, false},
}

// role makes rules of a role, in the order in which they are asked.
func (r *dynsecReader) role(role *dynsecRole) {
	what := "role " + role.Name
	if role.AllowWildcardSub != nil && !*role.AllowWildcardSub {
		r.add(what, Refused, "allowwildcardsubs: false has no counterpart: rules cannot forbid wildcards")
	}
	acls := slices.Clone(role.ACLs)
	slices.SortStableFunc(acls, func(a, b dynsecACL) int { return cmp.Compare(b.Priority, a.Priority) })
	rules := []access.Rule{}
	for _, kind := range dynsecActions {
		for _, acl := range acls {
			if acl.Type != kind.name {
				continue
			}
			rule := access.Rule{Deny: !acl.Allow, Actions: kind.action, Filter: r.filter(acl.Topic), MaxQoS: 2, Literal: kind.literal}
			if rule.Deny {
				rule.MaxQoS = 0
			}
			if r.kept(what, acl, &rule) {
				rules = append(append(rules, rule), r.wide(acl, rule)...)
			}
		}
	}
	for _, acl := range acls {
		switch known := slices.ContainsFunc(dynsecActions, func(k dynsecAction) bool { return k.name == acl.Type }); {
		case known:
		case strings.HasPrefix(acl.Type, "unsubscribe"):
			r.add(what+": "+acl.text(), LeftOut, "a client may always end its own subscriptions")
		default:
			r.add(what+": "+acl.text(), Refused, "there is no such acltype")
		}
	}
	r.rules[role.Name] = rules
}

func (a dynsecACL) text() string {
	word := "deny"
	if a.Allow {
		word = "allow"
	}
	return fmt.Sprintf("%s %s %s", a.Type, a.Topic, word)
}

// kept reports whether a rule can be kept, and says why if not.
func (r *dynsecReader) kept(role string, acl dynsecACL, rule *access.Rule) bool {
	what := role + ": " + acl.text()
	switch err := rule.Check(); {
	case strings.HasPrefix(acl.Topic, "$CONTROL"):
		r.add(what, LeftOut, "there is no $CONTROL: promptmq user role NAME admin lets a user administer the broker")
	case strings.HasPrefix(acl.Topic, "$share/") && acl.Allow:
		r.sharesAllowed = true
		r.add(what, LeftOut, "a shared subscription is asked about as its filter, without $share/GROUP/")
	case strings.HasPrefix(acl.Topic, "$share/"):
		r.add(what, Refused, "a shared subscription is asked about as its filter: it cannot be denied by itself")
	case err != nil && acl.Allow:
		r.add(what, LeftOut, "it allows nothing: %v", err)
	case err != nil:
		r.add(what, Refused, "%v", err)
	default:
		if !r.names && (strings.Contains(acl.Topic, "%u") || strings.Contains(acl.Topic, "%c")) {
			r.add(what, Changed, "%%u and %%c are text, as in Mosquitto 2.0")
		}
		return true
	}
	return false
}

// filter writes a topic as rules have it.
func (r *dynsecReader) filter(topic string) string {
	topic = strings.ReplaceAll(topic, "%", "%%")
	if r.names {
		topic = strings.NewReplacer("%%u", "%u", "%%c", "%c").Replace(topic)
	}
	return topic
}

// hash is what is stored of the password. made: there is none, and nobody knows the one that
// it is of.
func (c *dynsecClient) hash(salts func(int) []byte) (text string, made bool) {
	switch {
	case c.Encoded != "":
		return c.Encoded, false
	case c.Password != "":
		return fmt.Sprintf("$7$%d$%s$%s", c.Iterations, c.Salt, c.Password), false
	}
	password := base64.StdEncoding.EncodeToString(salts(32))
	return access.NewHash([]byte(password), salts(access.SaltBytes)).String(), true
}
