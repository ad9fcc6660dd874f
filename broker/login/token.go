package login

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/codec"
)

// TokenOptions say which JSON Web Tokens let a Client in.
type TokenOptions struct {
	// KeyFile has public keys, in PEM or as a JSON Web Key Set; KeysURL is where such a set
	// is fetched, SecretFile has the secret of HS256. At least one is set if there are to be
	// tokens at all.
	KeyFile, KeysURL, SecretFile string
	CAFile                       string        // authorities for KeysURL, in PEM; "": those of the system
	KeysRefresh                  time.Duration // from one fetch to the next
	Algorithms                   []string      // that are accepted, of those that there is a key for
	// Issuer and Audience must be in the token if they are not empty.
	Issuer, Audience string
	Leeway           time.Duration // that clocks may differ
	// RequireExpiry refuses tokens without an end.
	RequireExpiry bool
	// UserClaim, GroupsClaim and RulesClaim have the user name, a list of groups, and a list
	// of rules as in a file of rules; the latter two may be "": none.
	UserClaim, GroupsClaim, RulesClaim string
	// MatchUser says that a User Name in CONNECT, beside the token in its Password, must be
	// that of the token.
	MatchUser bool
}

// DefaultTokenOptions returns what holds when nothing is said: no tokens.
func DefaultTokenOptions() TokenOptions {
	return TokenOptions{
		KeysRefresh: 15 * time.Minute, Algorithms: Algorithms, Leeway: 30 * time.Second, RequireExpiry: true,
		UserClaim: "sub", GroupsClaim: "groups", RulesClaim: "promptmq_rules", MatchUser: true,
	}
}

// Configured reports whether there are to be tokens.
func (o *TokenOptions) Configured() bool {
	return o.KeyFile != "" || o.KeysURL != "" || o.SecretFile != ""
}

const (
	// tokenBytesMax is far above what proxies and clients take.
	tokenBytesMax = 16 << 10
	// identityListMax is how many groups, and how many rules, one Identity has at most.
	identityListMax = 256
	nameBytesMax    = 65535
)

// Tokens let Clients in that show a JSON Web Token.
type Tokens struct {
	o       TokenOptions
	fixed   []tokenKey   // of files
	fetched *fetchedKeys // nil: there is none
	parser  *jwt.Parser
	now     func() time.Time
}

// NewTokens reads the files that o names. now is the clock, report is told of each fetch of
// KeysURL, and that it failed if err is not nil.
func NewTokens(o TokenOptions, now func() time.Time, report func(err error)) (*Tokens, SettingErrors) {
	t := &Tokens{o: o, now: now}
	var faults SettingErrors
	note := func(fault *SettingError) {
		if fault != nil {
			faults = append(faults, fault)
		}
	}
	if o.KeyFile != "" {
		keys, fault := readSetting("auth.jwt.key-file", o.KeyFile, "a file with public keys, as PEM (PUBLIC KEY, RSA PUBLIC KEY or CERTIFICATE) or as a JSON Web Key Set", parsePublicKeys)
		note(fault)
		t.fixed = keys
	}
	if o.SecretFile != "" {
		secret, fault := readSetting("auth.jwt.secret-file", o.SecretFile, fmt.Sprintf("a file with a secret of %d bytes or more", SecretBytesMin), parseSecret)
		note(fault)
		t.fixed = append(t.fixed, secret)
	}
	if o.KeysURL != "" {
		client, fault := newWebClient("auth.jwt.jwks-ca-file", o.CAFile, 1)
		note(fault)
		t.fetched = &fetchedKeys{url: o.KeysURL, client: client, refresh: o.KeysRefresh, now: now, report: report}
	}
	if len(faults) > 0 { // what keys there would be is not known
		return nil, faults
	}
	algorithms, fault := t.algorithms()
	if fault != nil {
		return nil, SettingErrors{fault}
	}
	t.parser = jwt.NewParser(t.checks(algorithms)...)
	return t, nil
}

// algorithms returns those that are accepted: none that no key could be for.
func (t *Tokens) algorithms() ([]string, *SettingError) {
	var there, accepted []string
	for _, a := range Algorithms {
		if _, fits := fitting(t.fixed, a, ""); !fits && (t.fetched == nil || a == HS256) {
			continue
		}
		if there = append(there, a); slices.Contains(t.o.Algorithms, a) {
			accepted = append(accepted, a)
		}
	}
	if len(accepted) == 0 {
		return nil, &SettingError{Key: "auth.jwt.algorithms", Err: fmt.Errorf("there is no key for any of them; it must have one of those that there are keys for: %s", strings.Join(there, ", "))}
	}
	return accepted, nil
}

func (t *Tokens) checks(algorithms []string) []jwt.ParserOption {
	checks := []jwt.ParserOption{
		jwt.WithValidMethods(algorithms), jwt.WithLeeway(t.o.Leeway), jwt.WithTimeFunc(t.now), jwt.WithStrictDecoding(), jwt.WithIssuedAt(),
	}
	if t.o.RequireExpiry {
		checks = append(checks, jwt.WithExpirationRequired())
	}
	if t.o.Issuer != "" {
		checks = append(checks, jwt.WithIssuer(t.o.Issuer))
	}
	if t.o.Audience != "" {
		checks = append(checks, jwt.WithAudience(t.o.Audience))
	}
	return checks
}

// Run fetches keys, if there are some to fetch, until ctx ends.
func (t *Tokens) Run(ctx context.Context) {
	if t.fetched != nil {
		t.fetched.run(ctx)
	}
}

// Inherit takes over the keys that before has fetched, if they are from the same place.
func (t *Tokens) Inherit(before *Tokens) {
	if t.fetched == nil || before == nil || before.fetched == nil || t.o.KeysURL != before.o.KeysURL || t.o.CAFile != before.o.CAFile {
		return
	}
	before.fetched.mu.Lock()
	known := before.fetched.known
	before.fetched.mu.Unlock()
	t.fetched.mu.Lock()
	defer t.fetched.mu.Unlock()
	t.fetched.known = known
}

// Authenticate returns whom the token in the Password is for. A Password that has not the form
// of one is not for it.
func (t *Tokens) Authenticate(ctx context.Context, a *access.Attempt) (*access.Identity, error) {
	token := string(a.Password)
	if !looksLikeToken(token) {
		return nil, ErrNotMine
	}
	if len(token) > tokenBytesMax {
		return nil, badToken("it is too large")
	}
	claims := jwt.MapClaims{}
	parsed, err := t.parse(ctx, token, claims)
	if err != nil {
		return nil, err
	}
	who, err := t.identity(parsed, claims)
	if err != nil {
		return nil, err
	}
	if t.o.MatchUser && a.HasUser && a.User != who.User {
		return nil, badToken("the User Name is not the one of the token")
	}
	return who, nil
}

// looksLikeToken tells a signed token from a password: three parts in base64, the first of a
// JSON object. A password that looks the same would be taken for a token, and refused.
func looksLikeToken(s string) bool {
	return strings.HasPrefix(s, "eyJ") && strings.Count(s, ".") == 2 && !strings.ContainsFunc(s, notInToken)
}

func notInToken(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
}

// parse checks the token and fills in claims. With an unknown key it asks for newer ones.
func (t *Tokens) parse(ctx context.Context, token string, claims jwt.MapClaims) (*jwt.Token, error) {
	var unavailable bool
	parsed, err := t.parser.ParseWithClaims(token, claims, func(parsed *jwt.Token) (any, error) {
		if _, critical := parsed.Header["crit"]; critical {
			return nil, errCritical // section 4.1.11 of RFC 7515: none is known here
		}
		id, _ := parsed.Header["kid"].(string)
		keys, err := t.keysFor(ctx, parsed.Method.Alg(), id)
		unavailable = errors.Is(err, errNoKeySet)
		return keys, err
	})
	switch {
	case err == nil:
		return parsed, nil
	case unavailable:
		return nil, &access.Refusal{Reason: codec.ServerUnavailable, Cause: "no-token-keys", Detail: "the key set could not be fetched yet"}
	}
	return nil, badToken(whyBad(err))
}

var (
	errUnknownKey = errors.New("no key for it")
	errCritical   = errors.New("it has critical header parameters")
)

func (t *Tokens) keysFor(ctx context.Context, algorithm, id string) (set jwt.VerificationKeySet, err error) {
	fit, known := fitting(t.fixed, algorithm, id)
	if t.fetched != nil && algorithm != HS256 {
		more, err := t.fetched.keys(ctx, false)
		if err != nil && !known {
			return set, err
		}
		of, found := fitting(more, algorithm, id)
		if !found && !known {
			if more, err = t.fetched.keys(ctx, true); err != nil {
				return set, err
			}
			of, _ = fitting(more, algorithm, id)
		}
		fit = append(fit, of...)
	}
	if len(fit) == 0 {
		return set, errUnknownKey
	}
	for _, k := range fit {
		set.Keys = append(set.Keys, k.key)
	}
	return set, nil
}

func badToken(detail string) error {
	return &access.Refusal{Reason: codec.BadUserNameOrPassword, Cause: "bad-token", Detail: detail}
}

// whyBad says what is wrong in words of its own: those of the library may repeat what the
// token has.
func whyBad(err error) string {
	for _, why := range []struct {
		is   error
		text string
	}{
		{errUnknownKey, "no key for its algorithm and key identifier"},
		{errCritical, "it has critical header parameters"},
		{jwt.ErrTokenMalformed, "it is malformed"},
		{jwt.ErrTokenUnverifiable, "its algorithm is not accepted"},
		{jwt.ErrTokenSignatureInvalid, "its algorithm is not accepted or its signature is wrong"},
		{jwt.ErrTokenExpired, "it has expired"},
		{jwt.ErrTokenNotValidYet, "it is not valid yet"},
		{jwt.ErrTokenUsedBeforeIssued, "it is from the future"},
		{jwt.ErrTokenInvalidIssuer, "it is of another issuer"},
		{jwt.ErrTokenInvalidAudience, "it is for another audience"},
		{jwt.ErrTokenRequiredClaimMissing, "it lacks a claim that is required"},
	} {
		if errors.Is(err, why.is) {
			return why.text
		}
	}
	return "its claims are not valid"
}

// identity makes an Identity of the claims.
func (t *Tokens) identity(parsed *jwt.Token, claims jwt.MapClaims) (who *access.Identity, err error) {
	who = &access.Identity{Method: access.ByToken}
	who.User, _ = claims[t.o.UserClaim].(string)
	if !usableName(who.User) {
		return nil, badToken("its claim of the user name is missing or no name")
	}
	if who.Groups, err = namesIn(claims, t.o.GroupsClaim); err != nil {
		return nil, err
	}
	lines, err := namesIn(claims, t.o.RulesClaim)
	if err != nil {
		return nil, err
	}
	if value, there := claims[t.o.RulesClaim]; there && value == nil && t.o.RulesClaim != "" { // else it would be as if nothing were said
		return nil, badToken("its claim of the rules is null")
	}
	if who.Rules, err = rulesOf(lines, "the token"); err != nil {
		return nil, badToken("a rule of it cannot be read")
	}
	end, err := parsed.Claims.GetExpirationTime()
	if err != nil {
		return nil, badToken("its end is no time")
	}
	_, ends := claims["exp"]
	switch {
	case !ends:
		return who, nil
	case end == nil || end.Year() > 9999: // the library takes 0 for none
		return nil, badToken("its end is no time")
	}
	who.Until = end.Add(t.o.Leeway)
	return who, nil
}

// usableName reports whether a name that was given from elsewhere can be a user name or that
// of a group.
func usableName(name string) bool {
	return name != "" && len(name) <= nameBytesMax && utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsControl)
}

// namesIn returns the list that a claim has; a single string is one of one. nil: there is no
// such claim.
func namesIn(claims jwt.MapClaims, claim string) (names []string, err error) {
	if claim == "" {
		return nil, nil
	}
	switch value := claims[claim].(type) {
	case nil:
		return nil, nil
	case string:
		names = []string{value}
	case []any:
		if len(value) > identityListMax {
			return nil, badToken("a list of it is too long")
		}
		names = make([]string, 0, len(value))
		for _, one := range value {
			name, _ := one.(string)
			names = append(names, name)
		}
	default:
		return nil, badToken("a claim that should be a list is none")
	}
	if slices.ContainsFunc(names, func(name string) bool { return !usableName(name) }) {
		return nil, badToken("a list of it has something else than names")
	}
	return names, nil
}

// rulesOf reads rules, as those of a file. Where there are no lines, not even none, there are
// no rules.
func rulesOf(lines []string, where string) (rules []access.Rule, err error) {
	if lines == nil {
		return nil, nil
	}
	rules = make([]access.Rule, 0, len(lines))
	for i, line := range lines {
		r, err := access.ParseRule(line)
		if err != nil {
			return nil, err
		}
		r.Where = fmt.Sprintf("rule %d of %s", i+1, where)
		rules = append(rules, r)
	}
	return rules, nil
}
