package inspect

import "time"

// A User is one of the store.
type User struct {
	Name     string    `json:"name"`
	Groups   []string  `json:"groups"`
	Role     string    `json:"role,omitempty" enum:"admin,viewer" doc:"What it may do with this API; none: nothing."`
	Disabled bool      `json:"disabled"`
	SCRAM    bool      `json:"scram" doc:"It can log in with SCRAM-SHA-256."`
	Changed  time.Time `json:"changed"`
}

// A Rule says who may do what; the first that fits decides.
type Rule struct {
	Rule  string `json:"rule"`
	Where string `json:"where" doc:"Its position among those of the store, or its file and line."`
}

// A Question is whether a Client may do something.
type Question struct {
	User   string   `query:"user" json:"user,omitempty" doc:"None: a client without a user name."`
	Groups []string `query:"group,explode" json:"groups,omitempty" doc:"None: those that are known of the user."`
	Client string   `query:"client" json:"client,omitempty" doc:"Client Identifier."`
	Action string   `query:"action" json:"action" required:"true" enum:"publish,subscribe,receive"`
	Topic  string   `query:"topic" json:"topic" required:"true" doc:"Topic Name; for subscribe a Topic Filter."`
	QoS    int      `query:"qos" json:"qos" minimum:"0" maximum:"2"`
	Retain bool     `query:"retain" json:"retain,omitempty"`
}

// An Explanation is the answer, with what was passed over.
type Explanation struct {
	Allowed bool     `json:"allowed"`
	Rule    string   `json:"rule,omitempty" doc:"That decided."`
	Where   string   `json:"where,omitempty"`
	Lines   []string `json:"lines"`
}

// A Ban keeps an address away for a while.
type Ban struct {
	Address string    `json:"address" doc:"Or network."`
	Until   time.Time `json:"until"`
}
