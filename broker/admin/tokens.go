package admin

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"strings"
)

const (
	// TokensFileBytes and tokensMax bound a file of tokens.
	TokensFileBytes = 256 << 10
	tokensMax       = 1000
	tokenBytesMin   = 20
	tokenBytesMax   = 1024
	hashedMark      = "sha256:"
)

// A Token lets who shows it do what its role may. It is not kept itself.
type Token struct {
	Role Role
	sum  [sha256.Size]byte
	line int
}

// ParseTokens reads a file of tokens, one a line: role:token, or role:sha256: with the hash of one
// in hexadecimal digits. Empty lines and those that begin with # are left out. An error begins with
// name and line, and has no token in it.
func ParseTokens(name string, text []byte) ([]Token, error) {
	var tokens []Token
	for i, line := range bytes.Split(text, []byte("\n")) {
		words := strings.TrimSpace(string(line))
		if words == "" || strings.HasPrefix(words, "#") {
			continue
		}
		t, err := parseToken(words)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, i+1, err)
		}
		t.line = i + 1
		if tokens = append(tokens, t); len(tokens) > tokensMax {
			return nil, fmt.Errorf("%s:%d: there are more than %d tokens", name, i+1, tokensMax)
		}
	}
	return tokens, nil
}

func parseToken(line string) (t Token, err error) {
	role, token, found := strings.Cut(line, ":")
	if t.Role = Role(role); !found || t.Role != Viewer && t.Role != Admin {
		return t, fmt.Errorf("a line is admin:TOKEN or viewer:TOKEN")
	}
	if digits, hashed := strings.CutPrefix(token, hashedMark); hashed {
		sum, err := hex.DecodeString(digits)
		if err != nil || len(sum) != sha256.Size {
			return t, fmt.Errorf("behind %s are %d hexadecimal digits", hashedMark, 2*sha256.Size)
		}
		t.sum = [sha256.Size]byte(sum)
		return t, nil
	}
	if len(token) < tokenBytesMin || len(token) > tokenBytesMax || strings.ContainsAny(token, " \t") {
		return t, fmt.Errorf("a token has %d to %d characters and no spaces: `openssl rand -hex 32` makes one", tokenBytesMin, tokenBytesMax)
	}
	t.sum = sha256.Sum256([]byte(token))
	return t, nil
}

// find returns the token that was shown. It takes as long wherever it is.
func find(tokens []Token, shown string) *Token {
	sum := sha256.Sum256([]byte(shown))
	var found *Token
	for i := range tokens {
		if subtle.ConstantTimeCompare(tokens[i].sum[:], sum[:]) == 1 {
			found = &tokens[i]
		}
	}
	return found
}
