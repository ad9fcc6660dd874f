package login

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"
)

// authorityPEM is the certificate of an authority.
func authorityPEM(t *testing.T) string {
	t.Helper()
	key := signers()[ES256]
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// A file that is too large is refused, and not read in part: a key or an authority at its end
// would be missing, and nobody would know.
func TestLargeSettingFiles(t *testing.T) {
	t.Parallel()
	for key, test := range map[string]struct {
		text string
		read func(path string) error
	}{
		"auth.http.ca-file": {authorityPEM(t), func(path string) error {
			_, faults := NewCallback(CallbackOptions{CAFile: path}, time.Now, CallbackEvents{})
			return anyOf(faults)
		}},
		"auth.jwt.jwks-ca-file": {authorityPEM(t), func(path string) error {
			_, faults := NewTokens(TokenOptions{KeysURL: "https://localhost", CAFile: path, Algorithms: Algorithms}, time.Now, nil)
			return anyOf(faults)
		}},
		"auth.jwt.key-file": {publicPEM(t, ES256), func(path string) error {
			_, faults := NewTokens(TokenOptions{KeyFile: path, Algorithms: Algorithms}, time.Now, nil)
			return anyOf(faults)
		}},
		"auth.jwt.secret-file": {testSecret, func(path string) error {
			_, faults := NewTokens(TokenOptions{SecretFile: path, Algorithms: Algorithms}, time.Now, nil)
			return anyOf(faults)
		}},
	} {
		most := test.text + strings.Repeat("\n", keysBytesMax-len(test.text))
		if err := test.read(fileWith(t, most)); err != nil {
			t.Errorf("%s of %d bytes: %v", key, len(most), err)
		}
		path := fileWith(t, most+"\n")
		want := key + ": " + path + ": it is larger than 1048576 bytes; it must be "
		if err := test.read(path); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// anyOf is faults as an error; nil: there are none.
func anyOf(faults SettingErrors) error {
	if len(faults) == 0 {
		return nil
	}
	return faults
}
