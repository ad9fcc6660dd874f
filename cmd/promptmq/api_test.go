package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// Canaries: no answer and no log line has one of them.
const (
	canaryPassword = "canary-password-1"
	canaryViewer   = "canary-token-of-a-viewer"
	canaryAdmin    = "canary-token-of-an-admin"
)

// An apiServer is a broker whose API is on TCP, with a user of each kind.
type apiServer struct {
	*server
	base string
	http *http.Client
}

func startAPI(t *testing.T, yaml string, client *http.Client) *apiServer {
	t.Helper()
	tokens := filepath.Join(t.TempDir(), "tokens")
	sum := sha256.Sum256([]byte(canaryAdmin))
	text := fmt.Sprintf("# who may what\nviewer:%s\n\nadmin:sha256:%x\n", canaryViewer, sum)
	if err := os.WriteFile(tokens, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, "auth: {allow-anonymous: true}\nadmin: {bind: '127.0.0.1:0', tokens-file: "+tokens+yaml+"}\n")
	c := commander{t, s.dataDir()}
	for user, role := range map[string]string{"admin": "admin", "viewer": "viewer", "off": "admin", "plain": "none"} {
		c.okWith(canaryPassword, "user", "add", user, "--password-stdin", "--role", role)
	}
	c.ok("user", "disable", "off")
	scheme := "http"
	if strings.Contains(yaml, "tls-cert") {
		scheme = "https"
	}
	return &apiServer{s, scheme + "://" + s.listening("admin"), client}
}

// ask sends a request. who is a user, a token behind Bearer, or "".
func (s *apiServer) ask(method, path, who, body string, header ...string) (code int, text string, h http.Header) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.base+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if token, ok := strings.CutPrefix(who, "Bearer "); ok {
		r.Header.Set("Authorization", "Bearer "+token)
	} else if who != "" {
		r.SetBasicAuth(who, canaryPassword)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if r.Header.Set(header[i], header[i+1]); header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	resp, err := s.http.Do(r)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	if strings.Contains(string(all), "canary-") && !strings.Contains(body, "canary-topic") {
		s.t.Errorf("%s %s: a secret is in %s", method, path, all)
	}
	return resp.StatusCode, string(all), resp.Header
}

// An operation is one of the OpenAPI document.
type operation struct {
	method, path, role string
	hasBody            bool
}

// operations are those that the broker says it has.
func (s *apiServer) operations() (all []operation) {
	s.t.Helper()
	_, text, _ := s.ask("GET", "/api/v1/openapi.json", "viewer", "")
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			Role        string `json:"x-role"`
			RequestBody any
		}
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil || doc.OpenAPI != "3.1.0" {
		s.t.Fatalf("%v in %.200s", err, text)
	}
	for path, methods := range doc.Paths {
		for method, o := range methods {
			all = append(all, operation{strings.ToUpper(method), path, o.Role, o.RequestBody != nil})
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	if len(all) < 30 {
		s.t.Fatalf("%d operations", len(all))
	}
	return all
}

var inBraces = regexp.MustCompile(`\{[a-z]+\}`)

// whoMay says for each kind of caller which roles it has.
var whoMay = []struct{ name, who, role string }{
	{"nobody", "", "anyone"},
	{"a wrong token", "Bearer not-a-token-at-all-1234", "refused"},
	{"a token without its role", "Bearer viewer:" + canaryViewer, "refused"},
	{"a viewer's token", "Bearer " + canaryViewer, "viewer"},
	{"an admin's token", "Bearer " + canaryAdmin, "admin"},
	{"a viewer", "viewer", "viewer"},
	{"an admin", "admin", "admin"},
	{"a disabled admin", "off", "refused"},
	{"a user without a role", "plain", "refused"},
	{"no user", "somebody", "refused"},
}

// TestAPIAuthorisation asks each operation that the broker says it has as each kind of caller: who
// may not is refused before anything is looked at, and who may is not refused for that.
func TestAPIAuthorisation(t *testing.T) {
	t.Parallel()
	shows(t, "admin.bind", "admin.tokens-file")
	s := startAPI(t, "", new(http.Client))
	may := map[string][]string{"anyone": {"anyone"}, "viewer": {"anyone", "viewer"}, "admin": {"anyone", "viewer", "admin"}}
	asked := 0
	for _, o := range s.operations() {
		if (o.role == "viewer") != (o.method == "GET") && o.role != "anyone" && o.path != "/api/v1/sql" { // which only reads
			t.Errorf("%s %s needs the role %s", o.method, o.path, o.role)
		}
		path := inBraces.ReplaceAllString(o.path, "canary-none")
		for _, by := range whoMay {
			// A body that no operation takes: nothing is changed by whoever may.
			code, text, h := s.ask(o.method, path+"?no-such-parameter=1", by.who, `{"no-such-member":1}`)
			allowed := slices.Contains(may[by.role], o.role)
			refused := code == http.StatusUnauthorized || code == http.StatusForbidden
			asked++
			if allowed == refused || allowed && code != http.StatusUnprocessableEntity {
				t.Errorf("%s %s by %s: %d %s", o.method, o.path, by.name, code, text)
			}
			if code == http.StatusUnauthorized && !strings.HasPrefix(h.Get("Www-Authenticate"), "Bearer ") {
				t.Errorf("%s %s: %v", o.method, o.path, h)
			}
		}
	}
	t.Logf("%d requests", asked)
	s.tokensFollow()
	for _, line := range s.log() {
		if text := fmt.Sprint(line); strings.Contains(text, canaryPassword) || strings.Contains(text, canaryAdmin) || strings.Contains(text, canaryViewer) {
			t.Errorf("a secret is in the log: %s", text)
		}
	}
	s.stop()
}

// tokensFollow checks that a reload takes over another file of tokens, and refuses a broken one.
func (s *apiServer) tokensFollow() {
	s.t.Helper()
	file := regexp.MustCompile(`tokens-file: ([^}]+)}`).FindStringSubmatch(s.yaml())[1]
	for _, step := range []struct {
		text string
		ok   bool
		code int
	}{{"admin:short\n", false, 200}, {"admin:another-token-that-is-long\n", true, 401}} {
		if err := os.WriteFile(file, []byte(step.text), 0o600); err != nil {
			s.t.Fatal(err)
		}
		r := commander{s.t, s.dataDir()}.withInput("", "reload")
		if (r.code == 0) != step.ok || strings.Contains(r.stderr, "short") {
			s.t.Errorf("reload: %d %s", r.code, r.stderr)
		}
		if code, text, _ := s.ask("GET", "/api/v1/session", "Bearer "+canaryViewer, ""); code != step.code {
			s.t.Errorf("a token that was taken from the file: %d %s", code, text)
		}
	}
}

func (s *apiServer) yaml() string {
	text, err := os.ReadFile(filepath.Join(s.dir, "promptmq.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// TestAPISession: who signs in gets a cookie, which is as good as the password until who has it signs
// out, or what the user may do has changed.
func TestAPISession(t *testing.T) {
	t.Parallel()
	s := startAPI(t, "", new(http.Client))
	signIn := func(body string) string {
		t.Helper()
		code, text, h := s.ask("POST", "/api/v1/session", "", body)
		cookie := h.Get("Set-Cookie")
		if code != http.StatusOK || !strings.HasPrefix(cookie, "promptmq=") || !strings.Contains(cookie, "HttpOnly") || !strings.Contains(cookie, "SameSite=Strict") {
			t.Fatalf("%d %s %q", code, text, cookie)
		}
		value, _, _ := strings.Cut(cookie, ";")
		return value
	}
	is := func(cookie string, want int) {
		t.Helper()
		if code, text, _ := s.ask("GET", "/api/v1/session", "", "", "Cookie", cookie); code != want {
			t.Errorf("%d %s, want %d", code, text, want)
		}
	}
	viewer, admin := signIn(`{"user":"viewer","password":"`+canaryPassword+`"}`), signIn(`{"token":"`+canaryAdmin+`"}`)
	is(viewer, 200)
	is(admin, 200)
	is("promptmq=AAAA", 401)
	if code, text, _ := s.ask("POST", "/api/v1/reload", "", "", "Cookie", viewer); code != http.StatusForbidden {
		t.Errorf("a viewer reloads: %d %s", code, text)
	}
	if code, text, _ := s.ask("POST", "/api/v1/reload", "", "", "Cookie", admin); code != http.StatusOK {
		t.Errorf("an admin does not reload: %d %s", code, text)
	}
	if code, _, _ := s.ask("DELETE", "/api/v1/session", "", "", "Cookie", admin); code >= 300 {
		t.Errorf("sign out: %d", code)
	}
	is(admin, 401)
	is(viewer, 200)
	c := commander{t, s.dataDir()}
	c.ok("user", "role", "viewer", "none")
	is(viewer, 401)
	for _, body := range []string{
		`{}`, `{"user":"viewer"}`, `{"user":"admin","password":"wrong"}`, `{"user":"off","password":"` + canaryPassword + `"}`, `{"user":"plain","password":"` + canaryPassword + `"}`,
		`{"token":"wrong"}`, `{"token":""}`, `{"user":"","password":""}`,
	} {
		if code, text, h := s.ask("POST", "/api/v1/session", "", body); code < 400 || h.Get("Set-Cookie") != "" {
			t.Errorf("%s: %d %s %v", body, code, text, h)
		}
	}
	s.stop()
}

// TestAPIGuesses: wrong passwords and tokens count as failed logins. This machine is never banned, so
// that TestFailedToken has what becomes of it.
func TestAPIGuesses(t *testing.T) {
	t.Parallel()
	s := startAPI(t, "", new(http.Client))
	for i := range 3 {
		if code, text, _ := s.ask("GET", "/api/v1/clients", fmt.Sprintf("Bearer guess-number-%d-of-many", i), ""); code != http.StatusUnauthorized {
			t.Errorf("guess %d: %d %s", i, code, text)
		}
	}
	if n := s.metric(`promptmq_logins_refused_total{cause="bad-token"}`); n != 3 {
		t.Errorf("%v are counted", n)
	}
	waits := false
	for i := range 20 {
		code, text, _ := s.ask("POST", "/api/v1/session", "", fmt.Sprintf(`{"user":"admin","password":"guess %d"}`, i))
		if waits = code == http.StatusTooManyRequests; waits {
			break
		}
		if code != http.StatusUnauthorized {
			t.Errorf("guess %d: %d %s", i, code, text)
		}
	}
	if !waits {
		t.Error("20 wrong passwords of one user one after the other, and no wait")
	}
	s.stop()
}

// TestAPIForeignPages: what a browser sends for a page of somebody else changes nothing, also with
// the cookie of an admin. The control is the page itself.
func TestAPIForeignPages(t *testing.T) {
	t.Parallel()
	s := startAPI(t, "", new(http.Client))
	_, _, h := s.ask("POST", "/api/v1/session", "", `{"token":"`+canaryAdmin+`"}`)
	cookie, _, _ := strings.Cut(h.Get("Set-Cookie"), ";")
	publish := func(header ...string) int {
		code, _, _ := s.ask("POST", "/api/v1/publish", "", `{"topic":"canary-topic","payload":"eA==","retain":true}`, append(header, "Cookie", cookie)...)
		return code
	}
	for _, header := range [][]string{
		{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"}, {"Origin", "http://127.0.0.1:1"},
		{"Content-Type", "text/plain"}, {"Content-Type", "application/x-www-form-urlencoded"}, {"Content-Type", "multipart/form-data; boundary=x"},
		{"Host", "evil.example"}, {"Host", "127.0.0.1.evil.example:80"}, {"Host", "localhost.evil.example"},
	} {
		if code := publish(header...); code < 400 {
			t.Errorf("%v: %d", header, code)
		}
	}
	for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
		for _, path := range []string{"/api/v1/publish?topic=canary-topic&payload=eA==&retain=true", "/api/v1/reload", "/api/v1/sessions/purge"} {
			if code, text, _ := s.ask(method, path, "", "", "Cookie", cookie); code < 400 {
				t.Errorf("%s %s: %d %s", method, path, code, text)
			}
		}
	}
	if _, text, _ := s.ask("GET", "/api/v1/retained", "admin", ""); !strings.Contains(text, `"items":[]`) {
		t.Errorf("something is retained: %s", text)
	}
	if code := publish("Sec-Fetch-Site", "same-origin", "Origin", s.base); code != http.StatusOK {
		t.Errorf("the page itself: %d", code)
	}
	s.stop()
}

// TestAPIOverTLS: the certificate is shown, HTTP/2 is spoken, the cookie goes over TLS alone, and
// changed files are taken over.
func TestAPIOverTLS(t *testing.T) {
	t.Parallel()
	shows(t, "admin.tls-cert", "admin.tls-key")
	dir := t.TempDir()
	writeCertificate(t, dir, 11)
	client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	s := startAPI(t, fmt.Sprintf(", tls-cert: %q, tls-key: %q", filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")), client)
	code, _, h := s.ask("POST", "/api/v1/session", "", `{"user":"admin","password":"`+canaryPassword+`"}`, "Host", "promptmq.example")
	if cookie := h.Get("Set-Cookie"); code != http.StatusOK || !strings.HasPrefix(cookie, "__Host-promptmq=") || !strings.Contains(cookie, "Secure") {
		t.Errorf("%d %q", code, cookie)
	}
	shown := func() (serial int64, proto string) {
		resp, err := client.Get(s.base + "/")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		client.CloseIdleConnections()
		return resp.TLS.PeerCertificates[0].SerialNumber.Int64(), resp.Proto
	}
	if serial, proto := shown(); serial != 11 || proto != "HTTP/2.0" {
		t.Errorf("certificate %d over %s", serial, proto)
	}
	writeCertificate(t, dir, 12)
	eventually(t, "the other certificate is shown", func() bool { serial, _ := shown(); return serial == 12 })
	s.stop()
}

// TestAPIHostile: requests that are none, and those that are too large or too slow, do no harm.
func TestAPIHostile(t *testing.T) {
	t.Parallel()
	s := startAPI(t, "", &http.Client{Timeout: time.Minute})
	for _, test := range []struct {
		method, path, body string
		code               int
	}{
		{"POST", "/api/v1/publish", `{"topic":"canary-topic","payload":"` + strings.Repeat("A", 5<<20) + `"}`, 413},
		{"POST", "/api/v1/users", strings.Repeat("[", 500_000), 400},
		{"GET", "/api/v1/clients?cursor=%00%ff", "", 422},
		{"GET", "/api/v1/clients/%2e%2e", "", 404},
		{"GET", "/api/v1/clients/a%2Fb%00", "", 404},
		{"GET", "/api/v1/../../etc/passwd", "", 404},
		{"GET", "/api/v1/log?limit=99999999999999999999", "", 422},
		{"GET", "/api/v2/clients", "", 404},
		{"TRACE", "/api/v1/clients", "", 405},
		{"DELETE", "/api/v1/clients", "", 405},
	} {
		code, text, h := s.ask(test.method, test.path, "admin", test.body)
		if code != test.code || h.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %.60s: %d %.300s %v, want %d", test.method, test.path, code, text, h, test.code)
		}
		if h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %.60s: %v", test.method, test.path, h)
		}
	}
	if _, text, h := s.ask("GET", "/", "", ""); !strings.Contains(text, "<html") || !strings.Contains(h.Get("Content-Security-Policy"), "script-src 'self'") {
		t.Errorf("the page: %v %.100s", h, text)
	}
	if !bytes.Contains([]byte(fmt.Sprint(s.metric("promptmq_panics_total"))), []byte("0")) {
		t.Error("panics")
	}
	s.stop()
}
