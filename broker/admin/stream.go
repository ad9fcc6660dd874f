package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

const (
	// streamsMax is the most streams at a time.
	streamsMax = 16
	// streamBytesMax is the most that one stream has, exportWithin how long a list may take.
	streamBytesMax = 64 << 20
	exportWithin   = 10 * time.Minute
	// writeWithin is how long a reader may take nothing.
	writeWithin = 10 * time.Second
	// beatEvery is after which silence a stream of events shows that it is there.
	beatEvery = 15 * time.Second
	// lookEvery is how often it is asked whether who reads still may.
	lookEvery = time.Second
	// openAfter is how long an operation has to find a fault before the answer begins.
	openAfter = 50 * time.Millisecond
)

// Causes for which a stream ends.
var (
	errTooLarge = errors.New("the stream has as many bytes as it may have")
	errNoLonger = errors.New("who reads has no longer the role for it: signed out, changed or removed")
	errStopping = errors.New("the broker stops")
)

// Lasting is the part of the input of a stream of events that says for how long.
type Lasting struct {
	Seconds int `query:"seconds" minimum:"1" maximum:"600" default:"60" doc:"After which it ends."`
}

func (l *Lasting) lasts() time.Duration { return time.Duration(l.Seconds) * time.Second }

// A stream is an answer in parts.
type stream struct {
	w    http.ResponseWriter
	kind string
	open bool
	left int
}

// write sends a part at once.
func (s *stream) write(part []byte) error {
	c := http.NewResponseController(s.w)
	_ = c.SetWriteDeadline(time.Now().Add(writeWithin)) // a buffer has none
	if !s.open {
		s.open = true
		s.w.Header().Set("Content-Type", s.kind)
		s.w.Header().Set("Cache-Control", "no-store")
		s.w.Header().Set("X-Accel-Buffering", "no") // a proxy that gathers would show nothing
		s.w.WriteHeader(http.StatusOK)
	}
	if s.left -= len(part); s.left < 0 {
		return errTooLarge
	}
	if _, err := s.w.Write(part); err != nil {
		return err
	}
	if err := c.Flush(); !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// watch ends the context that it returns when who reads may no longer, or the broker stops.
func (a *API) watch(ctx context.Context, needs Role) (watched context.Context, done func()) {
	watched, cancel := context.WithCancelCause(ctx)
	who := callerOf(ctx)
	go func() {
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if !who.still(needs) {
					cancel(errNoLonger)
				}
			case <-a.stopping:
				cancel(errStopping)
			case <-watched.Done():
				return
			}
		}
	}()
	return watched, func() { cancel(nil) }
}

// cutOff returns why watch ended a context, or nil.
func cutOff(ctx context.Context) error {
	if cause := context.Cause(ctx); errors.Is(cause, errNoLonger) || errors.Is(cause, errStopping) {
		return cause
	}
	return nil
}

// event sends a server-sent event; without a name it is a message.
func (s *stream) event(name string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if name != "" {
		name = "event: " + name + "\n"
	}
	return s.write(fmt.Appendf(nil, "%sdata: %s\n\n", name, text))
}

// handleStream adds an operation that answers with what f writes. An error of f before that is
// answered as that of any other operation.
func handleStream[In any](a *API, op Operation, kind string, row reflect.Type, f func(context.Context, *In, *stream) error) {
	h := a.describe(&op)
	h.Responses = map[string]*huma.Response{"200": {
		Description: "OK", Content: map[string]*huma.MediaType{kind: {Schema: a.huma.OpenAPI().Components.Schemas.Schema(row, true, "")}},
	}}
	h.Errors = append(h.Errors, http.StatusServiceUnavailable)
	huma.Register(a.huma, h, func(ctx context.Context, in *In) (*huma.StreamResponse, error) {
		select {
		case a.streams <- struct{}{}:
		default:
			return nil, problem(http.StatusServiceUnavailable, fmt.Sprintf("there are %d streams already, which is the most", streamsMax))
		}
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			defer func() { <-a.streams }()
			_, w := humago.Unwrap(hc)
			wholeRequest(ctx)
			ctx, done := a.watch(ctx, op.Role)
			defer done()
			s := &stream{w: w, kind: kind, left: streamBytesMax}
			if err := f(ctx, in, s); err != nil && !s.open {
				answerProblem(w, problemOf(err, locator[In]()))
			} else if err != nil {
				panic(http.ErrAbortHandler) // who reads must not take it for the whole
			}
		}}, nil
	})
}

// HandleLines adds an operation that answers with lines of JSON. What each returns ends it.
func HandleLines[In, Row any](a *API, op Operation, f func(ctx context.Context, in *In, each func(Row) error) error) {
	handleStream(a, op, "application/x-ndjson", reflect.TypeFor[Row](), func(ctx context.Context, in *In, s *stream) error {
		ctx, cancel := context.WithTimeout(ctx, exportWithin)
		defer cancel()
		s.left = math.MaxInt // it is as large as what is exported
		err := f(ctx, in, func(r Row) error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			text, err := json.Marshal(r)
			if err != nil {
				return err
			}
			return s.write(append(text, '\n'))
		})
		if err != nil {
			return err
		}
		return s.write(nil)
	})
}

// End is the last event of a stream, with the name end.
type End struct {
	Reason string `json:"reason"`
}

// HandleEvents adds an operation that answers with server-sent events, until its time is over or
// f returns. In has Lasting. f stops when its context ends; it must not close events.
func HandleEvents[In any, Event any, P interface {
	*In
	lasts() time.Duration
}](a *API, op Operation, f func(ctx context.Context, in *In, events chan<- Event) error) {
	handleStream(a, op, "text/event-stream", reflect.TypeFor[Event](), func(ctx context.Context, in *In, s *stream) error {
		ctx, cancel := context.WithTimeout(ctx, P(in).lasts())
		defer cancel()
		events, ended := make(chan Event, 256), make(chan error, 1)
		go func() {
			defer func() {
				if p := recover(); p != nil {
					a.sayPanic(op.Path, p)
					ended <- errors.New("it failed; the log of the broker says more")
				}
			}()
			ended <- f(ctx, in, events)
		}()
		err := relay(ctx, s, events, ended)
		cancel()
		return err
	})
}

// relay writes events until there are no more.
func relay[Event any](ctx context.Context, s *stream, events <-chan Event, ended <-chan error) error {
	beat := time.NewTimer(openAfter)
	defer beat.Stop()
	for {
		if cause := cutOff(ctx); cause != nil {
			return s.event("end", End{cause.Error()})
		}
		var err error
		select {
		case e := <-events:
			err = s.event("", e)
		case <-beat.C:
			err = s.write([]byte(": it goes on\n\n"))
			beat.Reset(beatEvery)
		case err = <-ended:
			if err != nil && ctx.Err() == nil {
				return err
			}
			if cutOff(ctx) != nil {
				continue // which ends it
			}
			for len(events) > 0 && err == nil {
				err = s.event("", <-events)
			}
			return s.event("end", End{"its time is over, or there is no more"})
		}
		if errors.Is(err, errTooLarge) {
			s.left = 1 << 10
			return s.event("end", End{err.Error()})
		}
		if err != nil {
			return err
		}
	}
}
