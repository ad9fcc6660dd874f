package login

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"github.com/MicahParks/jwkset"
)

// The algorithms of tokens. Each belongs to one kind of key, and a key to one algorithm: the
// header of a token never says how a key is used.
const (
	RS256 = "RS256"
	ES256 = "ES256"
	EdDSA = "EdDSA"
	HS256 = "HS256"
)

// Algorithms are all of them.
var Algorithms = []string{RS256, ES256, EdDSA, HS256}

const (
	// SecretBytesMin is what RFC 7518, section 3.2, asks of a key for HS256.
	SecretBytesMin = 32
	rsaBitsMin     = 2048
	rsaBitsMax     = 8192 // above it a signature takes milliseconds to check
	keysMax        = 64
	keysBytesMax   = 1 << 20
)

// A tokenKey checks signatures of one algorithm.
type tokenKey struct {
	id        string // the kid; "": it has none, and is tried for any
	algorithm string
	key       any // as github.com/golang-jwt/jwt takes it
}

// parsePublicKeys reads a file of public keys: PEM blocks of public keys or certificates, or a
// JSON Web Key Set.
func parsePublicKeys(text []byte) ([]tokenKey, error) {
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		return parseKeySet(text)
	}
	return parsePEM(text)
}

var pemBegin = []byte("-----BEGIN ")

func parsePEM(text []byte) (keys []tokenKey, err error) {
	for rest := text; len(bytes.TrimSpace(rest)) > 0; {
		line := lineOf(text, len(text)-len(bytes.TrimLeft(rest, " \t\r\n")))
		var key tokenKey
		if key, rest, err = nextPEM(rest); err == nil && len(keys) == keysMax {
			err = fmt.Errorf("it has more than %d keys", keysMax)
		}
		if err != nil {
			return nil, inLine{line, err}
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("it has no key")
	}
	return keys, nil
}

// lineOf returns the line of a place in text.
func lineOf(text []byte, at int) int { return 1 + bytes.Count(text[:at], []byte("\n")) }

// nextPEM reads the first key of text.
func nextPEM(text []byte) (key tokenKey, rest []byte, err error) {
	block, rest := pem.Decode(text)
	if block == nil {
		return key, nil, errors.New("there is something that is neither PEM nor a JSON Web Key Set")
	}
	if read := text[:len(text)-len(rest)]; !bytes.HasPrefix(bytes.TrimSpace(read), pemBegin) || bytes.Count(read, pemBegin) != 1 {
		return key, nil, errors.New("there is text before a PEM block, or a damaged one") // which pem.Decode passes over
	}
	if key.key, err = publicKey(block); err == nil {
		key.algorithm, err = algorithmOf(key.key)
	}
	return key, rest, err
}

func publicKey(block *pem.Block) (any, error) {
	var key any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var c *x509.Certificate
		if c, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = c.PublicKey
		}
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "OPENSSH PRIVATE KEY":
		return nil, errors.New("it is a private key, which only who signs tokens should have; give the public one")
	default:
		return nil, fmt.Errorf("it is a %q; allowed are PUBLIC KEY, RSA PUBLIC KEY and CERTIFICATE", block.Type)
	}
	return key, err
}

// algorithmOf returns the algorithm for a key, or says why there is none.
func algorithmOf(key any) (string, error) {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < rsaBitsMin || bits > rsaBitsMax {
			return "", fmt.Errorf("an RSA key of %d bits; it must have from %d to %d", bits, rsaBitsMin, rsaBitsMax)
		}
		if key.E < 3 || key.E&1 == 0 || key.E > 1<<31-1 {
			return "", errors.New("an RSA key with an exponent that is not allowed")
		}
		return RS256, nil
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() {
			return "", fmt.Errorf("an EC key on %s; ES256 needs P-256", key.Curve.Params().Name)
		}
		return ES256, nil
	case ed25519.PublicKey:
		return EdDSA, nil
	case []byte:
		if len(key) < SecretBytesMin {
			return "", fmt.Errorf("a secret of %d bytes; HS256 needs %d or more", len(key), SecretBytesMin)
		}
		return HS256, nil
	}
	return "", fmt.Errorf("a key of a kind that no algorithm here has (%T)", key)
}

// parseKeySet reads a JSON Web Key Set. Keys for something else than signatures, and of kinds
// that are not known here, are passed over, as section 5 of RFC 7517 asks for; but one must be
// left. Secrets do not belong in it.
func parseKeySet(text []byte) (keys []tokenKey, err error) {
	var set struct {
		Keys []jwkset.JWKMarshal `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		why := errors.New("it is no JSON Web Key Set: its JSON is broken or has other types") // what err says may have parts of keys
		if broken, ok := errors.AsType[*json.SyntaxError](err); ok {
			return nil, inLine{lineOf(text, min(len(text), int(broken.Offset))), why}
		}
		return nil, why
	}
	if len(set.Keys) > keysMax {
		return nil, fmt.Errorf("it has %d keys, more than %d", len(set.Keys), keysMax)
	}
	var why error
	for i := range set.Keys {
		key, err := keyOfSet(&set.Keys[i])
		if err != nil {
			why = errors.Join(why, fmt.Errorf("key %d: %w", i+1, err))
			continue
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.Join(errors.New("it has no key that can be used"), why)
	}
	return keys, nil
}

func keyOfSet(m *jwkset.JWKMarshal) (tokenKey, error) {
	switch {
	case m.KTY == jwkset.KtyOct:
		return tokenKey{}, errors.New("it is a secret, which belongs in a file of its own")
	case m.USE != "" && m.USE != jwkset.UseSig:
		return tokenKey{}, errors.New("it is not for signatures")
	case len(m.KEYOPS) > 0 && !slices.Contains(m.KEYOPS, jwkset.KeyOpsVerify):
		return tokenKey{}, errors.New("it is not for checking signatures")
	}
	public := jwkset.JWKMarshal{KTY: m.KTY, CRV: m.CRV, X: m.X, Y: m.Y, N: m.N, E: m.E} // nothing that would have it fetch anything
	parsed, err := jwkset.NewJWKFromMarshal(public, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{SkipAll: true})
	if err != nil {
		return tokenKey{}, errors.New("it cannot be read")
	}
	algorithm, err := algorithmOf(parsed.Key())
	if err != nil {
		return tokenKey{}, err
	}
	if m.ALG != "" && string(m.ALG) != algorithm {
		return tokenKey{}, fmt.Errorf("it is for another algorithm than %s", algorithm)
	}
	return tokenKey{id: m.KID, algorithm: algorithm, key: parsed.Key()}, nil
}

// parseSecret reads a file with the secret of HS256: all of it but white space around.
func parseSecret(text []byte) (tokenKey, error) {
	text = bytes.TrimSpace(text)
	if bytes.HasPrefix(text, pemBegin) || bytes.HasPrefix(text, []byte("{")) {
		return tokenKey{}, errors.New("it has a key in PEM or JSON, which may be public, in place of a secret")
	}
	algorithm, err := algorithmOf(bytes.Clone(text))
	return tokenKey{algorithm: algorithm, key: bytes.Clone(text)}, err
}

// fitting returns the keys for a token with that algorithm and kid. known is false if the kid
// is of none of them.
func fitting(keys []tokenKey, algorithm, id string) (fit []tokenKey, known bool) {
	for _, k := range keys {
		if k.algorithm == algorithm && (id == "" || k.id == "" || k.id == id) {
			fit = append(fit, k)
		}
	}
	return fit, len(fit) > 0
}
