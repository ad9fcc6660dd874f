package admin

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// webConnectionsMax is the most connections over the network at a time.
	webConnectionsMax = 256
	// webConnectionsEach is the most of them from one address.
	webConnectionsEach = 32
	webHeaderBytesMax  = 16 << 10
	webIdleWithin      = 2 * time.Minute
)

// A Web is the API over the network, where who asks has to show who it is.
type Web struct {
	api      *API
	accounts Accounts
	sessions sessions
	tokens   atomic.Pointer[[]Token]

	http     http.Server
	listener net.Listener
	served   chan struct{}
}

// NewWeb prepares to serve an API over the network, and adds to it what signs in.
func NewWeb(a *API, accounts Accounts) *Web {
	w := &Web{api: a, accounts: accounts, sessions: sessions{now: time.Now, all: make(map[[32]byte]*session)}, served: make(chan struct{})}
	w.SetTokens(nil)
	w.addSignIn()
	return w
}

// SetTokens replaces the tokens; sessions of those that are gone have ended. It owns tokens.
func (w *Web) SetTokens(tokens []Token) { w.tokens.Store(&tokens) }

// Serve answers on a listener, over TLS if conf is not nil, until Close. What goes wrong with a
// connection is written to errs.
func (w *Web) Serve(ln net.Listener, conf *tls.Config, errs *log.Logger) {
	w.listener = &listener{Listener: ln, remove: func() {}, admits: func(net.Conn) bool { return true }, slots: slots{max: webConnectionsMax, each: webConnectionsEach}}
	w.http = http.Server{
		Handler: w, ConnContext: withConn, ErrorLog: errs, MaxHeaderBytes: webHeaderBytesMax, TLSConfig: conf,
		ReadHeaderTimeout: requestWithin, ReadTimeout: requestWithin, WriteTimeout: commandWithin + 2*requestWithin, IdleTimeout: webIdleWithin,
	}
	w.http.RegisterOnShutdown(w.api.stop)
	go func() {
		defer close(w.served)
		if conf != nil {
			_ = w.http.ServeTLS(w.listener, "", "") // ends with Close
			return
		}
		_ = w.http.Serve(w.listener) // ends with Close
	}()
}

// Close takes no more requests and waits for those under way until ctx ends.
func (w *Web) Close(ctx context.Context) error {
	err := w.http.Shutdown(ctx)
	if err != nil {
		_ = w.http.Close() // the connections that are left
	}
	<-w.served
	return err
}

// ServeHTTP implements http.Handler.
func (w *Web) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	h := rw.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if r.TLS != nil {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
	if p := w.foreign(r); p != nil {
		answerProblem(rw, p)
		return
	}
	who, p := w.identify(r)
	if p != nil {
		if p.Status == http.StatusUnauthorized {
			h.Set("Www-Authenticate", challenge)
		}
		answerProblem(rw, p)
		return
	}
	if c, ok := r.Context().Value(connKey{}).(*conn); ok && who.Role != Nobody {
		c.known.Store(true)
	}
	w.api.ServeHTTP(rw, r.WithContext(as(r.Context(), who)))
}

// foreign says why a request may come from a page of somebody else, or nil.
func (w *Web) foreign(r *http.Request) *Problem {
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		return problem(http.StatusForbidden, "a page of another origin changes nothing here")
	}
	if r.TLS == nil && !isThisMachine(r.Host) {
		return problem(http.StatusMisdirectedRequest, "without TLS this is for this machine alone, as localhost or by its address: a name that leads here may be anybody's")
	}
	return nil
}

// isThisMachine reports whether a Host says localhost, or an address: that no other page's name
// was made to lead here (DNS rebinding).
func isThisMachine(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// identify says who asks: who shows nothing is nobody, who shows something wrong is refused.
func (w *Web) identify(r *http.Request) (*Caller, *Problem) {
	who := &Caller{Role: Nobody, Name: "nobody", secure: r.TLS != nil}
	if from, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		who.address = from.Addr().Unmap()
		who.Address = who.address.String()
	}
	if w.accounts.Banned(who.address) {
		return nil, problem(http.StatusTooManyRequests, "too many logins failed from this address: it is kept away for a while")
	}
	shown := r.Header.Get("Authorization")
	if shown == "" {
		w.bySession(r, who)
		return who, nil
	}
	if token, ok := strings.CutPrefix(shown, "Bearer "); ok {
		t, err := w.byToken(who.address, token)
		if err != nil {
			return nil, problemOf(err, nil)
		}
		w.know(who, &session{token: t.sum})
		return who, nil
	}
	user, password, ok := r.BasicAuth()
	if !ok {
		return nil, problem(http.StatusUnauthorized, "Authorization is a token (Bearer), or a user with its password (Basic)")
	}
	a, err := w.byPassword(r.Context(), who.address, user, password)
	if err != nil {
		return nil, problemOf(err, nil)
	}
	w.know(who, &session{user: user, changed: a.Changed})
	return who, nil
}

// know says who asks, now and for as long as it goes on.
func (w *Web) know(who *Caller, s *session) {
	who.Role, who.Name = w.roleOf(s)
	who.now = func() Role {
		role, _ := w.roleOf(s)
		return role
	}
}

// roleOf returns the role and the name of who was let in, as they are by now: Nobody when the
// token is gone, or the user, or it was changed.
func (w *Web) roleOf(s *session) (role Role, name string) {
	if s.user == "" {
		for _, t := range *w.tokens.Load() {
			if t.sum == s.token { // both are hashes, of which nobody guesses
				return t.Role, t.name()
			}
		}
	} else if a, found := w.accounts.Account(s.user); found && a.Changed.Equal(s.changed) {
		return a.Role, s.user
	}
	return Nobody, "nobody"
}

// bySession says who is signed in. A cookie of a session that has ended is none.
func (w *Web) bySession(r *http.Request, who *Caller) {
	c, err := r.Cookie(cookieName(who.secure))
	if err != nil {
		return
	}
	s, ok := w.sessions.find(c.Value)
	if !ok {
		return
	}
	w.know(who, &s)
	if who.Role == Nobody {
		w.sessions.end(c.Value)
		return
	}
	who.cookie = c.Value
	known := who.now
	who.now = func() Role {
		if !w.sessions.has(c.Value) {
			return Nobody
		}
		return known()
	}
}

// byToken returns the token that is shown. A wrong one counts as a failed login.
func (w *Web) byToken(from netip.Addr, shown string) (*Token, error) {
	if t := find(*w.tokens.Load(), shown); t != nil {
		return t, nil
	}
	w.accounts.Failed(from, shown)
	return nil, &Error{Text: "there is no such token", Status: http.StatusUnauthorized}
}

// byPassword returns the user that is shown. One that was changed while its password was checked
// is refused: the password may be the old one.
func (w *Web) byPassword(ctx context.Context, from netip.Addr, user, password string) (Account, error) {
	before, _ := w.accounts.Account(user)
	if err := w.accounts.SignIn(ctx, user, password, from); err != nil {
		return Account{}, err
	}
	a, found := w.accounts.Account(user)
	if !found {
		return a, &Error{Text: "this user has no role: `promptmq user role NAME viewer` gives it one", Status: http.StatusForbidden}
	}
	if !a.Changed.Equal(before.Changed) {
		return a, &Error{Text: "the user was changed meanwhile: sign in again", Status: http.StatusUnauthorized}
	}
	return a, nil
}

func (t *Token) name() string { return fmt.Sprintf("token of line %d", t.line) }
