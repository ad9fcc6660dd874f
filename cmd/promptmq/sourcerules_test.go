package main

import (
	"path/filepath"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/x0a1b/promptmq/codec"
)

// mayDo returns whether somebody may subscribe to a topic, and publish to it.
func (s *server) mayDo(user, password, topic string) (subscribe, publish bool) {
	s.t.Helper()
	p := v5Of(s.t, s, "c"+user, func(c *codec.Connect) {
		c.HasUserName, c.UserName, c.HasPassword, c.Password = true, codec.View(user), true, codec.View(password)
	})
	defer func() { _ = p.Close() }()
	publish = p.publish1(1, topic, "x") < 0x80
	return p.subscribeOne(topic, 1) < 0x80, publish
}

// Lists of rules, as in the claim of a token and in the answer of a directory, and what they
// allow to publish and subscribe to where there are no other rules; as the file of rules says
// where there is one.
var ruleLists = map[string]struct {
	list          any // nil: null; "": there is none
	alone, behind bool
	refused       bool
}{
	"none":            {list: "", alone: true, behind: true},
	"without rules":   {list: []string{}, alone: false, behind: true},
	"one":             {list: []string{"allow everyone all topic t"}, alone: true, behind: true},
	"about another":   {list: []string{"allow everyone all topic other"}, alone: false, behind: true},
	"one that denies": {list: []string{"deny everyone all topic t"}, alone: false, behind: false},
	"null":            {list: nil, refused: true},
}

// TestTokenRules: a token with a list of rules allows what is in it, nothing if nothing is in
// it; one without a list says nothing. What comes behind are the rules of the file.
func TestTokenRules(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	s.writeFile("secret", tokenSecret)
	s.writeFile("rules", "allow everyone all topic t\nend\n")
	jwtYAML := "jwt: {secret-file: '" + filepath.Join(s.dir, "secret") + "'}"
	for _, withFile := range []bool{false, true} {
		if yaml := "auth: {" + jwtYAML + "}\n"; withFile {
			s.reload("auth: {" + jwtYAML + ", rules-file: '" + filepath.Join(s.dir, "rules") + "'}\n")
		} else {
			s.reload(yaml)
		}
		for what, test := range ruleLists {
			claims := jwt.MapClaims{"promptmq_rules": test.list}
			if test.list == "" {
				claims = nil
			}
			token := issuedWith(t, claims)
			if test.refused {
				if got := s.logIn("ann", token); got != codec.BadUserNameOrPassword {
					t.Errorf("%s: %v", what, got)
				}
				continue
			}
			want := test.alone
			if withFile {
				want = test.behind
			}
			if subscribe, publish := s.mayDo("ann", token, "t"); subscribe != want || publish != want {
				t.Errorf("a list: %s, a file of rules: %v: subscribe %v, publish %v", what, withFile, subscribe, publish)
			}
		}
	}
}

// issuedWith is issued with claims that may be null.
func issuedWith(t *testing.T, claims jwt.MapClaims) string {
	t.Helper()
	all := jwt.MapClaims{"sub": "ann", "exp": 4e9}
	for name, value := range claims {
		all[name] = value
	}
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, all).SignedString([]byte(tokenSecret))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestCallbackRules is TestTokenRules for what a directory answers.
func TestCallbackRules(t *testing.T) {
	t.Parallel()
	d := newWebDirectory(t, false)
	s := start(t, "auth: {http: {url: '"+d.URL+"', cache-time: 0s, cache-deny-time: 0s, breaker-failures: 1000}}\n")
	for rules, want := range map[string]bool{
		``: true, `, "rules": []`: false, `, "rules": ["allow everyone all topic t"]`: true, `, "rules": ["allow everyone all topic other"]`: false,
	} {
		d.says(200, `{"allow": true`+rules+`}`)
		if subscribe, publish := s.mayDo("ann", "x", "t"); subscribe != want || publish != want {
			t.Errorf("%s: subscribe %v, publish %v", rules, subscribe, publish)
		}
	}
	d.says(200, `{"allow": true, "rules": null}`)
	if got := s.logIn("ann", "x"); got != codec.ServerUnavailable {
		t.Errorf("null: %v", got)
	}
}
