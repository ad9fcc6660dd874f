package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/x0a1b/promptmq/codec"
)

const tokenSecret = "a-secret-of-at-least-32-bytes-for-HS256"

// issued is a token; changes of nil remove a claim.
func issued(t *testing.T, method string, key any, changes jwt.MapClaims) string {
	t.Helper()
	claims := jwt.MapClaims{"sub": "ann", "exp": time.Now().Add(time.Hour).Unix()}
	for name, value := range changes {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	text, err := jwt.NewWithClaims(jwt.GetSigningMethod(method), claims).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func ecKey(t *testing.T) (private crypto.Signer, publicPEM, set string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	b := base64.RawURLEncoding.EncodeToString
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		fmt.Sprintf(`{"keys":[{"kty":"EC","crv":"P-256","kid":"","x":"%s","y":"%s"}]}`, b(point[1:33]), b(point[33:]))
}

// logIn returns how a CONNECT with a password is answered. user "": it has none.
func (s *server) logIn(user, password string) codec.ReasonCode {
	s.t.Helper()
	p, ack := connectRaw(s.t, s.mqtt, codec.Version5, "c"+user, func(c *codec.Connect) {
		c.HasUserName, c.UserName, c.HasPassword, c.Password = user != "", codec.View(user), true, codec.View(password)
	})
	_ = p.Close()
	return ack.Reason
}

// reload takes over a configuration, which must be good.
func (s *server) reload(yaml string) {
	s.t.Helper()
	s.write(yaml)
	if r := s.hangup(); r.text("msg") != "reloaded" {
		s.t.Fatalf("%s: %v", yaml, r)
	}
}

// tokenTests show the effect of each setting of tokens: the answer to a login without it, and
// with it.
var tokenTests = map[string]struct {
	without, with         string
	method                string
	claims                jwt.MapClaims
	user                  string
	wantWithout, wantWith codec.ReasonCode
}{
	"auth.jwt.key-file":       {without: "secret-file: SECRET", with: "key-file: KEY", method: "ES256", wantWithout: codec.BadUserNameOrPassword},
	"auth.jwt.secret-file":    {without: "key-file: KEY", with: "secret-file: SECRET", wantWithout: codec.BadUserNameOrPassword},
	"auth.jwt.jwks-url":       {without: "secret-file: SECRET", with: "jwks-url: KEYS", method: "ES256", wantWithout: codec.BadUserNameOrPassword},
	"auth.jwt.jwks-ca-file":   {without: "jwks-url: TLS", with: "jwks-url: TLS, jwks-ca-file: CA", method: "ES256", wantWithout: codec.ServerUnavailable},
	"auth.jwt.algorithms":     {without: "secret-file: SECRET, key-file: KEY", with: "secret-file: SECRET, key-file: KEY, algorithms: [RS256, ES256]", wantWith: codec.BadUserNameOrPassword},
	"auth.jwt.issuer":         {without: "secret-file: SECRET", with: "secret-file: SECRET, issuer: us", wantWith: codec.BadUserNameOrPassword},
	"auth.jwt.audience":       {without: "secret-file: SECRET", with: "secret-file: SECRET, audience: us", claims: jwt.MapClaims{"aud": "them"}, wantWith: codec.BadUserNameOrPassword},
	"auth.jwt.leeway":         {without: "secret-file: SECRET, leeway: 1h", with: "secret-file: SECRET, leeway: 0s", claims: jwt.MapClaims{"exp": time.Now().Add(-time.Minute).Unix()}, wantWith: codec.BadUserNameOrPassword},
	"auth.jwt.require-expiry": {without: "secret-file: SECRET", with: "secret-file: SECRET, require-expiry: false", claims: jwt.MapClaims{"exp": nil}, wantWithout: codec.BadUserNameOrPassword},
	"auth.jwt.user-claim":     {without: "secret-file: SECRET", with: "secret-file: SECRET, user-claim: name", claims: jwt.MapClaims{"sub": nil, "name": "ann"}, wantWithout: codec.BadUserNameOrPassword},
	"auth.jwt.groups-claim":   {without: "secret-file: SECRET", with: "secret-file: SECRET, groups-claim: roles", claims: jwt.MapClaims{"roles": 7}, wantWith: codec.BadUserNameOrPassword},
	"auth.jwt.rules-claim":    {without: "secret-file: SECRET", with: "secret-file: SECRET, rules-claim: acl", claims: jwt.MapClaims{"acl": "let me in"}, wantWith: codec.BadUserNameOrPassword},
	"auth.jwt.match-user":     {without: "secret-file: SECRET", with: "secret-file: SECRET, match-user: false", user: "bob", wantWithout: codec.BadUserNameOrPassword},
}

func TestTokenSettings(t *testing.T) {
	t.Parallel()
	shows(t, slices.Collect(maps.Keys(tokenTests))...)
	shows(t, "auth.jwt.jwks-refresh")
	s := start(t, "")
	key, public, set := ecKey(t)
	fetched := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, set) })
	plain, secure := httptest.NewServer(fetched), httptest.NewUnstartedServer(fetched)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	s.writeFile("public.pem", public)
	s.writeFile("secret", tokenSecret)
	s.writeFile("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})))
	names := strings.NewReplacer("SECRET", filepath.Join(s.dir, "secret"), "KEYS", plain.URL, "KEY", filepath.Join(s.dir, "public.pem"),
		"TLS", secure.URL, "CA", filepath.Join(s.dir, "ca.pem"))
	for setting, test := range tokenTests {
		token := issued(t, "HS256", []byte(tokenSecret), test.claims)
		if test.method == "ES256" {
			token = issued(t, "ES256", key, test.claims)
		}
		s.reload("auth: {jwt: {" + names.Replace(test.without) + "}}\n")
		if got := s.logIn(test.user, token); got != test.wantWithout {
			t.Errorf("without %s: %v, expected %v", setting, got, test.wantWithout)
		}
		s.reload("auth: {jwt: {" + names.Replace(test.with) + "}}\n")
		if got := s.logIn(test.user, token); got != test.wantWith {
			t.Errorf("with %s: %v, expected %v", setting, got, test.wantWith)
		}
	}
	s.reload("auth: {jwt: {jwks-url: '" + plain.URL + "', jwks-refresh: 1s}}\n")
	before := s.metric(`promptmq_key_set_fetches_total{outcome="ok"}`)
	eventually(t, "the keys are fetched again and again", func() bool {
		return s.metric(`promptmq_key_set_fetches_total{outcome="ok"}`) >= before+2
	})
}

// A webDirectory answers logins over HTTP.
type webDirectory struct {
	*httptest.Server
	mu        sync.Mutex
	answer    string
	status    int
	wait      time.Duration
	asked     int
	now, most int
}

func newWebDirectory(t *testing.T, secure bool) *webDirectory {
	t.Helper()
	d := &webDirectory{answer: `{"allow":true}`, status: 200}
	d.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		d.mu.Lock()
		d.asked++
		d.now++
		d.most = max(d.most, d.now)
		answer, status, wait := d.answer, d.status, d.wait
		d.mu.Unlock()
		time.Sleep(wait)
		d.mu.Lock()
		d.now--
		d.mu.Unlock()
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	d.Config.ErrorLog = log.New(io.Discard, "", 0)
	if secure {
		d.StartTLS()
	} else {
		d.Start()
	}
	t.Cleanup(d.Close)
	return d
}

// says sets the answer, and forgets what was counted.
func (d *webDirectory) says(status int, answer string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status, d.answer, d.asked, d.most = status, answer, 0, 0
}

func (d *webDirectory) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

// callbackTests show the effect of each setting: how often the directory is asked with it, and
// without.
var callbackTests = map[string]struct {
	with         string
	status       int
	answer       string
	logins       string // users, the password is theirs
	without, now int    // how often it is asked
}{
	"auth.http.cache-time":       {"cache-time: 0s", 200, `{"allow":true}`, "aaa", 1, 3},
	"auth.http.cache-deny-time":  {"cache-deny-time: 0s", 200, `{"allow":false}`, "aa", 1, 2},
	"auth.http.cache-size":       {"cache-size: 1", 200, `{"allow":true}`, "aba", 2, 3},
	"auth.http.breaker-failures": {"breaker-failures: 2", 500, `{"allow":true}`, "abcd", 4, 2},
}

func TestCallbackSettings(t *testing.T) {
	t.Parallel()
	shows(t, slices.Collect(maps.Keys(callbackTests))...)
	shows(t, "auth.http.url", "auth.http.ca-file", "auth.http.timeout", "auth.http.max-concurrent", "auth.http.breaker-pause")
	s, d, secure := start(t, ""), newWebDirectory(t, false), newWebDirectory(t, true)
	with := func(d *webDirectory, more string) {
		t.Helper()
		s.reload("{}\n") // what is remembered is forgotten
		s.reload("auth: {http: {url: '" + d.URL + "'" + more + "}}\n")
	}
	expect := func(what, user string, want codec.ReasonCode) {
		t.Helper()
		if got := s.logIn(user, "pw"); got != want {
			t.Errorf("%s: %v, expected %v", what, got, want)
		}
	}
	expect("no auth.http.url", "a", codec.Success) // from this machine, nobody is asked
	for setting, test := range callbackTests {
		for _, more := range []string{"", ", " + test.with} {
			d.says(test.status, test.answer)
			with(d, more)
			want := test.without
			if more != "" {
				want = test.now
			}
			for _, user := range test.logins {
				s.logIn(string(user), "pw")
			}
			if n := d.count(); n != want {
				t.Errorf("%s, %q: asked %d times, not %d", setting, more, n, want)
			}
		}
	}
	d.says(200, `{"allow":false}`)
	with(d, "")
	expect("auth.http.url", "a", codec.BadUserNameOrPassword)

	s.writeFile("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})))
	with(secure, "")
	expect("no auth.http.ca-file", "a", codec.ServerUnavailable)
	with(secure, ", ca-file: '"+filepath.Join(s.dir, "ca.pem")+"'")
	expect("auth.http.ca-file", "a", codec.Success)

	d.says(200, `{"allow":true}`)
	d.wait = 300 * time.Millisecond
	with(d, "")
	expect("the default of auth.http.timeout", "a", codec.Success)
	with(d, ", timeout: 20ms")
	expect("auth.http.timeout", "a", codec.ServerUnavailable)

	eventually(t, "the directory has answered who did not wait for it", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.now == 0
	})
	d.says(200, `{"allow":true}`)
	with(d, ", max-concurrent: 1")
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() { s.logIn(fmt.Sprint(i), "pw") })
	}
	all.Wait()
	if d.most != 1 || d.count() != 4 {
		t.Errorf("auth.http.max-concurrent: %d at a time, asked %d times", d.most, d.count())
	}

	d.says(500, "")
	d.wait = 0
	with(d, ", breaker-failures: 1, breaker-pause: 100ms")
	expect("down", "a", codec.ServerUnavailable)
	if n := s.metric("promptmq_callback_breaker_open"); n != 1 {
		t.Errorf("promptmq_callback_breaker_open is %v", n)
	}
	d.says(200, `{"allow":true}`)
	eventually(t, "it is asked again after auth.http.breaker-pause", func() bool { return s.logIn("a", "pw") == codec.Success })
	if n := s.metric("promptmq_callback_breaker_open"); n != 0 {
		t.Errorf("promptmq_callback_breaker_open is %v", n)
	}
}

// What must not be known is in no log line, metric or answer, whatever becomes of a login.
func TestLoginSecretsStay(t *testing.T) {
	t.Parallel()
	s, d := start(t, "log: {level: trace}"), newWebDirectory(t, false)
	s.writeFile("secret", tokenSecret)
	yaml := "log: {level: trace}\nauth: {jwt: {secret-file: '" + filepath.Join(s.dir, "secret") + "'}, http: {url: '" + d.URL + "/?key=canary-of-url', cache-deny-time: 0s}}\n"
	s.reload(yaml)
	tokens := []string{
		issued(t, "HS256", []byte(tokenSecret), nil), issued(t, "HS256", []byte(tokenSecret), jwt.MapClaims{"exp": 1}),
		issued(t, "HS256", []byte("canary-canary-canary-canary-canary"), nil), issued(t, "HS512", []byte(tokenSecret), nil),
		issued(t, "HS256", []byte(tokenSecret), jwt.MapClaims{"sub": "canary\x00name"}), "eyJjYW5hcnk.eyJjYW5hcnk.c2lnbg",
	}
	for _, token := range tokens {
		s.logIn("ann", token)
		s.logIn("", token)
	}
	for i, answer := range []string{`{"allow":true}`, `{"allow":false}`, `{"ignore":true}`, `canary-of-answer`, `{"allow":true,"rules":["canary-of-answer"]}`} {
		d.says(200, answer)
		s.logIn(fmt.Sprint("user", i), fmt.Sprint("canary-of-password", i))
	}
	d.Close()
	s.logIn("user", "canary-of-password")
	s.writeFile("secret", "canary short")
	s.write(yaml)
	if r := s.hangup(); r.text("msg") != notReloaded {
		t.Errorf("a secret that is too short: %v", r)
	}
	_, scraped := s.get("/metrics")
	s.stop()
	said := scraped
	for _, r := range s.log() {
		said += fmt.Sprintln(r)
	}
	secrets := []string{tokenSecret, "canary"}
	for _, token := range tokens {
		parts := strings.Split(token, ".")
		secrets = append(secrets, parts[1], parts[2])
	}
	for _, secret := range secrets {
		if i := strings.Index(said, secret); i >= 0 {
			t.Errorf("%q is told: %q", secret, said[max(0, i-200):min(len(said), i+100)])
		}
	}
}

// What a token allows holds, and its end is that of the connection.
func TestTokenRulesAndEnd(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	s.writeFile("secret", tokenSecret)
	s.reload("auth: {jwt: {secret-file: '" + filepath.Join(s.dir, "secret") + "', leeway: 0s}}\n")
	connect := func(id string, claims jwt.MapClaims) *raw {
		t.Helper()
		p, ack := connectRaw(t, s.mqtt, codec.Version5, id, func(c *codec.Connect) {
			c.HasPassword, c.Password = true, codec.View(issued(t, "HS256", []byte(tokenSecret), claims))
		})
		if ack.Reason != codec.Success {
			t.Fatalf("%v", ack.Reason)
		}
		return p
	}
	p := connect("rules", jwt.MapClaims{"promptmq_rules": []string{"allow everyone publish topic mine/%u/#"}})
	if reason := p.publish1(1, "mine/ann/a", "x"); reason >= 0x80 {
		t.Errorf("what the token allows: %v", reason)
	}
	if reason := p.publish1(2, "mine/bob/a", "x"); reason != codec.NotAuthorized {
		t.Errorf("what it does not: %v", reason)
	}
	if reason := p.subscribeOne("mine/ann/#", 1); reason != codec.NotAuthorized {
		t.Errorf("a subscription that it does not: %v", reason)
	}
	connect("short", jwt.MapClaims{"exp": time.Now().Add(2 * time.Second).Unix()}).closed(codec.MaximumConnectTime)
	p.quiet()
}
