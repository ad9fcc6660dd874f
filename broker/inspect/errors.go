package inspect

// An Invalid is the error of a value that cannot be used.
type Invalid struct {
	Field string // its JSON name, or that of the parameter
	Why   string // what is wrong, and what is allowed
}

func (e *Invalid) Error() string { return e.Field + ": " + e.Why }

// A Refused is the error of what is in order, but was not done: a limit is reached, or a rule
// is against it. Nothing was changed.
type Refused struct {
	Reason string // name of the Reason Code
	Why    string
}

func (e *Refused) Error() string { return e.Reason + ": " + e.Why }
