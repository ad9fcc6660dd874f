package admin

import (
	"context"
	"crypto/sha256"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/broker/inspect"
)

// users are Accounts whose passwords are all "right".
type users struct {
	signingIn func() // what happens while a password is checked

	mu  sync.Mutex // guards the following
	all map[string]Account
}

func (u *users) SignIn(_ context.Context, _, password string, _ netip.Addr) error {
	if u.signingIn != nil {
		u.signingIn()
	}
	if password != "right" {
		return &Error{Text: "wrong", Status: http.StatusUnauthorized}
	}
	return nil
}

func (u *users) Account(user string) (a Account, found bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	a, found = u.all[user]
	return a, found
}

func (u *users) set(user string, a Account) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.all[user] = a
}

func (u *users) remove(user string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.all, user)
}

func (u *users) Banned(netip.Addr) bool    { return false }
func (u *users) Failed(netip.Addr, string) {}

// newWeb is an API over the network with a viewer and an admin.
func newWeb(t *testing.T) (*Web, *users) {
	t.Helper()
	u := &users{all: map[string]Account{"viewer": {Viewer, time.Unix(1, 0)}, "admin": {Admin, time.Unix(1, 0)}}}
	return NewWeb(New("1", slog.New(slog.NewTextHandler(io.Discard, nil)), func() {}), u), u
}

// asking is a request of a user, or with a cookie, or of nobody.
func asking(method, path, who, body string) *http.Request {
	r := httptest.NewRequest(method, "http://localhost"+Prefix+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if strings.HasPrefix(who, cookieName(false)+"=") {
		r.Header.Set("Cookie", who)
	} else if who != "" {
		r.SetBasicAuth(who, "right")
	}
	return r
}

func (w *Web) do(r *http.Request) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	w.ServeHTTP(answer, r)
	return answer
}

// enter signs a user in and returns its cookie.
func (w *Web) enter(user string) (cookie string, code int) {
	answer := w.do(asking(http.MethodPost, "/session", "", `{"user":"`+user+`","password":"right"}`))
	cookie, _, _ = strings.Cut(answer.Header().Get("Set-Cookie"), ";")
	return cookie, answer.Code
}

// TestChangedWhileSigningIn: a password that was changed while it was checked lets nobody in.
func TestChangedWhileSigningIn(t *testing.T) {
	w, u := newWeb(t)
	changes := int64(1)
	u.signingIn = func() {
		changes++
		u.set("viewer", Account{Viewer, time.Unix(changes, 0)})
	}
	if cookie, code := w.enter("viewer"); code != http.StatusUnauthorized || cookie != "" {
		t.Errorf("signing in: %d, %q", code, cookie)
	}
	if answer := w.do(asking(http.MethodGet, "/session", "viewer", "")); answer.Code != http.StatusUnauthorized {
		t.Errorf("Basic: %d", answer.Code)
	}
	u.signingIn = nil
	cookie, code := w.enter("viewer")
	if code != http.StatusOK {
		t.Errorf("unchanged: %d", code)
	}
	if answer := w.do(asking(http.MethodGet, "/session", cookie, "")); answer.Code != http.StatusOK {
		t.Errorf("with the cookie: %d, %s", answer.Code, answer.Body)
	}
}

// stream asks for a path until the answer ends, also where it is cut off.
func (w *Web) stream(r *http.Request) <-chan string {
	answer := make(chan string, 1)
	go func() {
		rec := httptest.NewRecorder()
		defer func() {
			_ = recover() // http.ErrAbortHandler
			answer <- rec.Body.String()
		}()
		w.ServeHTTP(rec, r)
	}()
	return answer
}

// TestStreamsEnd: what goes on does so only as long as who reads it may, and the broker runs.
func TestStreamsEnd(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		as   string
		role Role
		end  func(w *Web, u *users, cookie string)
		why  error
	}{
		"deleted":      {"viewer", Viewer, func(_ *Web, u *users, _ string) { u.remove("viewer") }, errNoLonger},
		"changed":      {"cookie", Viewer, func(_ *Web, u *users, _ string) { u.set("viewer", Account{Viewer, time.Unix(2, 0)}) }, errNoLonger},
		"signed out":   {"cookie", Viewer, func(w *Web, _ *users, c string) { w.do(asking(http.MethodDelete, "/session", c, "{}")) }, errNoLonger},
		"no token":     {"token", Viewer, func(w *Web, _ *users, _ string) { w.SetTokens(nil) }, errNoLonger},
		"smaller role": {"admin", Admin, func(_ *Web, u *users, _ string) { u.set("admin", Account{Viewer, time.Unix(1, 0)}) }, errNoLonger},
		"broker stops": {"viewer", Viewer, func(w *Web, _ *users, _ string) { w.api.stop() }, errStopping},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, u := newWeb(t)
			w.SetTokens([]Token{{Role: Viewer, sum: sha256.Sum256([]byte("token")), line: 1}})
			begun := make(chan struct{}, 2)
			addEndless(w.api, test.role, begun)
			cookie, _ := w.enter("viewer")
			ask := func(path string) <-chan string {
				r := asking(http.MethodGet, path, test.as, "")
				switch test.as {
				case "token":
					r.Header.Set("Authorization", "Bearer token")
				case "cookie":
					r = asking(http.MethodGet, path, cookie, "")
				}
				return w.stream(r)
			}
			events, lines := ask("/events?seconds=600"), ask("/lines")
			<-begun
			<-begun
			test.end(w, u, cookie)
			if text := <-events; !strings.Contains(text, `"first"`) || !strings.Contains(text, "event: end\ndata: {\"reason\":\""+test.why.Error()) {
				t.Errorf("events: %s", text)
			}
			if text := <-lines; !strings.HasPrefix(text, `{"word":"line"}`) {
				t.Errorf("lines: %.200s", text)
			}
		})
	}
}

// addEndless adds streams that end only when their context does.
func addEndless(a *API, role Role, begun chan<- struct{}) {
	HandleEvents(a, Operation{Method: http.MethodGet, Path: "/events", Role: role, Summary: "Goes on."},
		func(ctx context.Context, _ *struct{ Lasting }, events chan<- word) error {
			events <- word{Word: "first"}
			begun <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		})
	HandleLines(a, Operation{Method: http.MethodGet, Path: "/lines", Role: role, Summary: "Goes on."},
		func(_ context.Context, _ *struct{}, each func(word) error) error {
			err := each(word{Word: "line"})
			begun <- struct{}{}
			for err == nil {
				time.Sleep(time.Millisecond) // not all memory
				err = each(word{Word: "line"})
			}
			return err
		})
}

// TestNoBytes: a payload may be empty, as the page publishes to delete a retained message.
func TestNoBytes(t *testing.T) {
	w, _ := newWeb(t)
	var got *inspect.Message
	type publishing struct{ Body inspect.Message }
	Handle(w.api, Operation{Method: http.MethodPost, Path: "/publish", Role: Admin, Summary: "Publishes."},
		func(_ context.Context, in *publishing) (*Nothing, error) {
			got = &in.Body
			return new(Nothing), nil
		})
	for payload, want := range map[string]int{`""`: 204, `"eA=="`: 204, `"!"`: 422, `1`: 422} {
		got = nil
		answer := w.do(asking(http.MethodPost, "/publish", "admin", `{"topic":"a","payload":`+payload+`}`))
		if answer.Code != want || (got != nil) != (want == 204) {
			t.Errorf("%s: %d, %s", payload, answer.Code, answer.Body)
		}
	}
	if text, err := w.api.OpenAPI(); err != nil || !strings.Contains(string(text), `"contentEncoding":"base64"`) {
		t.Errorf("the description does not say base64: %v", err)
	}
}

// TestSessionsOfOne: who signs in often ends sessions of its own alone.
func TestSessionsOfOne(t *testing.T) {
	w, _ := newWeb(t)
	admin, _ := w.enter("admin")
	first, _ := w.enter("viewer")
	for range sessionsMax {
		if _, code := w.enter("viewer"); code != http.StatusOK {
			t.Fatal(code)
		}
	}
	for cookie, want := range map[string]int{admin: http.StatusOK, first: http.StatusUnauthorized} {
		if answer := w.do(asking(http.MethodGet, "/session", cookie, "")); answer.Code != want {
			t.Errorf("%d, want %d", answer.Code, want)
		}
	}
	if n := len(w.sessions.all); n != 1+sessionsEach {
		t.Errorf("%d sessions", n)
	}
}

// TestConnectionsOfOneAddress: those of one address leave room for others, and who has not shown
// who it is does not keep one for long.
func TestConnectionsOfOneAddress(t *testing.T) {
	t.Parallel()
	w, _ := newWeb(t)
	ln, err := net.Listen("tcp", "0.0.0.0:0") // for 127.0.0.2 too
	if err != nil {
		t.Fatal(err)
	}
	w.Serve(ln, nil, log.New(io.Discard, "", 0))
	t.Cleanup(func() { _ = w.Close(context.Background()) })
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	ask := func(from string) (net.Conn, error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		_, err = c.Read(make([]byte, 64<<10))
		return c, err
	}
	var idle net.Conn
	for range webConnectionsEach {
		if idle, err = ask("127.0.0.1"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ask("127.0.0.1"); err == nil {
		t.Error("one more is answered")
	}
	if _, err := ask("127.0.0.2"); err != nil {
		t.Errorf("another address: %v", err)
	}
	if _, err := io.Copy(io.Discard, idle); err != nil {
		t.Errorf("an idle one of nobody is not closed: %v", err)
	}
}
