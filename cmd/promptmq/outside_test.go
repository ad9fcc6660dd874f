//go:build outside

package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// The tests with the tag outside run programs that others wrote against the binary: see
// the target outside of the Makefile for what has to be installed. They do not skip.

// program returns the path of a program that must be installed.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v: see the target outside in the Makefile", err)
	}
	return path
}

// output runs a program for at most a minute and returns what it wrote.
func output(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command("timeout", append([]string{"60", program(t, name)}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func portOf(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// freeAddress returns an address of 127.0.0.1 on which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// awaitPort waits until somebody listens.
func awaitPort(t *testing.T, addr string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// TestOutsideTLS: openssl and the clients of Mosquitto, with certificates of each kind.
func TestOutsideTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, other := newSigner(t, dir, "ca"), newSigner(t, dir, "other")
	tomorrow, yesterday := time.Now().Add(24*time.Hour), time.Now().Add(-24*time.Hour)
	ca.sign("server", tomorrow)
	ca.sign("good", tomorrow)
	ca.sign("late", yesterday)
	ca.revoke(ca.sign("revoked", tomorrow))
	other.sign("foreign", tomorrow)
	files := fmt.Sprintf("cert-file: %s, key-file: %s", ca.file("server", "crt"), ca.file("server", "key"))
	s := start(t, fmt.Sprintf(`
server:
  listeners:
    - {name: open, kind: tls, address: "127.0.0.1:0", %[1]s}
    - {name: strict, kind: tls, address: "127.0.0.1:0", %[1]s, client-cert: required, client-ca-file: %[2]s, crl-file: %[3]s, user-from: cn, anonymous: no}
`, files, ca.file("ca", "crt"), ca.file("ca", "crl")), "--log-level", "debug")

	out, err := output(t, "openssl", "s_client", "-brief", "-CAfile", ca.file("ca", "crt"), "-verify_return_error", "-connect", s.listening("open"))
	if err != nil || !strings.Contains(out, "Verification: OK") {
		t.Errorf("openssl: %v\n%s", err, out)
	}
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		if out, err := output(t, "openssl", "s_client", "-brief", version, "-CAfile", ca.file("ca", "crt"), "-connect", s.listening("open")); err != nil {
			t.Errorf("openssl %s: %v\n%s", version, err, out)
		}
	}
	if out, err := output(t, "openssl", "s_client", "-brief", "-tls1_1", "-cipher", "ALL@SECLEVEL=0", "-connect", s.listening("open")); err == nil {
		t.Errorf("openssl: TLS 1.1 was accepted\n%s", out)
	}

	publish := func(listener, ca, cert string) error {
		args := []string{"-h", "127.0.0.1", "-p", portOf(t, s.listening(listener)), "-t", "x", "-m", "x", "-q", "1", "--cafile", ca}
		if cert != "" {
			args = append(args, "--cert", filepath.Join(dir, cert+".crt"), "--key", filepath.Join(dir, cert+".key"))
		}
		out, err := output(t, "mosquitto_pub", args...)
		if err != nil {
			t.Logf("%s, certificate %q: %v: %s", listener, cert, err, strings.TrimSpace(out))
		}
		return err
	}
	for _, c := range []struct {
		listener, ca, cert string
		works              bool
	}{
		{"open", "ca", "", true},
		{"open", "other", "", false},    // the client does not know who signed
		{"open", "ca", "foreign", true}, // it is not asked for
		{"strict", "ca", "good", true},
		{"strict", "ca", "", false},
		{"strict", "ca", "late", false},
		{"strict", "ca", "revoked", false},
		{"strict", "ca", "foreign", false},
	} {
		if err := publish(c.listener, ca.file(c.ca, "crt"), c.cert); (err == nil) != c.works {
			t.Errorf("listener %s, authority %s, certificate %q: %v, want success %v", c.listener, c.ca, c.cert, err, c.works)
		}
	}
}

// TestOutsideCertificateSwap: certificates are replaced twice beside 5,000 messages a second. No
// connection ends, no message is missing, and new connections get the new certificate.
func TestOutsideCertificateSwap(t *testing.T) {
	t.Parallel()
	const messages, tick, perTick = 15_000, 10 * time.Millisecond, 50
	ca := newSigner(t, t.TempDir(), "ca")
	tomorrow := time.Now().Add(24 * time.Hour)
	ca.sign("server", tomorrow)
	s := start(t, fmt.Sprintf(`
server:
  listeners:
    - {name: secure, kind: tls, address: "127.0.0.1:0", cert-file: %s, key-file: %s}
`, ca.file("server", "crt"), ca.file("server", "key")))
	client := func(id string) *raw {
		c, _ := dialSigned(t, s.listening("secure"), ca)
		p, ack := connectOver(t, c, codec.Version5, id, nil)
		if ack.Reason != codec.Success {
			t.Fatal(ack.Reason)
		}
		return p
	}
	sub, pub := client("sub"), client("pub")
	sub.subscribeOne("x", 0)

	received := make(chan int)
	go func() {
		n := 0
		defer func() { received <- n }()
		for ; n < messages; n++ {
			if f, err := sub.next(); err != nil || f.Type() != codec.TypePublish {
				t.Errorf("after %d messages: %v %v", n, f, err)
				return
			}
		}
	}()
	var batch []byte
	for range perTick {
		batch, _ = codec.AppendPublish(batch, &codec.Publish{Topic: codec.View("x"), Payload: codec.View("0123456789abcdef")}, codec.Version5)
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for n := 0; n < messages; n += perTick {
		if n == messages/3 || n == 2*messages/3 {
			want := ca.sign("server", tomorrow)
			defer awaitCertificate(t, s, ca, want, n == 2*messages/3)
		}
		<-ticker.C
		pub.send(batch, nil)
	}
	if n := <-received; n != messages {
		t.Errorf("%d messages came, want %d", n, messages)
	}
	sub.quiet()
	pub.quiet()
}

// awaitCertificate waits until new connections get the certificate, if it is the last one.
func awaitCertificate(t *testing.T, s *server, ca *signer, want *x509.Certificate, last bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); last; time.Sleep(50 * time.Millisecond) {
		c, got := dialSigned(t, s.listening("secure"), ca)
		c.Close()
		if got.Equal(want) {
			return
		}
		if time.Now().After(end) {
			t.Errorf("new connections still get certificate %v, want %v", got.SerialNumber, want.SerialNumber)
			return
		}
	}
}

// dialSigned connects to a listener and returns what it shows.
func dialSigned(t *testing.T, addr string, ca *signer) (*tls.Conn, *x509.Certificate) {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: ca.pool(), ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	return c, c.ConnectionState().PeerCertificates[0]
}
