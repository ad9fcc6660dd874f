package login

import (
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/codec"
)

// setWith is a key set with the key for ES256 under these identifiers.
func setWith(t *testing.T, ids ...string) string {
	t.Helper()
	key := signers()[ES256].Public().(*ecdsa.PublicKey)
	point, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	b := base64.RawURLEncoding.EncodeToString
	var keys []map[string]string
	for _, id := range ids {
		keys = append(keys, map[string]string{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": id, "x": b(point[1:33]), "y": b(point[33:])})
	}
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestKeySetFile(t *testing.T) {
	t.Parallel()
	o := DefaultTokenOptions()
	o.KeyFile = fileWith(t, setWith(t, "a", "b"))
	tokens := tokensFor(t, o)
	for id, ok := range map[any]bool{"a": true, "b": true, "c": false, 7: true} { // 7 is no identifier
		token := sign(t, ES256, signers()[ES256], map[string]any{"kid": id}, goodClaims())
		if who, err := tokens.Authenticate(t.Context(), withToken(token)); (err == nil) != ok {
			t.Errorf("%v: %+v, %v", id, who, err)
		}
	}
}

// Keys are fetched at the start, again from time to time, and for an unknown identifier, but
// not for each; while the server does not answer the old ones stay.
func TestKeySetFetched(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := new(webServer)
		o := DefaultTokenOptions()
		o.KeysURL = "https://issuer.example/keys?canary"
		var reports []error
		tokens, faults := NewTokens(o, time.Now, func(err error) { reports = append(reports, err) })
		if faults != nil {
			t.Fatal(faults)
		}
		tokens.fetched.client.Transport = server
		try := func(id string) (*access.Identity, error) {
			t.Helper()
			claims := goodClaims()
			claims["exp"] = time.Now().Add(time.Hour).Unix()
			return tokens.Authenticate(t.Context(), withToken(sign(t, ES256, signers()[ES256], map[string]any{"kid": id}, claims)))
		}
		wantAsked := func(what string, n int) {
			t.Helper()
			if server.count() != n {
				t.Errorf("%s: asked %d times, not %d", what, server.count(), n)
			}
		}
		server.does(breaks)
		go tokens.Run(t.Context())
		synctest.Wait()
		who, err := try("a")
		wantRefusal(t, "no keys yet", who, err, codec.ServerUnavailable, "canary")
		wantAsked("start", 1)
		server.says(200, setWith(t, "a"))
		time.Sleep(keySetPause)
		synctest.Wait()
		wantAsked("after a pause", 2)
		if _, err := try("a"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(keySetPause)
		for i := range 1000 {
			who, err := try(fmt.Sprint("invented", i))
			wantRefusal(t, "unknown", who, err, codec.BadUserNameOrPassword)
		}
		wantAsked("unknown identifiers", 3)
		server.says(200, setWith(t, "b"))
		time.Sleep(keySetPause)
		if _, err := try("b"); err != nil {
			t.Errorf("a new key: %v", err)
		}
		who, err = try("a")
		wantRefusal(t, "a key that is gone", who, err, codec.BadUserNameOrPassword)
		wantAsked("new key", 4)
		for what, text := range map[string]string{"empty": "", "no keys": `{"keys":[]}`, "large": `{"keys":[]}` + strings.Repeat(" ", keysBytesMax), "an error": "error"} {
			server.says(200, text)
			time.Sleep(o.KeysRefresh)
			synctest.Wait()
			if _, err := try("b"); err != nil {
				t.Errorf("%s: the old keys are lost: %v", what, err)
			}
			if err := reports[len(reports)-1]; err == nil || strings.Contains(err.Error(), "canary") {
				t.Errorf("%s: reported as %v", what, err)
			}
		}
		server.says(404, setWith(t, "c"))
		time.Sleep(o.KeysRefresh)
		server.does(hangs)
		time.Sleep(o.KeysRefresh)
		if _, err := try("b"); err != nil {
			t.Errorf("a server that hangs: %v", err)
		}
		if err := reports[len(reports)-1]; err == nil || errors.Is(err, errNoKeySet) {
			t.Errorf("%v", err)
		}
	})
}
