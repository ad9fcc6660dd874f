package inspect

// A Setting is a key of the configuration: what it is, and what it has where that is known.
type Setting struct {
	Key     string `json:"key" doc:"Path in the file, with dots."`
	Help    string `json:"help" doc:"What it is, and what 0 or empty means where they are allowed."`
	Default string `json:"default"`
	Unit    string `json:"unit,omitempty" doc:"What a number counts, or how a duration is written."`
	Allowed string `json:"allowed" doc:"Range or words."`
	// Flag and Variable are empty for a key of a listener, which has none.
	Flag     string `json:"flag,omitempty"`
	Variable string `json:"variable,omitempty" doc:"Of the environment."`
	// Kinds are those of listeners that have the key; none: it is no key of a listener.
	Kinds []string `json:"listener_kinds,omitempty"`
	// Change is what a change needs: reload or restart.
	Change string `json:"change" enum:"reload,restart" doc:"What a change of it needs."`
	Detail string `json:"change_detail,omitempty" doc:"Where part of a change needs something else."`

	Value  string `json:"value" doc:"What it has. A secret is the reference to it, or hidden."`
	Source string `json:"source,omitempty" doc:"Where the value comes from: default, the file and its line, the variable or the flag."`
	// InUse is what was made of Value, where the two differ, as a limit that is worked out at the start.
	InUse string `json:"in_use,omitempty" doc:"What the broker made of the value, if that is something else."`
	// Waiting is what a restart would give it, with where that is from; nil: what it has.
	Waiting       *string `json:"waiting,omitempty" doc:"What its source has since the last reload, where the broker has it only after a restart. None: it has it."`
	WaitingSource string  `json:"waiting_source,omitempty" doc:"Where that value comes from."`
}
