package admin

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

const (
	// sessionsMax is how many are signed in at a time; one more takes the place of the one that
	// was idle for longest.
	sessionsMax = 256
	// sessionsEach is how many of them one user has, or one token, in the same way.
	sessionsEach = 16
	// idleMax and ageMax end a session.
	idleMax = 30 * time.Minute
	ageMax  = 12 * time.Hour
)

// An Account is a user as the broker knows it now.
type Account struct {
	Role    Role
	Changed time.Time
}

// Accounts know users, and keep those away who fail too often. Their methods may be called by
// any goroutine.
type Accounts interface {
	// SignIn checks a password. Its error is an *Error.
	SignIn(ctx context.Context, user, password string, from netip.Addr) error
	// Account returns a user that has a role and is not disabled.
	Account(user string) (a Account, found bool)
	// Banned reports whether an address is kept away.
	Banned(from netip.Addr) bool
	// Failed counts a wrong token.
	Failed(from netip.Addr, token string)
}

// A session is somebody who has signed in on the page.
type session struct {
	user    string // "": by a token
	changed time.Time
	token   [sha256.Size]byte
	began   time.Time
	used    time.Time
}

// sessions are those who are signed in, by the hash of what their cookie has.
type sessions struct {
	now func() time.Time

	mu  sync.Mutex // guards the following
	all map[[sha256.Size]byte]*session
}

// begin returns what the cookie is to have.
func (s *sessions) begin(n *session) (secret string) {
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	secret = base64.RawURLEncoding.EncodeToString(random)
	s.mu.Lock()
	defer s.mu.Unlock()
	n.began = s.now()
	n.used = n.began
	s.makeRoom(sessionsEach, n.sameAs)
	s.makeRoom(sessionsMax, func(*session) bool { return true })
	s.all[sha256.Sum256([]byte(secret))] = n
	return secret
}

// sameAs reports whether two sessions are of one user, or by one token.
func (n *session) sameAs(other *session) bool { return n.user == other.user && n.token == other.token }

// makeRoom ends the session that was idle for longest, of those that are of a kind, if there are
// as many as may be. s.mu is held.
func (s *sessions) makeRoom(most int, kind func(*session) bool) {
	var idlest [sha256.Size]byte
	var since time.Time
	count := 0
	for key, other := range s.all {
		if !kind(other) {
			continue
		}
		if count++; count == 1 || other.used.Before(since) {
			idlest, since = key, other.used
		}
	}
	if count >= most {
		delete(s.all, idlest)
	}
}

// find returns a copy of the session of a cookie, unless it has ended.
func (s *sessions) find(secret string) (found session, ok bool) {
	key, now := sha256.Sum256([]byte(secret)), s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.all[key]
	switch {
	case n == nil:
		return found, false
	case n.over(now):
		delete(s.all, key)
		return found, false
	}
	n.used = now
	return *n, true
}

// has reports whether the session of a cookie goes on, which that does not prolong.
func (s *sessions) has(secret string) bool {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.all[sha256.Sum256([]byte(secret))]
	return n != nil && !n.over(now)
}

func (n *session) over(now time.Time) bool {
	return now.Sub(n.began) > ageMax || now.Sub(n.used) > idleMax
}

func (s *sessions) end(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, sha256.Sum256([]byte(secret)))
}

// Credentials are what somebody signs in with.
type Credentials struct {
	User     string `json:"user,omitempty" maxLength:"1024"`
	Password string `json:"password,omitempty" maxLength:"65535"`
	Token    string `json:"token,omitempty" maxLength:"1024" doc:"Or a token."`
}

// Self is who somebody is.
type Self struct {
	User string `json:"user" doc:"Or by what else somebody came."`
	Role Role   `json:"role" enum:"viewer,admin"`
}

type signedIn struct {
	Cookie http.Cookie `header:"Set-Cookie"`
	Body   Self
}

// addSignIn adds what the page signs in and out with.
func (w *Web) addSignIn() {
	type entering struct{ Body Credentials }
	signIn := Operation{Method: http.MethodPost, Path: "/session", Role: Nobody, Group: "session", BodyBytesMax: 128 << 10,
		Summary: "Sign in: the answer sets a cookie for the page.", Refused: []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests}}
	handleRaw(w.api, signIn, func(ctx context.Context, in *entering) (*signedIn, error) { return w.signIn(ctx, &in.Body) })
	Handle(w.api, Operation{Method: http.MethodGet, Path: "/session", Role: Viewer, Group: "session", Summary: "Who asks, and what that may do."},
		func(ctx context.Context, _ *Nothing) (*Self, error) {
			who := callerOf(ctx)
			return &Self{who.Name, who.Role}, nil
		})
	type left struct {
		Cookie http.Cookie `header:"Set-Cookie"`
	}
	handleRaw(w.api, Operation{Method: http.MethodDelete, Path: "/session", Role: Nobody, Group: "session", Summary: "Sign out."},
		func(ctx context.Context, _ *Nothing) (*left, error) {
			if who := callerOf(ctx); who.cookie != "" {
				w.sessions.end(who.cookie)
			}
			c := w.cookie(callerOf(ctx), "")
			c.MaxAge = -1
			return &left{c}, nil
		})
}

func (w *Web) signIn(ctx context.Context, in *Credentials) (*signedIn, error) {
	who := callerOf(ctx)
	n, self := &session{}, Self{}
	if in.Token != "" {
		t, err := w.byToken(who.address, in.Token)
		if err != nil {
			return nil, err
		}
		n.token, self = t.sum, Self{t.name(), t.Role}
	} else {
		a, err := w.byPassword(ctx, who.address, in.User, in.Password)
		if err != nil {
			return nil, err
		}
		n.user, n.changed, self = in.User, a.Changed, Self{in.User, a.Role}
	}
	if who.cookie != "" {
		w.sessions.end(who.cookie)
	}
	w.api.log.Info("signed in", "by", self.User, "role", self.Role, "address", who.Address)
	return &signedIn{w.cookie(who, w.sessions.begin(n)), self}, nil
}

// cookie is for the page alone: no script reads it, and no other page has it sent.
func (w *Web) cookie(who *Caller, secret string) http.Cookie {
	return http.Cookie{
		Name: cookieName(who.secure), Value: secret, Path: "/", HttpOnly: true, Secure: who.secure, SameSite: http.SameSiteStrictMode, MaxAge: int(ageMax.Seconds()),
	}
}

// cookieName is, over TLS, one that nothing but this host can have set.
func cookieName(secure bool) string {
	if secure {
		return "__Host-promptmq"
	}
	return "promptmq"
}
