package login

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/codec"
)

// A webDirectory is a Callback and the server that it asks.
type webDirectory struct {
	*Callback
	webServer
	mu       sync.Mutex
	outcomes map[string]int
	failures []error
	opened   int
}

func newWebDirectory(t *testing.T, o CallbackOptions) *webDirectory {
	t.Helper()
	d := &webDirectory{outcomes: make(map[string]int)}
	o.URL = "https://directory.example/login?key=query-canary"
	c, err := NewCallback(o, time.Now, CallbackEvents{
		Asked: func(outcome string) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.outcomes[outcome]++
		},
		Failed: func(err error, opened bool) {
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.failures = append(d.failures, err); opened {
				d.opened++
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.client.Transport = &d.webServer
	d.Callback = c
	return d
}

func login(user, password string) *access.Attempt {
	return &access.Attempt{ClientID: "c", User: user, HasUser: true, Password: []byte(password), HasPassword: true, Listener: "tcp", Address: netip.MustParseAddr("192.0.2.7")}
}

func TestCallback(t *testing.T) {
	t.Parallel()
	o := DefaultCallbackOptions()
	o.BreakerFailures = 1000
	d := newWebDirectory(t, o)
	end := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	d.says(200, `{"allow":true,"user":"ann","groups":["staff"],"until":"`+end.Format(time.RFC3339)+`"}`)
	a := login("ann@example", "pass-canary")
	a.Certificate = &x509.Certificate{Subject: pkix.Name{CommonName: "device 7"}}
	who, err := d.Authenticate(t.Context(), a)
	if err != nil || who.User != "ann" || who.Groups[0] != "staff" || who.Method != access.ByCallback || !who.Until.Equal(end) {
		t.Fatalf("%+v, %v", who, err)
	}
	var sent map[string]any
	if err := json.Unmarshal([]byte(d.bodies[0]), &sent); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"client_id": "c", "user": "ann@example", "password": "pass-canary", "address": "192.0.2.7", "listener": "tcp", "certificate_subject": "CN=device 7"}
	if !maps.Equal(sent, want) {
		t.Errorf("sent %v", sent)
	}
	for i, test := range []struct {
		status int
		text   string
		reason codec.ReasonCode // 0: ErrNotMine
	}{
		{200, `{"ignore":true}`, 0},
		{200, `{"allow":false}`, codec.BadUserNameOrPassword},
		{200, `{"allow":true,"until":"2001-01-01T00:00:00Z"}`, codec.BadUserNameOrPassword},
		{200, `{}`, codec.ServerUnavailable},
		{200, ``, codec.ServerUnavailable},
		{200, `null`, codec.ServerUnavailable},
		{200, `true`, codec.ServerUnavailable},
		{200, `{"allow":true}{`, codec.ServerUnavailable},
		{200, `{"allow":"yes"}`, codec.ServerUnavailable},
		{200, `{"allow":true,"ignore":true}`, codec.ServerUnavailable},
		{200, `{"allow":true,"user":"a\u0000"}`, codec.ServerUnavailable},
		{200, `{"allow":true,"groups":[""]}`, codec.ServerUnavailable},
		{200, `{"allow":true,"rules":["let me in"]}`, codec.ServerUnavailable},
		{200, `{"allow":true,"rules":null}`, codec.ServerUnavailable},
		{200, `{"allow":true,"rules":[null]}`, codec.ServerUnavailable},
		{200, `{"allow":true,"until":"tomorrow"}`, codec.ServerUnavailable},
		{200, `{"allow":true,"groups":[` + strings.Repeat(`"g",`, identityListMax) + `"g"]}`, codec.ServerUnavailable},
		{200, `{"allow":true,"x":"` + strings.Repeat("a", answerBytesMax) + `"}`, codec.ServerUnavailable},
		{204, ``, codec.ServerUnavailable},
		{302, `{"allow":true}`, codec.ServerUnavailable},
		{401, `{"allow":true}`, codec.ServerUnavailable},
		{500, `{"allow":true}`, codec.ServerUnavailable},
	} {
		d.says(test.status, test.text)
		what := fmt.Sprintf("%d %.60s", test.status, test.text)
		who, err := d.Authenticate(t.Context(), login(fmt.Sprint("user", i), "pass-canary"))
		if test.reason == 0 {
			if who != nil || err != ErrNotMine {
				t.Errorf("%s: %+v, %v", what, who, err)
			}
			continue
		}
		wantRefusal(t, what, who, err, test.reason, "pass-canary", "query-canary")
	}
	d.does(breaks)
	who, err = d.Authenticate(t.Context(), login("x", "pass-canary"))
	wantRefusal(t, "broken", who, err, codec.ServerUnavailable, "pass-canary", "query-canary")
	if who, err := d.Authenticate(t.Context(), login("x", "\xff")); who != nil || err != ErrNotMine {
		t.Errorf("a password that is no UTF-8: %+v, %v", who, err)
	}
}

// A known answer is used for exactly the same question, and for so long.
func TestCallbackCache(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := DefaultCallbackOptions()
		o.CacheSize = 3
		d := newWebDirectory(t, o)
		ask := func(what string, a *access.Attempt, asked int) {
			t.Helper()
			before := d.count()
			_, _ = d.Authenticate(t.Context(), a)
			if n := d.count() - before; n != asked {
				t.Errorf("%s: asked %d times, not %d", what, n, asked)
			}
		}
		d.says(200, `{"allow":true}`)
		ask("first", login("ann", "pw"), 1)
		ask("again", login("ann", "pw"), 0)
		for what, change := range map[string]func(a *access.Attempt){
			"another password": func(a *access.Attempt) { a.Password = []byte("pw2") },
			"another user":     func(a *access.Attempt) { a.User = "annp" },
			"another client":   func(a *access.Attempt) { a.ClientID = "d" },
			"another address":  func(a *access.Attempt) { a.Address = netip.MustParseAddr("192.0.2.8") },
			"another listener": func(a *access.Attempt) { a.Listener = "ws" },
			"no user":          func(a *access.Attempt) { a.User, a.HasUser = "", false },
		} {
			a := login("ann", "pw")
			change(a)
			ask(what, a, 1)
		}
		time.Sleep(o.CacheTime - time.Nanosecond)
		ask("pushed out by others", login("ann", "pw"), 1)
		time.Sleep(o.CacheTime - time.Nanosecond)
		ask("just before its end", login("ann", "pw"), 0)
		time.Sleep(time.Nanosecond)
		ask("at its end", login("ann", "pw"), 1)
		d.says(200, `{"allow":false}`)
		for i := range 100 {
			ask("guesses", login("ann", fmt.Sprint(i)), 1)
		}
		ask("the same guess", login("ann", "99"), 0)
		ask("is not pushed out by guesses", login("ann", "pw"), 0)
		time.Sleep(o.CacheDenyTime)
		ask("a refusal is soon forgotten", login("ann", "99"), 1)
		if n := d.answers.len(); n > 2*o.CacheSize {
			t.Errorf("%d answers are kept", n)
		}
		d.says(200, `{"allow":true,"until":"`+time.Now().Add(10*time.Second).UTC().Format(time.RFC3339Nano)+`"}`)
		ask("one that ends soon", login("bob", "pw"), 1)
		time.Sleep(10*time.Second - time.Nanosecond)
		ask("before that", login("bob", "pw"), 0)
		time.Sleep(time.Nanosecond)
		ask("after that", login("bob", "pw"), 1)
		d.says(200, `{"ignore":true}`)
		ask("a failure is not kept", login("eve", "pw"), 1)
	})
}

// A directory that does not answer is asked no more, then by one login at a time; nobody is
// let in meanwhile but who is remembered.
func TestCallbackBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := DefaultCallbackOptions()
		d := newWebDirectory(t, o)
		n := 0
		try := func() (took time.Duration) {
			t.Helper()
			n++
			began := time.Now()
			who, err := d.Authenticate(t.Context(), login(fmt.Sprint(n), "pass-canary"))
			wantRefusal(t, "down", who, err, codec.ServerUnavailable, "pass-canary", "query-canary")
			return time.Since(began)
		}
		d.says(200, `{"allow":true}`)
		if _, err := d.Authenticate(t.Context(), login("known", "pw")); err != nil {
			t.Fatal(err)
		}
		d.does(hangs)
		for range o.BreakerFailures {
			if took := try(); took != o.Timeout {
				t.Fatalf("took %v", took)
			}
		}
		if !d.Open() || d.opened != 1 || len(d.failures) != o.BreakerFailures {
			t.Fatalf("open %v, %d times; %v", d.Open(), d.opened, d.failures)
		}
		asked := d.count()
		for range 100 {
			if took := try(); took != 0 {
				t.Fatalf("took %v", took)
			}
		}
		if d.count() != asked {
			t.Fatal("it is asked while the breaker is open")
		}
		if _, err := d.Authenticate(t.Context(), login("known", "pw")); err != nil {
			t.Errorf("one who is remembered: %v", err)
		}
		time.Sleep(o.BreakerPause)
		var all sync.WaitGroup
		for range 5 { // one of them is the probe
			all.Go(func() { _, _ = d.Authenticate(t.Context(), login("probe", "pw")) })
		}
		all.Wait()
		if d.count() != asked+1 || !d.Open() || d.opened != 1 {
			t.Fatalf("asked %d times when half open; open %v", d.count()-asked, d.Open())
		}
		time.Sleep(o.BreakerPause - time.Nanosecond)
		try()
		if d.count() != asked+1 {
			t.Fatal("asked before the pause was over")
		}
		time.Sleep(time.Nanosecond)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, _ = d.Authenticate(ctx, login("who leaves", "pw")) // proves nothing
		if d.count() != asked+2 || !d.Open() {
			t.Fatal("a login that was given up")
		}
		d.says(200, `{"allow":true}`)
		if who, err := d.Authenticate(t.Context(), login("next", "pw")); err != nil || d.Open() {
			t.Fatalf("it answers again: %+v, %v, open %v", who, err, d.Open())
		}
		if d.outcomes[CallbackNotAsked] < 100 || d.outcomes[CallbackFailed] != o.BreakerFailures+2 {
			t.Errorf("%v", d.outcomes)
		}
	})
}

// No more than so many logins ask at a time; the others wait no longer than the deadline.
func TestCallbackConcurrency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := DefaultCallbackOptions()
		o.Concurrency, o.BreakerFailures = 3, 1000
		d := newWebDirectory(t, o)
		var mu sync.Mutex
		now, most := 0, 0
		d.does(func(ctx context.Context, _ string) (int, string, error) {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			time.Sleep(2 * time.Second)
			mu.Lock()
			now--
			mu.Unlock()
			return 200, `{"allow":true}`, ctx.Err()
		})
		began := time.Now()
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() { _, _ = d.Authenticate(t.Context(), login(fmt.Sprint(i), "pw")) })
		}
		all.Wait()
		if most != 3 || d.outcomes[CallbackAllowed] != 6 || time.Since(began) > o.Timeout+2*time.Second {
			t.Errorf("%d at a time, %v, in %v", most, d.outcomes, time.Since(began))
		}
	})
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"https://a.example/x?y", "http://localhost:8080/", "http://127.0.0.1/", "http://[::1]:1/"} {
		if err := CheckURL(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "a.example", "http://a.example/", "http://127.0.0.1.example/", "ftp://localhost/", "https://", "https:/x", "https://u:canary@a.example/", "http://192.0.2.1/", "http://localhost.example/", "http:localhost", "file:///etc/passwd", "https://a b/canary"} {
		if err := CheckURL(bad); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// A redirect would take credentials elsewhere.
func TestNoRedirects(t *testing.T) {
	t.Parallel()
	client, err := newWebClient("", "", 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.CheckRedirect(nil, nil); err != http.ErrUseLastResponse {
		t.Errorf("%v", err)
	}
	if client.Transport.(*http.Transport).Proxy != nil {
		t.Error("a proxy of the environment is used")
	}
}
