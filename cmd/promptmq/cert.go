package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/config"
)

// The files that `cert self-signed` writes.
const (
	certFile   = "cert.pem"
	keyFile    = "key.pem"
	caFile     = "ca.pem"
	caKeyFile  = "ca-key.pem"
	caLifetime = 10 * 365 * 24 * time.Hour
)

type certCommand struct {
	SelfSigned selfSignedCommand `cmd:"" help:"Make a certificate that clients can be told to trust."`
}

type selfSignedCommand struct {
	Out   string   `required:"" placeholder:"DIR" help:"Directory for the files; created when missing."`
	Host  []string `required:"" placeholder:"NAME" help:"Name or IP address by which clients reach the broker. May be given several times."`
	Days  int      `default:"365" help:"How long the certificate is good for."`
	CA    bool     `name:"ca" help:"Make an authority too, or take the one in the directory, and let it sign the certificate: clients that trust it trust the next certificate as well."`
	Force bool     `help:"Replace a certificate and key that are there. An authority is never replaced."`
}

// hostName matches what may stand as a DNS name in a certificate.
var hostName = regexp.MustCompile(`^(\*\.)?([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$`)

// Validate implements the check of arguments.
func (c *selfSignedCommand) Validate() error {
	if len(c.Host) == 0 {
		return errors.New("--host must not be empty")
	}
	for _, host := range c.Host {
		if _, err := netip.ParseAddr(host); err != nil && (!hostName.MatchString(host) || len(host) > 253) {
			return fmt.Errorf("--host=%q is neither a host name nor an IP address", host)
		}
	}
	if c.Days < 1 || c.Days > 3650 {
		return fmt.Errorf("--days=%d must be from 1 to 3650", c.Days)
	}
	return nil
}

// Run implements the command.
func (c *selfSignedCommand) Run() error {
	template, trusted, err := c.make(time.Now())
	if err != nil {
		return err
	}
	return c.explain(os.Stdout, template, trusted)
}

// make writes the files, and returns what is certified, and the file that clients trust.
func (c *selfSignedCommand) make(now time.Time) (template *x509.Certificate, trusted string, err error) {
	if err := os.MkdirAll(c.Out, 0o700); err != nil {
		return nil, "", err
	}
	template = c.template(now)
	var signer *authority
	trusted = certFile
	if c.CA {
		if signer, err = openAuthority(c.Out, now); err != nil {
			return nil, "", err
		}
		trusted = caFile
		if end := signer.cert.NotAfter; template.NotAfter.After(end) {
			template.NotAfter = end
		}
	}
	if err := c.free(certFile, keyFile); err != nil {
		return nil, "", err
	}
	key, certificate, err := issue(template, signer)
	if err != nil {
		return nil, "", err
	}
	// The key goes first: a broker that sees the certificate change finds the key that fits.
	if err := writePrivate(filepath.Join(c.Out, keyFile), key); err != nil {
		return nil, "", err
	}
	return template, trusted, writeWhole(filepath.Join(c.Out, certFile), certificate, 0o644)
}

// free makes sure that files are not there, unless they are to be replaced.
func (c *selfSignedCommand) free(names ...string) error {
	for _, name := range names {
		path := filepath.Join(c.Out, name)
		if _, err := os.Lstat(path); err == nil && !c.Force {
			return admin.Refuse("%s is there already: --force replaces it", path)
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (c *selfSignedCommand) template(now time.Time) *x509.Certificate {
	t := newTemplate(c.Host[0], now, time.Duration(c.Days)*24*time.Hour)
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, host := range c.Host {
		if ip, err := netip.ParseAddr(host); err == nil {
			t.IPAddresses = append(t.IPAddresses, ip.AsSlice())
		} else {
			t.DNSNames = append(t.DNSNames, host)
		}
	}
	return t
}

// explain says which keys to set, and how clients come to trust the certificate.
func (c *selfSignedCommand) explain(w io.Writer, t *x509.Certificate, trusted string) error {
	dir := config.Absolute(c.Out)
	_, err := fmt.Fprintf(w, `%[1]s is good for %[3]s until %[4]s; its key, %[2]s, is for the broker alone.

In the configuration:

  server:
    listeners:
      - kind: tls
        address: ":8883"
        cert-file: %[1]q
        key-file: %[2]q

Clients trust it with %[5]s:

  mosquitto_pub --cafile %[5]s -h %[6]s -p 8883 -t test -m hello
`, filepath.Join(dir, certFile), filepath.Join(dir, keyFile), strings.Join(c.Host, ", "), t.NotAfter.Format(time.DateOnly), filepath.Join(dir, trusted), c.Host[0])
	return err
}

func newTemplate(name string, now time.Time, lifetime time.Duration) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) // rand.Reader does not fail
	return &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)),
		Subject:      pkix.Name{CommonName: name[:min(len(name), 64)]}, // RFC 5280 has no longer one
		NotBefore:    now.Add(-time.Hour),                              // for clocks that are behind
		NotAfter:     now.Add(lifetime),

		BasicConstraintsValid: true,
	}
}

// An authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// openAuthority returns the authority of a directory, which is made if there is none.
func openAuthority(dir string, now time.Time) (*authority, error) {
	certPath, keyPath := filepath.Join(dir, caFile), filepath.Join(dir, caKeyFile)
	pair, err := tls.LoadX509KeyPair(certPath, keyPath)
	switch {
	case err == nil:
		key, ok := pair.PrivateKey.(crypto.Signer)
		if !ok || !pair.Leaf.IsCA || now.After(pair.Leaf.NotAfter) {
			return nil, fmt.Errorf("%s is no authority, or not any more: set it aside for a new one", certPath)
		}
		return &authority{pair.Leaf, key}, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the authority in %s: %w", dir, err)
	}
	for _, path := range []string{certPath, keyPath} {
		if _, err := os.Lstat(path); err == nil {
			return nil, fmt.Errorf("of the authority there is %s alone: set it aside, or find the other file", path)
		}
	}
	t := newTemplate("PromptMQ authority", now, caLifetime)
	t.IsCA, t.MaxPathLenZero = true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	key, certificate, err := issue(t, nil)
	if err != nil {
		return nil, err
	}
	if err := writePrivate(keyPath, key); err != nil {
		return nil, err
	}
	if err := writeWhole(certPath, certificate, 0o644); err != nil {
		return nil, err
	}
	return openAuthority(dir, now)
}

// issue makes a key, and its certificate as PEM; without signer the key signs it itself.
func issue(template *x509.Certificate, signer *authority) (key *ecdsa.PrivateKey, certificate []byte, err error) {
	key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if signer == nil {
		signer = &authority{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer.cert, key.Public(), signer.key)
	if err != nil {
		return nil, nil, err
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

func writePrivate(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writeWhole(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

// writeWhole writes a file under another name first, so that nobody reads a part of it.
func writeWhole(path string, text []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // with mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
