package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"
)

const (
	// bodyBytesMax bounds a request, commandWithin how long a command may take. What has
	// begun to be stored by then is stored.
	bodyBytesMax  = 1 << 20
	commandWithin = 30 * time.Second
)

// Commands are what can be asked for. Its methods may be called by any goroutine once all
// are added.
type Commands struct {
	mux *http.ServeMux
	log *slog.Logger
	// panicked counts.
	panicked func()
}

// NewCommands returns an empty set. A panic of a command is logged, and panicked is called.
func NewCommands(log *slog.Logger, panicked func()) *Commands {
	return &Commands{mux: http.NewServeMux(), log: log, panicked: panicked}
}

// An Error is why a command was not done.
type Error struct {
	Text string `json:"error"`
	// Asked: the cause is what was asked for.
	Asked bool `json:"-"`
}

// Error implements error.
func (e *Error) Error() string { return e.Text }

// Refuse returns an Error about what was asked for.
func Refuse(format string, args ...any) error {
	return &Error{Text: fmt.Sprintf(format, args...), Asked: true}
}

// Handle adds a command. Its function has the request as it came, unchecked but for the
// names of its members, and may be called by many goroutines at once. Its error is told to
// who asked, so it has no secret in it; Error says whose fault it is.
func Handle[In, Out any](c *Commands, path string, f func(context.Context, *In) (*Out, error)) {
	c.mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		in := new(In)
		if err := read(http.MaxBytesReader(w, r.Body, bodyBytesMax), in); err != nil {
			answer(w, http.StatusBadRequest, &Error{Text: err.Error()})
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), commandWithin)
		defer cancel()
		out, err := f(ctx, in)
		var failed *Error
		switch {
		case err == nil:
			answer(w, http.StatusOK, out)
		case errors.As(err, &failed) && failed.Asked:
			answer(w, http.StatusUnprocessableEntity, &Error{Text: err.Error()})
		case errors.Is(err, context.DeadlineExceeded):
			answer(w, http.StatusServiceUnavailable, &Error{Text: "the broker was too busy, or its disk did not answer: nothing was changed"})
		default:
			answer(w, http.StatusInternalServerError, &Error{Text: err.Error()})
		}
	})
}

// read decodes a body, which is one JSON value. Its error does not show what is in there.
func read(body io.Reader, v any) error {
	d := json.NewDecoder(body)
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		return errors.New("the request has more than one JSON value")
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return fmt.Errorf("the request has more than %d bytes", large.Limit)
	case strings.HasPrefix(err.Error(), "json: unknown field"):
		return errors.New("the request has a member that this version does not know: command and broker are not of one version")
	}
	return errors.New("the request is not the JSON that this command takes")
}

func answer(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"the answer is no JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // who asked has gone
}

// ServeHTTP implements http.Handler.
func (c *Commands) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if p := recover(); p != nil {
			c.panicked()
			c.log.Error("panic", "doing", "administration "+r.URL.Path, "panic", p, "stack", string(debug.Stack()))
			answer(w, http.StatusInternalServerError, &Error{Text: "the command failed; the log of the broker says more"})
		}
	}()
	if _, pattern := c.mux.Handler(r); pattern == "" {
		answer(w, http.StatusNotFound, &Error{Text: "there is no such command: command and broker are not of one version"})
		return
	}
	c.mux.ServeHTTP(w, r)
}

// A buffer is a http.ResponseWriter in memory.
type buffer struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func (b *buffer) Header() http.Header         { return b.header }
func (b *buffer) WriteHeader(status int)      { b.status = status }
func (b *buffer) Write(p []byte) (int, error) { return b.body.Write(p) }

// RoundTrip implements http.RoundTripper: the request is handled by who calls it.
func (c *Commands) RoundTrip(r *http.Request) (*http.Response, error) {
	b := buffer{status: http.StatusOK, header: make(http.Header)}
	c.ServeHTTP(&b, r)
	return &http.Response{StatusCode: b.status, Header: b.header, Body: io.NopCloser(&b.body), Request: r}, nil
}
