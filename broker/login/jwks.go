package login

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// keySetTimeout is for one fetch of a key set.
	keySetTimeout = 10 * time.Second
	// keySetPause is the least time from one fetch to the next. Tokens with invented key
	// identifiers do not make more.
	keySetPause = 30 * time.Second
)

var errNoKeySet = errors.New("the key set could not be fetched yet")

// A fetchedKeys is a key set that is fetched from a URL, again and again. While that fails
// the old one stays.
type fetchedKeys struct {
	url     string
	client  *http.Client
	refresh time.Duration
	now     func() time.Time
	report  func(err error) // of each fetch; nil: it is new

	mu      sync.Mutex // guards the following; not held during a fetch
	known   []tokenKey
	tried   time.Time     // when the last fetch began
	pending chan struct{} // closed when the fetch under way has ended; nil: there is none
	err     error         // of the last fetch
}

// run fetches until ctx ends.
func (f *fetchedKeys) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		f.await(ctx, f.begin(true))
		f.mu.Lock()
		next := f.refresh
		if f.err != nil {
			next = min(next, keySetPause)
		}
		f.mu.Unlock()
		timer.Reset(next)
	}
}

// keys returns what there is. If newer is set, something newer than what was returned before is
// asked for, if it may be; it blocks until it is there, or ctx ends.
func (f *fetchedKeys) keys(ctx context.Context, newer bool) ([]tokenKey, error) {
	f.mu.Lock()
	wait := len(f.known) == 0 || newer
	f.mu.Unlock()
	if wait {
		f.await(ctx, f.begin(false))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.known) == 0 {
		return nil, errNoKeySet
	}
	return f.known, nil
}

// begin starts a fetch, unless there is one or, if it is not due, the last is too short ago.
// It returns what is closed at the end of the one under way; nil: there is none.
func (f *fetchedKeys) begin(due bool) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if f.pending == nil && (due || f.tried.IsZero() || now.Sub(f.tried) >= keySetPause) {
		f.pending, f.tried = make(chan struct{}), now
		go f.fetch(f.pending)
	}
	return f.pending
}

func (f *fetchedKeys) await(ctx context.Context, end <-chan struct{}) {
	if end == nil {
		return
	}
	select {
	case <-end:
	case <-ctx.Done():
	}
}

// fetch gets the key set. It is not bound to who asked first: others wait for it too.
func (f *fetchedKeys) fetch(end chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), keySetTimeout)
	defer cancel()
	keys, err := f.get(ctx)
	f.mu.Lock()
	if err == nil {
		f.known = keys
	}
	f.err, f.pending = err, nil
	f.mu.Unlock()
	f.report(err)
	close(end)
}

func (f *fetchedKeys) get(ctx context.Context) (keys []tokenKey, err error) {
	defer func() {
		if p := recover(); p != nil { // of who reads what others have sent
			keys, err = nil, fmt.Errorf("the key set cannot be read: a panic of the library (%T)", p)
		}
	}()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	answer, err := f.client.Do(request)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer has the status %d", answer.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, keysBytesMax+1))
	if err != nil {
		return nil, err
	}
	if len(text) > keysBytesMax {
		return nil, fmt.Errorf("the answer is larger than %d bytes", keysBytesMax)
	}
	return parseKeySet(text)
}
