package config

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/x0a1b/promptmq/broker/login"
)

// webURL is where something is asked that must not be overheard, or empty.
type webURL struct{}

func (u webURL) parse(field any, text string) error {
	if text != "" {
		if err := login.CheckURL(text); err != nil { // the text may have a secret
			return fmt.Errorf("%w; it must be %s", err, u.allowed())
		}
	}
	*field.(*string) = text
	return nil
}

func (webURL) format(field any) string { return *field.(*string) }
func (webURL) scalar() scalar          { return stringScalar }
func (webURL) allowed() string {
	return `a URL such as "https://auth.example.com/login", or with http for this machine only, without credentials in it; "file:/path" for one that a file has; or empty`
}

// plainText is any text without control characters.
type plainText struct{ required bool }

func (p plainText) parse(field any, text string) error {
	if p.required && text == "" || len(text) > 1024 || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return refuse(p, text)
	}
	*field.(*string) = text
	return nil
}

func (plainText) format(field any) string { return *field.(*string) }
func (plainText) scalar() scalar          { return stringScalar }
func (p plainText) allowed() string {
	s := "text of at most 1024 bytes, in UTF-8 and without control characters"
	if !p.required {
		s += ", or empty"
	}
	return s
}

// checkLogins finds keys about tokens and the callback that have no effect, and those that
// contradict each other.
func (c *Config) checkLogins(fail func(path, text string)) {
	const tokens, callback = "auth.jwt.", "auth.http."
	for i := range keys {
		path := keys[i].path
		if _, set := c.origins[path]; !set || keys[i].kind.format(keys[i].field(c)) == keys[i].kind.format(keys[i].field(Default())) {
			continue
		}
		switch {
		case strings.HasPrefix(path, tokens) && !c.Tokens.Configured():
			fail(path, "has no effect: none of auth.jwt.key-file, auth.jwt.secret-file and auth.jwt.jwks-url is set")
			return
		case strings.HasPrefix(path, callback) && c.Callback.URL == "":
			fail(path, "has no effect: auth.http.url is not set")
			return
		case strings.HasPrefix(path, tokens+"jwks-") && c.Tokens.KeysURL == "":
			fail(path, "has no effect: auth.jwt.jwks-url is not set")
			return
		}
	}
}
