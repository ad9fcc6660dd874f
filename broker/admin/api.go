package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/x0a1b/promptmq/broker/trouble"
)

// An API is a set of operations.
type API struct {
	mux  *http.ServeMux
	huma huma.API
	log  *slog.Logger
	// panicked counts.
	panicked func()
	streams  chan struct{} // has an element for each stream that goes on
	stopping chan struct{} // closed when streams are to end
	stop     func()
}

// New returns an empty API but for its own description and the page. panicked is called when an operation
// panics, after which the API goes on.
func New(version string, log *slog.Logger, panicked func()) *API {
	a := &API{mux: http.NewServeMux(), log: log, panicked: panicked, streams: make(chan struct{}, streamsMax), stopping: make(chan struct{})}
	a.stop = sync.OnceFunc(func() { close(a.stopping) })
	a.huma = humago.New(a.mux, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "PromptMQ", Version: version,
				Description: "See a broker, and change it while it runs. Times are UTC, sizes bytes. x-role is the role that an operation needs.",
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", schemaName),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"token":   {Type: "http", Scheme: "bearer", Description: "A line of admin.tokens-file."},
					"user":    {Type: "http", Scheme: "basic", Description: "A user with a role."},
					"session": {Type: "apiKey", In: "cookie", Name: "__Host-promptmq", Description: "What POST /api/v1/session gives; without TLS its name is promptmq."},
				},
			},
		},
		Formats:       map[string]huma.Format{"application/json": unicodeJSON, "json": unicodeJSON},
		DefaultFormat: "application/json", RejectUnknownQueryParameters: true,
	})
	a.describeItself()
	addPage(a.mux)
	return a
}

// describeItself adds the operation that answers what operations there are.
func (a *API) describeItself() {
	Handle(a, Operation{
		Method: http.MethodGet, Path: "/openapi.json", Role: Viewer, Group: "api", Summary: "The description of this API: OpenAPI 3.1.",
	}, func(context.Context, *Nothing) (*json.RawMessage, error) {
		text, err := a.OpenAPI()
		return (*json.RawMessage)(&text), err
	})
	a.mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = Prefix + r.URL.Path
		a.mux.ServeHTTP(w, r)
	})
}

// OpenAPI returns the description of all operations.
func (a *API) OpenAPI() ([]byte, error) { return json.Marshal(a.huma.OpenAPI()) }

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w := &beginning{ResponseWriter: rw}
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler: //nolint:errorlint // it is this value
			panic(p)
		default:
			a.sayPanic(r.URL.Path, p)
			if w.begun {
				panic(http.ErrAbortHandler) // who reads must not take it for the whole
			}
			answerProblem(w, problem(http.StatusInternalServerError, "the operation failed; the log of the broker says more"))
		}
	}()
	r = r.WithContext(context.WithValue(r.Context(), writerKey{}, w))
	h, pattern := a.mux.Handler(r)
	if pattern != "" {
		a.mux.ServeHTTP(w, r)
		return
	}
	var asked buffer // what the mux says of other methods
	asked.header = make(http.Header)
	h.ServeHTTP(&asked, r)
	if allow := asked.header.Get("Allow"); asked.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", allow)
		answerProblem(w, problem(http.StatusMethodNotAllowed, "here is "+allow+" only"))
		return
	}
	detail := "there is no such operation"
	if strings.HasPrefix(r.URL.Path, "/api/") {
		detail += " in this version of the broker"
	}
	answerProblem(w, problem(http.StatusNotFound, detail))
}

func (a *API) sayPanic(path string, p any) {
	a.panicked()
	a.log.Error("panic", trouble.Panic, "doing", "administration "+path, "panic", p, "stack", string(debug.Stack()))
}

// A beginning knows whether an answer has begun.
type beginning struct {
	http.ResponseWriter
	begun bool
}

// Unwrap is for http.ResponseController.
func (b *beginning) Unwrap() http.ResponseWriter { return b.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (b *beginning) WriteHeader(status int) {
	b.begun = true
	b.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (b *beginning) Write(p []byte) (int, error) {
	b.begun = true
	return b.ResponseWriter.Write(p)
}

// A buffer has an answer.
type buffer struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func (b *buffer) Header() http.Header         { return b.header }
func (b *buffer) WriteHeader(status int)      { b.status = status }
func (b *buffer) Write(p []byte) (int, error) { return b.body.Write(p) }

// RoundTrip implements http.RoundTripper for Local, where who asks has the files themselves.
func (a *API) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler: //nolint:errorlint // it is this value
			resp, err = nil, errors.New("the answer was cut off")
		default:
			panic(p)
		}
	}()
	b := buffer{status: http.StatusOK, header: make(http.Header)}
	a.ServeHTTP(&b, r.WithContext(as(r.Context(), &Caller{Role: Admin, Name: "local"})))
	return &http.Response{StatusCode: b.status, Header: b.header, Body: io.NopCloser(&b.body), Request: r}, nil
}
