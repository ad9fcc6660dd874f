package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/x0a1b/promptmq/broker/inspect"
)

// answerWithin is how long a caller waits for the broker.
const answerWithin = commandWithin + 10*time.Second

// answerBytesMax is more than any answer has.
const answerBytesMax = 256 << 20

// ErrNobody says that nobody listens on the socket of a data directory: no broker runs there,
// or it has no socket.
var ErrNobody = errors.New("no broker listens there")

// A Client asks for operations.
type Client struct {
	http http.Client
	base string // of URLs, up to Prefix
	// elsewhere: the broker is at a URL that somebody has said.
	elsewhere bool
	// token is shown to a broker elsewhere; "": none.
	token string
}

// Dial connects to the broker that runs on a data directory, or returns an ErrNobody.
func Dial(ctx context.Context, dir string) (*Client, error) {
	dial := func(ctx context.Context) (net.Conn, error) {
		path, done, err := reachable(dir, socketName)
		if err != nil {
			return nil, err
		}
		defer done()
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	first, err := dial(ctx)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w: %w", ErrNobody, err)
	case err != nil:
		return nil, err
	}
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		if c := first; c != nil {
			first = nil
			return c, nil
		}
		return dial(ctx)
	}, DisableKeepAlives: true, DisableCompression: true}
	return &Client{http: http.Client{Transport: t}, base: "http://promptmq"}, nil
}

// Local calls the operations in this process.
func Local(a *API) *Client { return &Client{http: http.Client{Transport: a}, base: "http://promptmq"} }

// Path joins the parts of a path, each of which may have any characters.
func Path(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteByte('/')
		switch p {
		case ".", "..": // which on the way would be taken for steps
			b.WriteString(strings.ReplaceAll(p, ".", "%2E"))
		default:
			b.WriteString(url.PathEscape(p))
		}
	}
	return b.String()
}

// Call asks for an operation. path is below Prefix, with its query; in is the body, nil: there
// is none. A refusal, or a failure, is an *Error.
func Call[Out any](ctx context.Context, c *Client, method, path string, in any) (*Out, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	resp, err := c.do(ctx, method, path, in)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	text, err := io.ReadAll(io.LimitReader(resp.Body, answerBytesMax))
	if err != nil {
		return nil, fmt.Errorf("the broker gave half an answer: %w", err)
	}
	out := new(Out)
	if len(text) == 0 {
		return out, nil
	}
	return out, json.Unmarshal(text, out)
}

// All returns the rows of all parts of a list. path may have a query, without limit and cursor.
func All[T any](ctx context.Context, c *Client, path string) ([]T, error) {
	mark := "?"
	if strings.Contains(path, "?") {
		mark = "&"
	}
	all := []T{}
	for cursor := ""; ; {
		q := url.Values{"limit": {"1000"}}
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		p, err := Call[inspect.Page[T]](ctx, c, http.MethodGet, path+mark+q.Encode(), nil)
		if err != nil {
			return nil, err
		}
		if all = append(all, p.Items...); p.Next == "" {
			return all, nil
		}
		cursor = p.Next
	}
}

// do asks, and returns an answer whose status says that it was done.
func (c *Client) do(ctx context.Context, method, path string, in any) (*http.Response, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	if in == nil {
		body = nil
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+Prefix+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		err = c.unanswered(err)
		if method == http.MethodGet {
			return nil, fmt.Errorf("the broker gave no answer: %w", err)
		}
		return nil, fmt.Errorf("the broker gave no answer, so that it may have been done or not: %w", err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	return nil, c.errorOf(resp)
}

// errorOf reads problem details.
func (c *Client) errorOf(resp *http.Response) error {
	failed := &Error{Status: resp.StatusCode, Text: "the broker answered " + resp.Status}
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity:
		failed.Asked = true
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, bodyBytesMax))
	p := new(Problem)
	if err != nil || json.Unmarshal(text, p) != nil || p.Detail == "" {
		return c.refused(failed, text)
	}
	failed.Text = p.Error()
	if len(p.Errors) > 0 {
		failed.Field = p.Errors[0].Location
	}
	return c.refused(failed, text)
}
