package link

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode/utf8"
)

// credentials are what the files of a TLSConfig had in them. They do not change.
type credentials struct {
	config      *tls.Config
	certificate *x509.Certificate // the Server's
	authorities *x509.CertPool    // nil: none
	revocations []*x509.RevocationList
	checked     bool // there is a CRLFile: whose issuer has no list there is refused
	user        CertificateName
	now         func() time.Time
	sums        sums // of the files
}

// sums tell the contents of files apart, by name.
type sums map[string][sha256.Size]byte

func (s sums) read(file string) ([]byte, error) {
	content, err := os.ReadFile(file)
	if err == nil {
		s[file] = sha256.Sum256(content)
	}
	return content, err
}

// loadCredentials reads the files. Its error names the one that is bad.
func loadCredentials(c *TLSConfig, now func() time.Time) (*credentials, error) {
	k := &credentials{user: c.UserFrom, checked: c.CRLFile != "", now: now, sums: make(sums)}
	pair, err := k.sums.loadPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, err
	}
	k.certificate = pair.Leaf
	switch {
	case c.ClientCert != ClientCertNone && c.ClientCAFile == "":
		return nil, errors.New("client certificates need a file with their authorities")
	case c.CRLFile != "" && c.ClientCAFile == "":
		return nil, fmt.Errorf("%s: revocation lists need a file with the authorities of client certificates", c.CRLFile)
	}
	if c.ClientCAFile != "" {
		issuers, err := k.sums.loadAuthorities(c.ClientCAFile)
		if err != nil {
			return nil, err
		}
		k.authorities = x509.NewCertPool()
		for _, issuer := range issuers {
			k.authorities.AddCert(issuer)
		}
		if k.revocations, err = k.sums.loadRevocations(c.CRLFile, issuers); err != nil {
			return nil, err
		}
	}
	k.config = &tls.Config{
		Certificates: []tls.Certificate{pair}, MinVersion: cmp.Or(c.MinVersion, tls.VersionTLS12), Time: now,
		ClientCAs: k.authorities, ClientAuth: clientAuths[c.ClientCert],
		// Also when a session is resumed, unlike VerifyPeerCertificate.
		VerifyConnection: k.verify,
	}
	return k, nil
}

var clientAuths = map[ClientCert]tls.ClientAuthType{
	ClientCertNone: tls.NoClientCert, ClientCertOptional: tls.VerifyClientCertIfGiven, ClientCertRequired: tls.RequireAndVerifyClientCert,
}

func (s sums) loadPair(certFile, keyFile string) (tls.Certificate, error) {
	certPEM, err := s.read(certFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate: %w", err)
	}
	keyPEM, err := s.read(keyFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("key: %w", err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate %s with key %s: %w", certFile, keyFile, err)
	}
	return pair, nil
}

// loadAuthorities reads certificates in PEM.
func (s sums) loadAuthorities(file string) ([]*x509.Certificate, error) {
	rest, err := s.read(file)
	if err != nil {
		return nil, fmt.Errorf("authorities of client certificates: %w", err)
	}
	var list []*x509.Certificate
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("authorities of client certificates: %s: certificate %d: %w", file, len(list)+1, err)
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("authorities of client certificates: %s: there is no certificate in PEM in it", file)
	}
	if left := bytes.TrimSpace(rest); len(left) > 0 {
		return nil, fmt.Errorf("authorities of client certificates: %s: what follows certificate %d is no PEM, or is cut off", file, len(list))
	}
	return list, nil
}

// loadRevocations reads revocation lists, in PEM or one in DER. Each must be signed by one of
// the issuers.
func (s sums) loadRevocations(file string, issuers []*x509.Certificate) ([]*x509.RevocationList, error) {
	if file == "" {
		return nil, nil
	}
	content, err := s.read(file)
	if err != nil {
		return nil, fmt.Errorf("revocation lists: %w", err)
	}
	list, err := ParseRevocations(content)
	if err != nil {
		return nil, fmt.Errorf("revocation lists: %s: %w", file, err)
	}
	for i, r := range list {
		if !signedByOne(r, issuers) {
			return nil, fmt.Errorf("revocation lists: %s: list %d, of %q, is signed by none of the authorities of client certificates", file, i+1, r.Issuer)
		}
	}
	return list, nil
}

// ParseRevocations returns the revocation lists of a file, one at least. Who signed them is not
// looked at.
func ParseRevocations(content []byte) (list []*x509.RevocationList, err error) {
	for _, der := range revocationBlocks(content) {
		r, err := x509.ParseRevocationList(der)
		if err != nil {
			return nil, fmt.Errorf("list %d: %w", len(list)+1, err)
		}
		list = append(list, r)
	}
	if len(list) == 0 {
		return nil, errors.New("there is no list in it")
	}
	return list, nil
}

func revocationBlocks(content []byte) (ders [][]byte) {
	if !bytes.Contains(content, []byte("-----BEGIN")) {
		return [][]byte{content}
	}
	for {
		var block *pem.Block
		if block, content = pem.Decode(content); block == nil {
			if len(bytes.TrimSpace(content)) > 0 {
				ders = append(ders, content) // cut off: parsing it says so
			}
			return ders
		}
		if block.Type == "X509 CRL" {
			ders = append(ders, block.Bytes)
		}
	}
}

func signedByOne(r *x509.RevocationList, issuers []*x509.Certificate) bool {
	for _, issuer := range issuers {
		if bytes.Equal(r.RawIssuer, issuer.RawSubject) && r.CheckSignatureFrom(issuer) == nil {
			return true
		}
	}
	return false
}

// A certificateError is why a client certificate that its authority has signed is refused.
type certificateError struct{ reason, detail string }

func (e *certificateError) Error() string { return e.reason + ": " + e.detail }

// verify looks at the client certificate of a new connection, also of one that resumes an
// earlier session: what has been revoked or replaced since holds for it too.
func (k *credentials) verify(cs tls.ConnectionState) error {
	if len(cs.PeerCertificates) == 0 {
		return nil // whether there must be one, crypto/tls has seen to
	}
	chains := cs.VerifiedChains
	if cs.DidResume {
		var err error
		if chains, err = k.chains(cs.PeerCertificates); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates, Err: err}
		}
	}
	if err := k.checkRevoked(chains); err != nil {
		return err
	}
	if k.user == NameNone || k.user == "" {
		return nil
	}
	if name := userOf(cs.PeerCertificates[0], k.user); name == "" || !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
		return &certificateError{"no user name", fmt.Sprintf("the certificate of %q has no %s that can be one", cs.PeerCertificates[0].Subject, k.user)}
	}
	return nil
}

func (k *credentials) chains(peer []*x509.Certificate) ([][]*x509.Certificate, error) {
	o := x509.VerifyOptions{Roots: k.authorities, Intermediates: x509.NewCertPool(), CurrentTime: k.now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if o.Roots == nil {
		o.Roots = x509.NewCertPool() // else those of the system would do
	}
	for _, c := range peer[1:] {
		o.Intermediates.AddCert(c)
	}
	return peer[0].Verify(o)
}

// checkRevoked returns nil if there is a chain of which no certificate is revoked.
func (k *credentials) checkRevoked(chains [][]*x509.Certificate) error {
	if !k.checked {
		return nil
	}
	err := error(&certificateError{"bad certificate", "there is no chain to an authority"})
	for _, chain := range chains {
		if err = k.checkChain(chain); err == nil {
			return nil
		}
	}
	return err
}

// checkChain fails unless each certificate but the last, which is trusted as such, is in date
// of a list of its issuer and not in it.
func (k *credentials) checkChain(chain []*x509.Certificate) error {
	for i := range len(chain) - 1 {
		if err := k.checkCertificate(chain[i], chain[i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (k *credentials) checkCertificate(c, issuer *x509.Certificate) error {
	known := false
	for _, r := range k.revocations {
		if !bytes.Equal(r.RawIssuer, issuer.RawSubject) || r.CheckSignatureFrom(issuer) != nil {
			continue
		}
		known = true
		if !r.NextUpdate.IsZero() && k.now().After(r.NextUpdate) {
			return &certificateError{"expired revocation list", fmt.Sprintf("that of %q was to be replaced by %s", issuer.Subject, r.NextUpdate.Format(time.RFC3339))}
		}
		for i := range r.RevokedCertificateEntries {
			if e := &r.RevokedCertificateEntries[i]; e.SerialNumber.Cmp(c.SerialNumber) == 0 {
				return &certificateError{"revoked", fmt.Sprintf("%q, serial number %x, since %s", c.Subject, c.SerialNumber, e.RevocationTime.Format(time.RFC3339))}
			}
		}
	}
	if !known {
		return &certificateError{"no revocation list", fmt.Sprintf("there is none of %q, who issued %q", issuer.Subject, c.Subject)}
	}
	return nil
}

// userOf returns the user name in a certificate; "": it has none.
func userOf(c *x509.Certificate, part CertificateName) string {
	first := func(names []string) string {
		if len(names) == 0 {
			return ""
		}
		return names[0]
	}
	switch part {
	case NameCN:
		return c.Subject.CommonName
	case NameSerial:
		return c.Subject.SerialNumber
	case NameDNS:
		return first(c.DNSNames)
	case NameEmail:
		return first(c.EmailAddresses)
	case NameURI:
		if len(c.URIs) > 0 {
			return c.URIs[0].String()
		}
	}
	return ""
}
