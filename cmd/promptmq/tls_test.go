package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// writeCertificate puts a certificate with that number, signed by itself, and its key in files.
func writeCertificate(t *testing.T, dir string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"key.pem": {Type: "PRIVATE KEY", Bytes: keyDER}, "cert.pem": {Type: "CERTIFICATE", Bytes: der}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// listening returns the address of a listener.
func (s *server) listening(name string) string {
	s.t.Helper()
	for _, r := range s.linesOf("listening") {
		if r.text("listener") == name {
			return r.text("addr")
		}
	}
	s.t.Fatalf("%s does not listen", name)
	return ""
}

// Codes of a CONNACK of MQTT 3.1.1.
const accepted, notAuthorized = 0, 5

// connackOf sends a CONNECT of MQTT 3.1.1 and returns the code of CONNACK.
func connackOf(t *testing.T, nc net.Conn) byte {
	t.Helper()
	if err := nc.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(nc, "\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4)
	if _, err := io.ReadFull(nc, b); err != nil || b[0] != 0x20 {
		t.Fatalf("% x, %v", b, err)
	}
	return b[3]
}

// TestListenersAndReload: the listeners of the list serve; what of them can change does with
// SIGHUP, the certificate too, and a bad one keeps all as it was.
func TestListenersAndReload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeCertificate(t, dir, 1)
	socket := filepath.Join(dir, "mqtt.sock")
	yaml := func(tlsMore string) string {
		return fmt.Sprintf("server:\n  listeners:\n  - {kind: tls, address: '127.0.0.1:0', cert-file: %[1]s/cert.pem, key-file: %[1]s/key.pem%[2]s}\n  - {kind: unix, address: %[3]s}\n"+
			"  - {name: behind, kind: ws, address: '127.0.0.1:0', forwarded-for: true, trusted-proxies: [127.0.0.1]}\n  - {name: shut, kind: tcp, address: '127.0.0.1:0', anonymous: 'no'}\n  - {name: open, kind: tcp, address: '127.0.0.1:0', anonymous: 'yes'}\n",
			dir, tlsMore, socket)
	}
	s := start(t, yaml(""))
	dialTLS := func() *tls.Conn {
		nc, err := tls.Dial("tcp", s.listening("tls"), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = nc.Close() })
		return nc
	}
	stays := dialTLS()
	if got := connackOf(t, stays); got != accepted {
		t.Errorf("TLS: CONNACK %v", got)
	}
	local, err := net.Dial("unix", s.listening("unix"))
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	if got := connackOf(t, local); got != accepted {
		t.Errorf("Unix socket: CONNACK %v", got)
	}
	for name, want := range map[string]string{"mqtt": "this machine", "tls": "this machine", "unix": "this machine", "behind": "nobody", "shut": "nobody", "open": "everybody"} {
		for _, r := range s.linesOf("listening") {
			if r.text("listener") == name && r.text("without_credentials") != want {
				t.Errorf("%v, want %q", r, want)
			}
		}
	}
	if left := s.metric(`promptmq_tls_cert_expiry_seconds{listener="tls"}`); left < 3000 || left > 3600 {
		t.Errorf("the certificate ends in %v s", left)
	}

	s.write(yaml(", anonymous: 'no', proxy-protocol: true, trusted-proxies: [127.0.0.1]"))
	writeCertificate(t, dir, 2)
	if r := s.hangup(); !slices.Equal(r.texts("changed"), []string{"server.listeners[tls].anonymous", "server.listeners[tls].trusted-proxies"}) ||
		!slices.Equal(r.texts("needs_restart"), []string{"server.listeners[tls].proxy-protocol"}) {
		t.Errorf("%v", r)
	}
	nc := dialTLS()
	if got := nc.ConnectionState().PeerCertificates[0].SerialNumber.Int64(); got != 2 {
		t.Errorf("certificate %d", got)
	}
	if got := connackOf(t, nc); got != notAuthorized {
		t.Errorf("with anonymous: no, CONNACK %v", got)
	}

	s.write(yaml("")) // what would let everybody in again
	if err := os.WriteFile(filepath.Join(dir, "cert.pem"), []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := s.hangup(); r.text("msg") != notReloaded || !strings.Contains(fmt.Sprint(r.texts("faults")), "cert.pem") {
		t.Errorf("%v", r)
	}
	if got := connackOf(t, dialTLS()); got != notAuthorized {
		t.Errorf("after a bad certificate, CONNACK %v", got)
	}
	if _, err := stays.Write([]byte{0xC0, 0}); err != nil { // PINGREQ
		t.Error(err)
	}
	if b := make([]byte, 2); true {
		if _, err := io.ReadFull(stays, b); err != nil || b[0] != 0xD0 {
			t.Errorf("a connection that was there: % x, %v", b, err)
		}
	}
}
