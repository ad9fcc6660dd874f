package admin

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
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
