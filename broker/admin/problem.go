package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/x0a1b/promptmq/broker/inspect"
)

// A Problem is the answer to what was not done: problem details of RFC 9457.
type Problem struct {
	Title  string  `json:"title" doc:"What the status means."`
	Status int     `json:"status"`
	Detail string  `json:"detail" doc:"What is wrong, for a person."`
	Errors []Fault `json:"errors,omitempty" doc:"What is wrong where, if it is about parts of the request."`
}

// A Fault is what is wrong with a part of a request. It repeats no value: that may be a secret.
type Fault struct {
	Location string `json:"location,omitempty" doc:"Such as query.limit or body.rule."`
	Message  string `json:"message"`
}

// Error implements error.
func (p *Problem) Error() string {
	text := p.Detail
	for _, f := range p.Errors {
		if f.Message == p.Detail {
			continue
		}
		if text += "; " + f.Message; f.Location != "" {
			text += " (" + f.Location + ")"
		}
	}
	return text
}

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// newProblem takes the place of huma.NewError.
func newProblem(status int, detail string, errs ...error) huma.StatusError {
	p := &Problem{Title: http.StatusText(status), Status: status, Detail: detail}
	for _, err := range errs {
		f := Fault{Message: err.Error()}
		if d, ok := errors.AsType[*huma.ErrorDetail](err); ok {
			f = Fault{Location: d.Location, Message: d.Message}
		}
		p.Errors = append(p.Errors, f)
	}
	return p
}

func init() { huma.NewError = newProblem } // huma has no other place for it

// An Error says why something was not done.
type Error struct {
	Text string
	// Field is the part of the request that it is about; "": none.
	Field string
	// Status is that of HTTP.
	Status int
	// Asked: the cause is what was asked for.
	Asked bool
}

// Error implements error.
func (e *Error) Error() string { return e.Text }

// Refuse returns an error whose cause is what was asked for.
func Refuse(format string, args ...any) error { return RefuseField("", format, args...) }

// RefuseField is Refuse for a member of the body, or a parameter.
func RefuseField(field, format string, args ...any) error {
	return &Error{Text: fmt.Sprintf(format, args...), Field: field, Status: http.StatusUnprocessableEntity, Asked: true}
}

// NotFound returns an error that says that there is no such thing.
func NotFound(format string, args ...any) error {
	return &Error{Text: fmt.Sprintf(format, args...), Status: http.StatusNotFound, Asked: true}
}

// Conflict returns an error that says that something is as it is already.
func Conflict(format string, args ...any) error {
	return &Error{Text: fmt.Sprintf(format, args...), Status: http.StatusConflict, Asked: true}
}

// problemOf is what is answered for the error of a handler; locate says where a field stands.
func problemOf(err error, locate func(field string) string) *Problem {
	status, detail, field := http.StatusInternalServerError, err.Error(), ""
	var failed *Error
	var wrong *inspect.Invalid
	var against *inspect.Refused
	switch {
	case errors.As(err, &failed) && failed.Status != 0:
		status, field = failed.Status, failed.Field
	case errors.As(err, &wrong):
		status, field, detail = http.StatusUnprocessableEntity, wrong.Field, wrong.Why
	case errors.Is(err, inspect.ErrBadCursor):
		status, field = http.StatusUnprocessableEntity, "cursor"
	case errors.As(err, &against), errors.Is(err, inspect.ErrNotConnected):
		status = http.StatusConflict
	case errors.Is(err, inspect.ErrNotFound):
		status = http.StatusNotFound
	case errors.Is(err, context.DeadlineExceeded):
		status, detail = http.StatusServiceUnavailable, "the broker was too busy, or its disk did not answer in time: what was to be changed may have been, or not"
	}
	p := &Problem{Title: http.StatusText(status), Status: status, Detail: detail}
	if field != "" {
		p.Errors = []Fault{{Location: locate(field), Message: detail}}
	}
	return p
}

// answerProblem is for what no operation answers.
func answerProblem(w http.ResponseWriter, p *Problem) {
	body, _ := json.Marshal(p) // texts and a number always can be
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // who asked has gone
}

func problem(status int, detail string) *Problem {
	return &Problem{Title: http.StatusText(status), Status: status, Detail: detail}
}
