package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func readCert(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// verifies reports what somebody who trusts but one certificate says to another.
func verifies(t *testing.T, trusted, path, host string) error {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(readCert(t, trusted))
	_, err := readCert(t, path).Verify(x509.VerifyOptions{Roots: pool, DNSName: host})
	return err
}

func TestCertSelfSigned(t *testing.T) {
	unraced(t)
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "tls")
	args := []string{"cert", "self-signed", "--out", dir, "--host", "broker.example.com", "--host", "127.0.0.1", "--host=::1"}
	r := run(t, nil, args...)
	cert, key := filepath.Join(dir, certFile), filepath.Join(dir, keyFile)
	if r.code != 0 || !strings.Contains(r.stdout, `cert-file: "`+cert+`"`) || !strings.Contains(r.stdout, `key-file: "`+key+`"`) || !strings.Contains(r.stdout, "--cafile "+cert) {
		t.Fatalf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	for _, host := range []string{"broker.example.com", "127.0.0.1", "::1"} {
		if err := verifies(t, cert, cert, host); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if err := verifies(t, cert, cert, "other.example.com"); err == nil {
		t.Error("good for any name")
	}
	c := readCert(t, cert)
	if public, ok := c.PublicKey.(*ecdsa.PublicKey); !ok || public.Curve != elliptic.P256() || c.IsCA {
		t.Errorf("key %T, authority: %v", c.PublicKey, c.IsCA)
	}
	if days := time.Until(c.NotAfter).Hours() / 24; days < 364 || days > 365 {
		t.Errorf("good for %v days", days)
	}
	if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(key); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}

	// Neither is overwritten, and nothing is left of the attempt, unless that is asked for.
	r = run(t, nil, args...)
	if after := readCert(t, cert); r.code != exitUsage || !strings.Contains(r.stderr, cert+" is there already: --force replaces it") || !after.Equal(c) {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	if r := run(t, nil, args...); r.code != exitUsage || !strings.Contains(r.stderr, key+" is there already") {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
	if r := run(t, nil, append(args, "--force")...); r.code != 0 {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
	if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
		t.Error(err)
	}
	if names, err := fs.Glob(os.DirFS(dir), "*"); err != nil || len(names) != 2 {
		t.Errorf("%v, %v", names, err)
	}
}

// An authority signs one certificate after the other.
func TestCertAuthority(t *testing.T) {
	unraced(t)
	t.Parallel()
	dir := t.TempDir()
	args := []string{"cert", "self-signed", "--ca", "--out", dir, "--host", "localhost"}
	if r := run(t, nil, args...); r.code != 0 || !strings.Contains(r.stdout, "--cafile "+filepath.Join(dir, caFile)) {
		t.Fatalf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	cert, ca, caKey := filepath.Join(dir, certFile), filepath.Join(dir, caFile), filepath.Join(dir, caKeyFile)
	first, authority := readCert(t, cert), readCert(t, ca)
	if err := verifies(t, ca, cert, "localhost"); err != nil {
		t.Error(err)
	}
	if r := run(t, nil, append(args, "--force")...); r.code != 0 {
		t.Fatalf("exit code %d\n%s", r.code, r.stderr)
	}
	if readCert(t, cert).Equal(first) || !readCert(t, ca).Equal(authority) {
		t.Error("the certificate is the same, or the authority is another")
	}
	if err := verifies(t, ca, cert, "localhost"); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(caKey); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := os.Remove(caKey); err != nil {
		t.Fatal(err)
	}
	if r := run(t, nil, append(args, "--force")...); r.code != exitFailure || !strings.Contains(r.stderr, ca+" alone") {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
}

func TestCertArguments(t *testing.T) {
	unraced(t)
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "tls")
	for _, args := range [][]string{
		{"--host", "a"}, {"--out", dir}, {"--out", dir, "--host", "a b"}, {"--out", dir, "--host", ""}, {"--out", dir, "--host", "a/b"},
		{"--out", dir, "--host", "a", "--days", "0"}, {"--out", dir, "--host", "http://a"}, {"--out", dir, "--host", "1.2.3.4:5"},
	} {
		if r := run(t, nil, append([]string{"cert", "self-signed"}, args...)...); r.code != exitUsage || r.stderr == "" {
			t.Errorf("%q: exit code %d\n%s", args, r.code, r.stderr)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the directory was made")
	}
}
