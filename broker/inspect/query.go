package inspect

// A Query is a SELECT on the views of docs/sql.md.
type Query struct {
	Query          string  `json:"query" minLength:"1" maxLength:"65536" doc:"One SELECT."`
	TimeoutSeconds float64 `json:"timeout_seconds,omitempty" exclusiveMinimum:"0" maximum:"30" doc:"When it is ended; more than 0. Not said: 5."`
	MaxRows        int     `json:"max_rows,omitempty" minimum:"1" maximum:"100000" doc:"Most rows of the answer, from 1 on. Not said: 1,000."`
}

// QueryRows is the answer to a Query. Cells are null, a number, a text, or an object whose
// member base64 has bytes.
type QueryRows struct {
	Columns []string `json:"columns"`
	Rows    [][]any  `json:"rows"`
	More    bool     `json:"more" doc:"There are more rows than the answer may have."`
	Took    Seconds  `json:"took_seconds"`
}
