package login

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/codec"
)

var tokenNow = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

const testSecret = "a-secret-of-at-least-32-bytes-for-HS256"

// signers are private keys, one of each kind.
var signers = sync.OnceValue(func() map[string]crypto.Signer {
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	_, d, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return map[string]crypto.Signer{RS256: r, ES256: e, EdDSA: d}
})

func publicPEM(t testing.TB, algorithms ...string) string {
	t.Helper()
	var text []byte
	for _, a := range algorithms {
		der, err := x509.MarshalPKIXPublicKey(signers()[a].Public())
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})...)
	}
	return string(text)
}

func fileWith(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// sign makes a token; key is a private key or, for HS256, bytes.
func sign(t testing.TB, method string, key any, header map[string]any, claims jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.GetSigningMethod(method), claims)
	for name, value := range header {
		token.Header[name] = value
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func goodClaims() jwt.MapClaims {
	return jwt.MapClaims{"sub": "ann", "exp": tokenNow.Add(time.Hour).Unix(), "groups": []string{"staff", "night"}}
}

func tokensFor(t testing.TB, o TokenOptions) *Tokens {
	t.Helper()
	tokens, err := NewTokens(o, func() time.Time { return tokenNow }, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func withToken(token string) *access.Attempt {
	return &access.Attempt{ClientID: "c", Password: []byte(token), HasPassword: true}
}

func wantRefusal(t testing.TB, what string, who *access.Identity, err error, reason codec.ReasonCode, secrets ...string) {
	t.Helper()
	r, ok := errors.AsType[*access.Refusal](err)
	if who != nil || !ok || r.Reason != reason {
		t.Errorf("%s: %+v, %v; expected a refusal with %v", what, who, err, reason)
		return
	}
	for _, s := range secrets {
		for part := range strings.SplitSeq(s, ".") {
			if part != "" && strings.Contains(r.Error(), part) {
				t.Errorf("%s: %q repeats what is secret", what, r.Error())
			}
		}
	}
}

func TestTokenAlgorithms(t *testing.T) {
	t.Parallel()
	o := DefaultTokenOptions()
	o.KeyFile, o.SecretFile = fileWith(t, publicPEM(t, RS256, ES256, EdDSA)), fileWith(t, testSecret+"\n")
	tokens := tokensFor(t, o)
	for _, a := range Algorithms {
		var key any = signers()[a]
		if a == HS256 {
			key = []byte(testSecret)
		}
		token := sign(t, a, key, nil, goodClaims())
		who, err := tokens.Authenticate(t.Context(), withToken(token))
		if err != nil || who.User != "ann" || who.Method != access.ByToken || len(who.Groups) != 2 || who.Groups[1] != "night" {
			t.Errorf("%s: %+v, %v", a, who, err)
			continue
		}
		if until := tokenNow.Add(time.Hour + o.Leeway); !who.Until.Equal(until) {
			t.Errorf("%s: until %v, not %v", a, who.Until, until)
		}
		for i := 0; i < len(token); i += 7 { // a bit of any part turned over
			changed := []byte(token)
			changed[i] ^= 1
			if who, err := tokens.Authenticate(t.Context(), withToken(string(changed))); who != nil || err == nil {
				t.Fatalf("%s: byte %d changed, and %+v is let in", a, i, who)
			}
		}
	}
}

// No token chooses how the key for it is used.
func TestTokenAlgorithmConfusion(t *testing.T) {
	t.Parallel()
	public := publicPEM(t, RS256, ES256, EdDSA)
	o := DefaultTokenOptions()
	o.KeyFile = fileWith(t, public)
	tokens := tokensFor(t, o)
	claims := goodClaims()
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	for what, token := range map[string]string{
		"none":                  sign(t, "none", jwt.UnsafeAllowNoneSignatureType, nil, claims),
		"None":                  part(map[string]any{"alg": "None", "typ": "JWT"}) + "." + part(claims) + ".",
		"no alg":                part(map[string]any{"typ": "JWT"}) + "." + part(claims) + ".AAAA",
		"alg is a number":       part(map[string]any{"alg": 1}) + "." + part(claims) + ".AAAA",
		"HS256 by a public key": sign(t, HS256, []byte(public), nil, claims),
		"HS256 by one PEM":      sign(t, HS256, []byte(publicPEM(t, RS256)), nil, claims),
		"RS512":                 sign(t, "RS512", signers()[RS256], nil, claims),
		"PS256":                 sign(t, "PS256", signers()[RS256], nil, claims),
		"key in the token": sign(t, EdDSA, ed25519.NewKeyFromSeed(make([]byte, 32)), map[string]any{"jwk": map[string]any{
			"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(ed25519.NewKeyFromSeed(make([]byte, 32))[32:]),
		}}, claims),
		"critical": sign(t, ES256, signers()[ES256], map[string]any{"crit": []string{"exp"}}, claims),
	} {
		who, err := tokens.Authenticate(t.Context(), withToken(token))
		wantRefusal(t, what, who, err, codec.BadUserNameOrPassword, token)
	}
}

func TestTokenClaims(t *testing.T) {
	t.Parallel()
	o := DefaultTokenOptions()
	o.SecretFile, o.Issuer, o.Audience = fileWith(t, testSecret), "https://issuer", "mqtt"
	tokens := tokensFor(t, o)
	at := func(d time.Duration) int64 { return tokenNow.Add(d).Unix() }
	long := make([]string, identityListMax+1)
	for i := range long {
		long[i] = "g"
	}
	for _, test := range []struct {
		what  string
		claim string
		value any // nil: there is none
		ok    bool
	}{
		{"all good", "x", 1, true},
		{"expired within the leeway", "exp", at(-29 * time.Second), true},
		{"expired", "exp", at(-31 * time.Second), false},
		{"no end", "exp", nil, false},
		{"end of 0", "exp", 0, false},
		{"end is text", "exp", "2099-01-01", false},
		{"end beyond all time", "exp", 1e300, false},
		{"end in the year 10000", "exp", 253402300801, false},
		{"not yet", "nbf", at(31 * time.Second), false},
		{"not yet, within the leeway", "nbf", at(29 * time.Second), true},
		{"from the future", "iat", at(time.Minute), false},
		{"another issuer", "iss", "https://issuer/", false},
		{"no issuer", "iss", nil, false},
		{"audience in a list", "aud", []string{"web", "mqtt"}, true},
		{"another audience", "aud", []string{"web"}, false},
		{"audience of numbers", "aud", []any{1, "mqtt"}, false},
		{"no audience", "aud", nil, false},
		{"no user", "sub", nil, false},
		{"empty user", "sub", "", false},
		{"user is a number", "sub", 7, false},
		{"user with NUL", "sub", "a\x00b", false},
		{"long user", "sub", strings.Repeat("a", 65536), false},
		{"one group", "groups", "staff", true},
		{"groups with a number", "groups", []any{"a", 1}, false},
		{"empty group", "groups", []string{""}, false},
		{"groups are an object", "groups", map[string]any{"a": 1}, false},
		{"too many groups", "groups", long, false},
		{"rules are a number", "promptmq_rules", 5, false},
		{"a rule that is none", "promptmq_rules", []string{"let me in"}, false},
		{"no rules", "promptmq_rules", []string{}, true},
		{"rules that are null", "promptmq_rules", json.RawMessage("null"), false},
	} {
		claims := goodClaims()
		claims["iss"], claims["aud"] = "https://issuer", "mqtt"
		if claims[test.claim] = test.value; test.value == nil {
			delete(claims, test.claim)
		}
		token := sign(t, HS256, []byte(testSecret), nil, claims)
		who, err := tokens.Authenticate(t.Context(), withToken(token))
		if !test.ok {
			wantRefusal(t, test.what, who, err, codec.BadUserNameOrPassword, token)
		} else if err != nil {
			t.Errorf("%s: %v", test.what, err)
		}
	}
}

// What is configured of tokens has an effect; the rest of TokenOptions is in the other tests.
func TestTokenOptions(t *testing.T) {
	t.Parallel()
	claims := jwt.MapClaims{"name": "bob", "roles": "admin"}
	token := sign(t, HS256, []byte(testSecret), nil, claims)
	o := TokenOptions{SecretFile: fileWith(t, testSecret), UserClaim: "name", GroupsClaim: "roles", Algorithms: []string{HS256, ES256}}
	who, err := tokensFor(t, o).Authenticate(t.Context(), withToken(token))
	if err != nil || who.User != "bob" || len(who.Groups) != 1 || who.Groups[0] != "admin" || !who.Until.IsZero() {
		t.Fatalf("%+v, %v", who, err)
	}
	a := withToken(token)
	a.User, a.HasUser = "eve", true
	if who, err := tokensFor(t, o).Authenticate(t.Context(), a); err != nil || who.User != "bob" {
		t.Errorf("another User Name, which does not matter: %+v, %v", who, err)
	}
	o.MatchUser = true
	who, err = tokensFor(t, o).Authenticate(t.Context(), a)
	wantRefusal(t, "another User Name", who, err, codec.BadUserNameOrPassword, token)
	a.User = "bob"
	if who, err := tokensFor(t, o).Authenticate(t.Context(), a); err != nil || who.User != "bob" {
		t.Errorf("the same User Name: %+v, %v", who, err)
	}
	for _, password := range []string{"", "secret", "a.b.c", "eyJ", "eyJ.a", "eyJ.a.b.c", "eyJ.a.b c"} {
		if _, err := tokensFor(t, o).Authenticate(t.Context(), withToken(password)); err != ErrNotMine {
			t.Errorf("%q: %v", password, err)
		}
	}
	who, err = tokensFor(t, o).Authenticate(t.Context(), withToken("eyJ"+strings.Repeat("a", tokenBytesMax)+".b.c"))
	wantRefusal(t, "too large", who, err, codec.BadUserNameOrPassword)
	o.Algorithms = []string{ES256}
	if _, err := NewTokens(o, time.Now, nil); err == nil || !strings.Contains(err.Error(), "HS256") {
		t.Errorf("an algorithm without a key: %v", err)
	}
}

func TestKeyFiles(t *testing.T) {
	t.Parallel()
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pemOf := func(kind string, key any) string {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	private, err := x509.MarshalPKCS8PrivateKey(signers()[ES256])
	if err != nil {
		t.Fatal(err)
	}
	good := publicPEM(t, RS256)
	for what, text := range map[string]string{
		"empty": "", "space": " \n", "text": "hello", "small RSA": pemOf("PUBLIC KEY", &small.PublicKey), "P-384": pemOf("PUBLIC KEY", &p384.PublicKey),
		"private key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})), "garbage before": "x\n" + good, "garbage behind": good + "x",
		"a damaged block before": strings.Replace(good, "M", "!", 1) + good, "unknown block": pemOf("SOMETHING", &p384.PublicKey), "set without keys": `{"keys":[]}`,
		"no set": `{"kty":"EC"}`, "a secret in a set": `{"keys":[{"kty":"oct","k":"` + base64.RawURLEncoding.EncodeToString([]byte(testSecret)) + `"}]}`,
		"for encryption":       `{"keys":[{"kty":"OKP","crv":"Ed25519","use":"enc","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`,
		"another alg":          `{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"RS256","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`,
		"a point that is none": `{"keys":[{"kty":"EC","crv":"P-256","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE","y":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"}]}`,
	} {
		if keys, err := parsePublicKeys([]byte(text)); err == nil {
			t.Errorf("%s: accepted as %v", what, keys)
		}
	}
	for i := range good { // cut anywhere
		if _, err := parsePublicKeys([]byte(good[:i])); err == nil && i < len(good)-1 {
			t.Fatalf("cut at %d: accepted", i)
		}
	}
	for _, secret := range []string{"", "short", good, `{"keys":[]}`, strings.Repeat("a", 31)} {
		if _, err := parseSecret([]byte(secret)); err == nil {
			t.Errorf("%.20q is accepted as a secret", secret)
		}
	}
}

// Any claims are answered without a crash, and whoever is let in is who they say.
func FuzzTokenClaims(f *testing.F) {
	for _, seed := range []string{
		`{"sub":"ann","exp":1796000000}`, `{"sub":"ann","exp":1e300}`, `{"sub":1,"exp":null}`, `{"sub":"a","exp":1796000000,"groups":["a"],"promptmq_rules":["x"]}`,
		`{}`, `[]`, `null`, `{"sub":"a","exp":-1}`, `{"sub":"a","exp":"1"}`, `{"sub":"a","exp":1796000000,"nbf":-1e308,"iat":[]}`, `{"sub":"\u0000","exp":1796000000}`,
	} {
		f.Add([]byte(seed), []byte(`{"alg":"HS256","typ":"JWT"}`))
	}
	f.Add([]byte(`{"sub":"a"}`), []byte(`{"alg":"HS256","kid":[],"crit":1}`))
	o := DefaultTokenOptions()
	o.SecretFile = fileWith(f, testSecret)
	tokens := tokensFor(f, o)
	f.Fuzz(func(t *testing.T, claims, header []byte) {
		text := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(claims)
		signature, err := jwt.SigningMethodHS256.Sign(text, []byte(testSecret))
		if err != nil {
			t.Fatal(err)
		}
		who, err := tokens.Authenticate(context.Background(), withToken(text+"."+base64.RawURLEncoding.EncodeToString(signature)))
		switch {
		case (who == nil) == (err == nil):
			t.Fatalf("%+v, %v", who, err)
		case err == ErrNotMine:
			return
		case err != nil:
			if _, ok := errors.AsType[*access.Refusal](err); !ok {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		var said map[string]any
		if err := json.Unmarshal(claims, &said); err != nil || said["sub"] != who.User || !usableName(who.User) {
			t.Fatalf("%s made %q (%v)", claims, who.User, err)
		}
		if !who.Until.After(tokenNow) {
			t.Fatalf("%s is over: %v", claims, who.Until)
		}
	})
}
