package admin

import (
	"context"
	"net/http"
	"reflect"
	"sort"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/x0a1b/promptmq/broker/inspect"
)

// Prefix is where the API is; a number is its version.
const Prefix = "/api/v1"

const (
	// bodyBytesMax bounds a request, commandWithin how long a command may take. What has
	// begun to be stored by then is stored.
	bodyBytesMax  = 1 << 20
	commandWithin = 30 * time.Second
)

// An Operation is one thing that can be asked for.
type Operation struct {
	Method string
	Path   string // below Prefix, with names of parts in braces
	Role   Role   // that it needs
	// Group is what stands together in the documentation.
	Group string
	// Summary is a sentence, Description more of them.
	Summary, Description string
	// BodyBytesMax bounds the request; 0: 1 MiB.
	BodyBytesMax int64
	// Refused are the statuses that it may answer beside 401, 403, 422 and 500.
	Refused []int
}

// List is the part of the input of operations that list something.
type List struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Most rows of the answer."`
	Cursor string `query:"cursor" maxLength:"70000" doc:"What next said in the part before; none: from the beginning."`
}

// Window returns which part is asked for.
func (l *List) Window() inspect.Window { return inspect.Window{Cursor: l.Cursor, Limit: l.Limit} }

// Nothing is the input or the answer of operations that have none.
type Nothing struct{}

// answer is what huma calls an output.
type answer[T any] struct{ Body *T }

// Handle adds an operation. An error of f that Refuse made is answered with 422, an
// inspect.Invalid too, an inspect.Refused with 409, inspect.ErrNotFound with 404, the end of the
// time with 503, any other with 500.
func Handle[In, Out any](a *API, op Operation, f func(context.Context, *In) (*Out, error)) {
	if _, none := any((*Out)(nil)).(*Nothing); none {
		handleRaw(a, op, f)
		return
	}
	handleRaw(a, op, func(ctx context.Context, in *In) (*answer[Out], error) {
		out, err := f(ctx, in)
		return &answer[Out]{out}, err
	})
}

// handleRaw is Handle for an output in the words of huma.
func handleRaw[In, Out any](a *API, op Operation, f func(context.Context, *In) (*Out, error)) {
	huma.Register(a.huma, a.describe(&op), func(ctx context.Context, in *In) (*Out, error) {
		wholeRequest(ctx)
		ctx, cancel := context.WithTimeout(ctx, commandWithin)
		defer cancel()
		out, err := f(ctx, in)
		if err != nil {
			err = problemOf(err, locator[In]())
		}
		a.note(ctx, &op, err)
		return out, err
	})
	a.allowNoBytes()
}

// allowNoBytes lets text in base64 be empty, which huma takes for no base64. The schemas say what
// it is as before.
func (a *API) allowNoBytes() {
	for _, schema := range a.huma.OpenAPI().Components.Schemas.Map() {
		for _, p := range schema.Properties {
			if p.ContentEncoding == "base64" {
				p.ContentEncoding, p.Extensions = "", map[string]any{"contentEncoding": "base64"}
			}
		}
	}
}

type writerKey struct{}

// wholeRequest says that the request has come: its time to do so, over which net/http would
// end the context, is over.
func wholeRequest(ctx context.Context) {
	if w, ok := ctx.Value(writerKey{}).(http.ResponseWriter); ok {
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // a buffer has none
	}
}

// locator says where a field of an input stands, as in query.limit: what is no parameter is in
// the body.
func locator[In any]() func(field string) string {
	return func(field string) string {
		for _, f := range reflect.VisibleFields(reflect.TypeFor[In]()) {
			for _, place := range []string{"path", "query"} {
				if name, _, _ := strings.Cut(f.Tag.Get(place), ","); name == field {
					return place + "." + field
				}
			}
		}
		return "body." + field
	}
}

// note logs what was changed, or was to be, and who asked for it.
func (a *API) note(ctx context.Context, op *Operation, err error) {
	if op.Method == http.MethodGet {
		return
	}
	who := callerOf(ctx)
	attrs := []any{"operation", op.Method + " " + op.Path, "by", who.Name}
	if who.Address != "" {
		attrs = append(attrs, "address", who.Address)
	}
	if err != nil {
		attrs = append(attrs, "error", err)
	}
	a.log.Info("administration", attrs...)
}

// describe is an operation in the words of huma. It panics if no role is said.
func (a *API) describe(op *Operation) huma.Operation {
	if op.Role != Nobody && op.Role != Viewer && op.Role != Admin {
		panic("an operation without a role: " + op.Path)
	}
	h := huma.Operation{
		Method: op.Method, Path: Prefix + op.Path, OperationID: idOf(op), Summary: op.Summary, Description: op.Description,
		Tags: []string{op.Group}, MaxBodyBytes: op.BodyBytesMax, BodyReadTimeout: requestWithin, Errors: op.Refused,
		Extensions:  map[string]any{"x-role": string(op.Role)},
		Middlewares: huma.Middlewares{func(ctx huma.Context, next func(huma.Context)) { a.authorise(op, ctx, next) }},
	}
	if op.Role != Nobody {
		h.Errors = append(h.Errors, http.StatusUnauthorized, http.StatusForbidden)
		h.Security = []map[string][]string{{"token": {}}, {"user": {}}, {"session": {}}}
	}
	if op.Method != http.MethodGet {
		h.Errors = append(h.Errors, http.StatusUnsupportedMediaType)
	}
	return h
}

// challenge is not Basic, for which browsers ask by themselves.
const challenge = `Bearer realm="promptmq"`

// authorise goes on to an operation if who asks has the role for it.
func (a *API) authorise(op *Operation, ctx huma.Context, next func(huma.Context)) {
	who := callerOf(ctx.Context())
	if who.Role.may(op.Role) {
		next(ctx)
		return
	}
	status, detail := http.StatusForbidden, "this needs the role "+string(op.Role)+", and yours is "+string(who.Role)
	if who.Role == Nobody {
		status, detail = http.StatusUnauthorized, "this needs a token, or a user with a role"
		ctx.SetHeader("Www-Authenticate", challenge)
	}
	_ = huma.WriteErr(a.huma, ctx, status, detail) // who asked has gone
}

// idOf names an operation for programs: get-clients-id-queue.
func idOf(op *Operation) string {
	words := strings.FieldsFunc(op.Path, func(r rune) bool { return strings.ContainsRune("/{}._", r) })
	return strings.ToLower(op.Method) + "-" + strings.Join(words, "-")
}

// Cut returns the part of a list that a window asks for. key is what the list is sorted by.
func Cut[T any](all []T, w inspect.Window, key func(*T) string) inspect.Page[T] {
	from := sort.Search(len(all), func(i int) bool { return w.Cursor == "" || key(&all[i]) > w.Cursor })
	p := inspect.Page[T]{Items: []T{}, Total: len(all)}
	p.Items = append(p.Items, all[from:min(len(all), from+w.Limit)]...)
	if n := from + len(p.Items); n < len(all) && len(p.Items) > 0 {
		p.Next = key(&all[n-1])
	}
	return p
}

// schemaName is huma's, but for what tells types of two packages apart.
func schemaName(t reflect.Type, hint string) string {
	if hint == "" || t.Name() != "" {
		return huma.DefaultSchemaNamer(t, "")
	}
	return huma.DefaultSchemaNamer(t, strings.ReplaceAll(hint, "-", ""))
}
