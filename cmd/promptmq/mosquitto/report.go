package mosquitto

import (
	"encoding/json"
	"fmt"
)

// An Outcome is what becomes of a thing that is read.
type Outcome uint8

// The outcomes. What is refused has a meaning for the security that cannot be kept: nothing
// is imported then.
const (
	Taken Outcome = iota
	Changed
	LeftOut
	Refused
)

var outcomeTexts = [...]string{Taken: "taken", Changed: "changed", LeftOut: "left out", Refused: "refused"}

// String returns the Outcome for people.
func (o Outcome) String() string { return outcomeTexts[o] }

// MarshalJSON implements json.Marshaler.
func (o Outcome) MarshalJSON() ([]byte, error) { return json.Marshal(o.String()) }

// A Finding says of one thing what becomes of it. It has no secret.
type Finding struct {
	Source  string  `json:"source"`         // the file
	Line    int     `json:"line,omitempty"` // counted from 1; 0: the file as a whole
	What    string  `json:"what"`
	Outcome Outcome `json:"outcome"`
	Why     string  `json:"why"` // where it is now, or why it is not there
}

// Place is where the thing stands, for people.
func (f *Finding) Place() string {
	if f.Line == 0 {
		return f.Source
	}
	return fmt.Sprintf("%s:%d", f.Source, f.Line)
}

// A Report is what becomes of all that is read, in the order in which it was.
type Report struct{ Findings []Finding }

// Add appends a Finding.
func (r *Report) Add(source string, line int, what string, outcome Outcome, why string, args ...any) {
	r.Findings = append(r.Findings, Finding{source, line, what, outcome, fmt.Sprintf(why, args...)})
}

// Count returns how many Findings have that Outcome.
func (r *Report) Count(o Outcome) (n int) {
	for i := range r.Findings {
		if r.Findings[i].Outcome == o {
			n++
		}
	}
	return n
}
