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
	"syscall"
	"time"
)

// answerWithin is how long a client waits: longer than a command may take.
const answerWithin = commandWithin + 10*time.Second

// answerBytesMax bounds what a client reads.
const answerBytesMax = 256 << 20

// ErrNobody says that no broker listens in a data directory.
var ErrNobody = errors.New("no broker listens there")

// A Client sends commands.
type Client struct{ http http.Client }

// Dial returns a Client of the broker that runs in a data directory. Its error is ErrNobody
// if none listens there.
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
	return &Client{http.Client{Transport: t, Timeout: answerWithin}}, nil
}

// Local returns a Client that calls the commands itself.
func Local(c *Commands) *Client { return &Client{http.Client{Transport: c}} }

// Call asks for a command and returns its answer. If the command was not done its error is
// an *Error; any other leaves open whether it was.
func Call[Out any](ctx context.Context, c *Client, path string, in any) (*Out, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://promptmq"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("the broker gave no answer, so that it may have been done or not: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	text, err := io.ReadAll(io.LimitReader(resp.Body, answerBytesMax))
	if err != nil {
		return nil, fmt.Errorf("the broker gave half an answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		failed := &Error{Asked: resp.StatusCode == http.StatusUnprocessableEntity}
		if json.Unmarshal(text, failed) != nil || failed.Text == "" {
			failed.Text = "the broker answered " + resp.Status
		}
		return nil, failed
	}
	out := new(Out)
	return out, json.Unmarshal(text, out)
}
