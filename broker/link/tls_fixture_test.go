package link

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// An authority issues certificates.
type authority struct {
	t      *testing.T
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	serial int64
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte(name),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// An issued certificate has its key.
type issued struct {
	cert    *x509.Certificate
	pair    tls.Certificate
	certPEM []byte
	keyPEM  []byte
}

// issue makes a certificate, for servers on 127.0.0.1 and for clients, that lasts for so long.
func (a *authority) issue(name string, lasts time.Duration) issued {
	a.t.Helper()
	a.serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(100 + a.serial), Subject: pkix.Name{CommonName: name, SerialNumber: "no. " + name},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(lasts),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames: []string{name + ".example"}, EmailAddresses: []string{name + "@example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		URIs: []*url.URL{{Scheme: "urn", Opaque: name}},
	}
	key := newKey(a.t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	i := issued{
		certPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		keyPEM:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
	if i.pair, err = tls.X509KeyPair(i.certPEM, i.keyPEM); err != nil {
		a.t.Fatal(err)
	}
	i.cert = i.pair.Leaf
	return i
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// revoke is a revocation list of these certificates, to be replaced after so long.
func (a *authority) revoke(lasts time.Duration, certs ...*x509.Certificate) []byte {
	a.t.Helper()
	a.serial++
	list := &x509.RevocationList{Number: big.NewInt(a.serial), ThisUpdate: time.Now().Add(-2 * time.Hour), NextUpdate: time.Now().Add(lasts)}
	for _, c := range certs {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.cert, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

// A tlsFixture is the files of a listener with TLS.
type tlsFixture struct {
	t  *testing.T
	ca *authority
	TLSConfig
}

func newTLSFixture(t *testing.T) *tlsFixture {
	t.Helper()
	dir := t.TempDir()
	f := &tlsFixture{t: t, ca: newAuthority(t, "authority"), TLSConfig: TLSConfig{
		CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem"),
	}}
	f.serve(f.ca.issue("server", time.Hour))
	return f
}

func (f *tlsFixture) serve(i issued) {
	f.t.Helper()
	f.write(f.KeyFile, i.keyPEM)
	f.write(f.CertFile, i.certPEM)
}

func (f *tlsFixture) write(file string, content ...[]byte) {
	f.t.Helper()
	if err := os.WriteFile(file, bytes.Join(content, nil), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// askFor has the listener ask for client certificates of the authority.
func (f *tlsFixture) askFor(c ClientCert) {
	f.t.Helper()
	f.ClientCert, f.ClientCAFile = c, f.CertFile+".ca"
	f.write(f.ClientCAFile, f.ca.pem())
}

// revoked gives the listener a revocation list.
func (f *tlsFixture) revoked(lasts time.Duration, certs ...*x509.Certificate) {
	f.t.Helper()
	f.CRLFile = f.CertFile + ".crl"
	f.write(f.CRLFile, f.ca.revoke(lasts, certs...))
}

// client is the side of a client that trusts the authority, with certificates or none.
func (f *tlsFixture) client(certs ...issued) *tls.Config {
	c := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "127.0.0.1"}
	c.RootCAs.AddCert(f.ca.cert)
	for _, i := range certs {
		c.Certificates = append(c.Certificates, i.pair)
	}
	return c
}

// echoes returns nil if a new connection sends back what it gets.
func echoes(nc net.Conn, c *tls.Config) (*tls.Conn, error) {
	tc := tls.Client(nc, c)
	if _, err := tc.Write([]byte("hello")); err != nil {
		return tc, err
	}
	b := make([]byte, 5)
	_, err := tc.Read(b)
	return tc, err
}

// failures is how many handshakes failed for a reason.
func (n *Network) failures(reason string) uint64 {
	return n.c.Metrics.HandshakeFailures(reason).Get()
}
