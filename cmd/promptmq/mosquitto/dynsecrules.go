package mosquitto

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/x0a1b/promptmq/broker/access"
)

// A unit is a role, or the roles of a group, that clients have. The rules of a client are
// those of its units, one after the other: first its own roles and then its groups, those of
// the higher priority first, and of the same priority by name.
type unit struct {
	group string // that users with it are in here
	roles []string
	used  bool
}

// A ranked name has a priority.
type ranked struct {
	name     string
	priority int
}

// inOrder returns names as Mosquitto asks them.
func inOrder(list []ranked) []string {
	slices.SortStableFunc(list, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(b.priority, a.priority), strings.Compare(a.name, b.name))
	})
	names := make([]string, len(list))
	for i := range list {
		names[i] = list[i].name
	}
	return slices.Compact(names)
}

// priorityOf is one that need not be said.
func priorityOf(p *int) int {
	if p == nil {
		return -1
	}
	return *p
}

// rolesOf are those of a client or a group that there are.
func (r *dynsecReader) rolesOf(what string, refs []dynsecRoleRef) []string {
	var list []ranked
	for _, ref := range refs {
		if _, there := r.rules[ref.Name]; !there {
			r.add(what, LeftOut, "it has the role %q, which there is not", ref.Name)
			continue
		}
		list = append(list, ranked{ref.Name, priorityOf(ref.Priority)})
	}
	return inOrder(list)
}

// An ordering is units, and which of them come before which others.
type ordering struct {
	units  []unit
	places map[string]int // by kind and name
	next   []map[int]bool // which ones each is directly before
}

func (o *ordering) add(kind string, u unit, name string) {
	o.places[kind+name] = len(o.units)
	o.units = append(o.units, u)
	o.next = append(o.next, make(map[int]bool))
}

// leads reports whether a is before b.
func (o *ordering) leads(a, b int, seen map[int]bool) bool {
	if a == b {
		return true
	}
	seen[a] = true
	for n := range o.next[a] {
		if !seen[n] && o.leads(n, b, seen) {
			return true
		}
	}
	return false
}

// take notes the order of a client's units, unless it is against that of others.
func (o *ordering) take(places []int) bool {
	var added [][2]int
	for i := 1; i < len(places); i++ {
		a, b := places[i-1], places[i]
		if o.next[a][b] {
			continue
		}
		if o.leads(b, a, make(map[int]bool)) {
			for _, e := range added {
				delete(o.next[e[0]], e[1])
			}
			return false
		}
		o.next[a][b] = true
		added = append(added, [2]int{a, b})
	}
	return true
}

// all are the places of the units, each behind those that are before it.
func (o *ordering) all() (order []int) {
	done := make(map[int]bool)
	var visit func(int)
	visit = func(at int) {
		if done[at] {
			return
		}
		done[at] = true
		for n := range len(o.units) { // in the order of the file
			if o.next[at][n] {
				visit(n)
			}
		}
		order = append(order, at)
	}
	for i := len(o.units) - 1; i >= 0; i-- {
		visit(i)
	}
	slices.Reverse(order)
	return order
}

// unitsOf makes units of the roles and groups.
func (r *dynsecReader) unitsOf() *ordering {
	o := &ordering{places: make(map[string]int)}
	for _, role := range r.file.Roles {
		name := role.Name
		if slices.ContainsFunc(r.file.Groups, func(g dynsecGroup) bool { return g.Name == role.Name || g.Name == "role "+role.Name }) {
			name = "role: " + name
		}
		o.add("role ", unit{group: name, roles: []string{role.Name}}, role.Name)
	}
	for _, g := range r.file.Groups {
		o.add("group ", unit{group: g.Name, roles: r.rolesOf("group "+g.Name, g.Roles)}, g.Name)
	}
	return o
}

// checkNames refuses a group of the store that would be two things: who is in one would have the
// rules of the other.
func (r *dynsecReader) checkNames(o *ordering) {
	seen := map[string]bool{everybody: r.conf.byCertificate}
	for _, u := range o.units {
		if seen[u.group] {
			r.add("group "+u.group, Refused, "another group of the store would have this name: give it another in Mosquitto")
		}
		seen[u.group] = true
	}
}

// users makes users, and the rules about them.
func (r *dynsecReader) users(a *Access, salts func(int) []byte) {
	o := r.unitsOf()
	r.checkNames(o)
	groups := make(map[string][]ranked) // of each client
	for _, g := range r.file.Groups {
		for _, c := range g.Clients {
			groups[c.Name] = append(groups[c.Name], ranked{g.Name, priorityOf(c.Priority)})
		}
	}
	for i := range r.file.Clients {
		c := &r.file.Clients[i]
		var places []int
		for _, name := range r.rolesOf("client "+c.Name, c.Roles) {
			places = append(places, o.places["role "+name])
		}
		for _, name := range inOrder(groups[c.Name]) {
			places = append(places, o.places["group "+name])
		}
		r.user(a, c, o, places, salts)
	}
	r.shared(a, o)
	r.add(fmt.Sprintf("%d clients, %d groups, %d roles", len(r.file.Clients), len(r.file.Groups), len(r.file.Roles)), Taken, "users of the store: %d, rules: %d", len(a.Users), len(a.Rules))
}

// groupsMax is how many groups a user of the store is in.
const groupsMax = 64

// everybody is the group of all users where there are others, with certificates, that Mosquitto
// knows nothing of and denies everything.
const everybody = "dynamic security"

// user makes a user. It has its rules through groups, or, where that cannot be, as its own.
func (r *dynsecReader) user(a *Access, c *dynsecClient, o *ordering, places []int, salts func(int) []byte) {
	what := "client " + c.Name
	hash, made := c.hash(salts)
	u := User{Place: Place{r.conf.DynamicSecurity.Path, 0}, Name: c.Name, Hash: hash, Disabled: c.Disabled}
	if made {
		r.add(what, Changed, "it has no password: its user has one that nobody knows (promptmq user passwd)")
	}
	own := c.ClientID != nil || len(places) > groupsMax-1 ||
		slices.ContainsFunc(places, func(p int) bool { return strings.Contains(o.units[p].group, ",") }) || !o.take(places)
	if !own {
		for _, p := range places {
			u.Groups = append(u.Groups, o.units[p].group)
			o.units[p].used = true
		}
	}
	if r.conf.byCertificate && c.ClientID == nil {
		u.Groups = append(u.Groups, everybody)
	}
	a.Users = append(a.Users, u)
	of := access.Rule{User: c.Name}
	switch {
	case c.ClientID != nil && *c.ClientID == "":
		r.add(what, Refused, "its clientid is empty, which nobody can have")
		return
	case c.ClientID != nil:
		of.Client = *c.ClientID
		r.add(what, Changed, "a user of the store; with another client identifier than %q it can connect, and do nothing", of.Client)
	case own:
		r.add(what, Taken, "a user of the store, with rules of its own: its groups are not in the order of other clients'")
	default:
		r.add(what, Taken, "a user of the store%s", inGroups(u))
		return
	}
	for _, p := range places {
		for _, role := range o.units[p].roles {
			a.Rules = append(a.Rules, about(r.rules[role], of)...)
		}
	}
	if c.ClientID != nil {
		a.Rules = append(a.Rules, about(r.defaults(), of)...)
		for _, filter := range append(r.dollars(), "#", "$SYS/#") {
			a.Rules = append(a.Rules, access.Rule{Deny: true, User: c.Name, Actions: access.Publish | access.Receive | access.Subscribe, Filter: filter})
		}
	}
}

func inGroups(u User) string {
	text := ""
	if len(u.Groups) > 0 {
		text = ", in " + strings.Join(u.Groups, ", ")
	}
	if u.Disabled {
		text += ", disabled"
	}
	return text
}

// about returns rules as they are for somebody.
func about(rules []access.Rule, of access.Rule) []access.Rule {
	list := slices.Clone(rules)
	for i := range list {
		list[i].User, list[i].Client, list[i].Group, list[i].Nobody = of.User, of.Client, of.Group, of.Nobody
	}
	return list
}

// shared makes the rules of groups, of clients without a name, and the defaults.
func (r *dynsecReader) shared(a *Access, o *ordering) {
	for _, p := range o.all() {
		u := &o.units[p]
		if strings.Contains(u.group, ",") || !u.used && len(u.roles) == 1 && o.places["role "+u.roles[0]] == p {
			continue // nobody is in it
		}
		for _, role := range u.roles {
			a.Rules = append(a.Rules, about(r.rules[role], access.Rule{Group: u.group})...)
		}
	}
	if r.file.AnonymousGroup != "" {
		for _, role := range o.units[o.places["group "+r.file.AnonymousGroup]].roles {
			a.Rules = append(a.Rules, about(r.rules[role], access.Rule{Nobody: true})...)
		}
		r.add("anonymousGroup "+r.file.AnonymousGroup, Taken, "rules about nobody")
	}
	if r.conf.byCertificate {
		a.Rules = append(a.Rules, about(r.defaults(), access.Rule{Group: everybody})...)
		a.Rules = append(a.Rules, about(r.defaults(), access.Rule{Nobody: true})...)
	} else {
		a.Rules = append(a.Rules, r.defaults()...)
	}
	if len(a.Rules) == 0 { // without any rule all would be allowed
		a.Rules = append(a.Rules, access.Rule{Deny: true, Actions: access.Publish | access.Receive | access.Subscribe, Filter: "#"})
	}
	r.add("defaultACLAccess", Taken, "the last rules; what none allows is denied")
}

// wide are the rules that a pattern for subscriptions is beside its own: to the plugin its first
// wildcard matches a level with a $ too.
func (r *dynsecReader) wide(acl dynsecACL, rule access.Rule) (rules []access.Rule) {
	first, rest, more := strings.Cut(rule.Filter, "/")
	if acl.Type != "subscribePattern" || first != "#" && first != "+" {
		return nil
	}
	for _, filter := range append(r.dollars(), "$SYS/#") {
		if more {
			filter = strings.TrimSuffix(filter, "#") + rest
		} else if first == "+" {
			filter = strings.TrimSuffix(filter, "/#")
		}
		rule.Filter = filter
		rules = append(rules, rule)
	}
	return rules
}

// dollars are the filters of those parts of the tree with a $ that roles speak of: in rules # is
// not about them.
func (r *dynsecReader) dollars() (filters []string) {
	for _, role := range r.file.Roles {
		for _, acl := range role.ACLs {
			first, _, _ := strings.Cut(acl.Topic, "/")
			if strings.HasPrefix(first, "$") && !slices.Contains([]string{"$CONTROL", "$SYS", "$share"}, first) {
				filters = append(filters, r.filter(first)+"/#")
			}
		}
	}
	slices.Sort(filters)
	return slices.Compact(filters)
}

// defaults are the rules about what no role speaks of.
func (r *dynsecReader) defaults() (rules []access.Rule) {
	allow := func(actions access.Actions, filters ...string) {
		for _, filter := range filters {
			rules = append(rules, access.Rule{Actions: actions, Filter: filter, MaxQoS: 2})
		}
	}
	d := &r.file.Defaults
	filters := append(r.dollars(), "#")
	if d.Send {
		allow(access.Publish, filters...)
	}
	if d.Receive {
		allow(access.Receive, append(filters, "$SYS/#")...)
	}
	if d.Subscribe {
		allow(access.Subscribe, append(filters, "$SYS/#")...)
	}
	return rules
}
