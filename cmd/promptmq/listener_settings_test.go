package main

import (
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
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/x0a1b/promptmq/codec"
)

// A listenerWorld is a broker with a listener for each test of listenerTests, and who connects.
type listenerWorld struct {
	*server
	dir     string
	good    tls.Certificate // of a client, from the authority of the listeners
	revoked tls.Certificate
	other   tls.Certificate // of nobody that they know
}

const listenerYAML = `log: {level: debug}
server:
  connect-timeout: 1h
  listeners:
  - {kind: tcp, name: plain, address: '127.0.0.1:0', max-connections: 2}
  - {kind: tcp, name: shut, address: '127.0.0.1:0', anonymous: 'no'}
  - {kind: tls, name: secure, address: '127.0.0.1:0', cert-file: DIR/cert.pem, key-file: DIR/key.pem, handshake-timeout: 300ms}
  - {kind: tls, name: strict, address: '127.0.0.1:0', cert-file: DIR/cert.pem, key-file: DIR/key.pem, client-cert: required, client-ca-file: DIR/ca.pem, crl-file: DIR/crl.pem, user-from: cn, min-tls-version: 1.3, anonymous: 'no'}
  - {kind: tls, name: door, address: '127.0.0.1:0', cert-file: DIR/cert.pem, key-file: DIR/key.pem, client-cert: required, client-ca-file: DIR/ca.pem, anonymous: 'no'}
  - {kind: ws, name: web, address: '127.0.0.1:0', path: /mqtt, origins: 'https://app.example.com', subprotocols: [mqtt]}
  - {kind: ws, name: pings, address: '127.0.0.1:0', ping-interval: 1s}
  - {kind: tcp, name: proxied, address: '127.0.0.1:0', proxy-protocol: true, trusted-proxies: [127.0.0.1], anonymous: 'yes'}
  - {kind: tcp, name: distrusting, address: '127.0.0.1:0', proxy-protocol: true, trusted-proxies: [192.0.2.1], anonymous: 'yes'}
  - {kind: ws, name: forwarded, address: '127.0.0.1:0', forwarded-for: true, trusted-proxies: [127.0.0.1]}
  - {kind: unix, name: local, address: DIR/mqtt.sock, mode: "0666"}
`

// listenerTests show the effect of each key of server.listeners.
var listenerTests = map[string]func(t *testing.T, w *listenerWorld){
	"kind": func(t *testing.T, w *listenerWorld) {
		if _, err := w.handshake("secure", nil, 0); err != nil {
			t.Errorf("tls: %v", err)
		}
		if _, err := w.handshake("plain", nil, 0); err == nil {
			t.Error("tcp: has TLS")
		}
	},
	"address": func(t *testing.T, w *listenerWorld) {
		nc, err := net.Dial("unix", filepath.Join(w.dir, "mqtt.sock"))
		if err != nil {
			t.Fatal(err)
		}
		if _, ack := connectOver(t, nc, codec.Version5, "socket", nil); ack.Reason != codec.Success {
			t.Errorf("CONNACK %v", ack.Reason)
		}
	},
	"name": func(t *testing.T, w *listenerWorld) { w.listening("distrusting") },
	"max-connections": func(t *testing.T, w *listenerWorld) {
		for i := range 2 {
			connectRaw(t, w.listening("plain"), codec.Version5, fmt.Sprint("plain", i), nil)
		}
		eventually(t, "a third is closed", func() bool { return w.closes("plain", "\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00") })
	},
	"anonymous": func(t *testing.T, w *listenerWorld) {
		if _, ack := connectRaw(t, w.listening("shut"), codec.Version5, "shut", nil); ack.Reason != codec.NotAuthorized {
			t.Errorf("CONNACK %v", ack.Reason)
		}
	},
	"cert-file": func(t *testing.T, w *listenerWorld) {
		state, err := w.handshake("secure", nil, 0)
		if err != nil || state.PeerCertificates[0].SerialNumber.Int64() != 7 {
			t.Errorf("%v", err)
		}
	},
	"key-file": func(t *testing.T, w *listenerWorld) { // which signs the handshake
		if _, err := w.handshake("secure", nil, tls.VersionTLS13); err != nil {
			t.Error(err)
		}
	},
	"client-cert": func(t *testing.T, w *listenerWorld) {
		if _, err := w.handshake("door", nil, 0); err == nil {
			t.Error("who has none comes in")
		}
	},
	"client-ca-file": func(t *testing.T, w *listenerWorld) {
		if _, err := w.handshake("door", &w.other, 0); err == nil {
			t.Error("a certificate of another authority is good")
		}
		if _, err := w.handshake("door", &w.revoked, 0); err != nil {
			t.Errorf("one of this authority: %v", err)
		}
	},
	"crl-file": func(t *testing.T, w *listenerWorld) {
		if _, err := w.handshake("strict", &w.revoked, 0); err == nil {
			t.Error("a revoked certificate is good")
		}
		if _, err := w.handshake("strict", &w.good, 0); err != nil {
			t.Error(err)
		}
	},
	"user-from": func(t *testing.T, w *listenerWorld) {
		for name, want := range map[string]codec.ReasonCode{"strict": codec.Success, "door": codec.NotAuthorized} {
			nc, err := tls.Dial("tcp", w.listening(name), &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{w.good}})
			if err != nil {
				t.Fatal(err)
			}
			if _, ack := connectOver(t, nc, codec.Version5, "by-certificate", nil); ack.Reason != want {
				t.Errorf("%s: CONNACK %v", name, ack.Reason)
			}
		}
	},
	"min-tls-version": func(t *testing.T, w *listenerWorld) {
		if _, err := w.handshake("strict", &w.good, tls.VersionTLS12); err == nil {
			t.Error("TLS 1.2 is taken")
		}
		if _, err := w.handshake("door", &w.good, tls.VersionTLS12); err != nil {
			t.Error(err)
		}
	},
	"handshake-timeout": func(t *testing.T, w *listenerWorld) {
		if !w.closes("secure", "") {
			t.Error("who says nothing is not closed")
		}
	},
	"origins": func(t *testing.T, w *listenerWorld) {
		w.web(t, "web", "/mqtt", "mqtt", "https://app.example.com", 101)
		w.web(t, "web", "/mqtt", "mqtt", "https://evil.example", 403)
	},
	"path":         func(t *testing.T, w *listenerWorld) { w.web(t, "web", "/else", "mqtt", "", 404) },
	"subprotocols": func(t *testing.T, w *listenerWorld) { w.web(t, "web", "/mqtt", "mqttv3.1", "", 400) },
	"ping-interval": func(t *testing.T, w *listenerWorld) {
		nc, _ := upgrade(t, &server{t: t, ws: w.listening("pings")})
		got := make([]byte, 2)
		if _, err := io.ReadFull(nc, got); err != nil || got[0] != 0x89 {
			t.Errorf("%x, %v", got, err)
		}
	},
	"proxy-protocol": func(t *testing.T, w *listenerWorld) {
		nc := dialTCP(t, w.listening("proxied"))
		if _, err := io.WriteString(nc, "PROXY TCP4 203.0.113.9 192.0.2.1 4711 1883\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, ack := connectOver(t, nc, codec.Version5, "proxied", nil); ack.Reason != codec.Success {
			t.Errorf("CONNACK %v", ack.Reason)
		}
		if !w.closes("proxied", "\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00") {
			t.Error("no header is needed")
		}
	},
	"trusted-proxies": func(t *testing.T, w *listenerWorld) {
		if !w.closes("distrusting", "PROXY TCP4 203.0.113.9 192.0.2.1 4711 1883\r\n\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00") {
			t.Error("anybody's header is believed")
		}
	},
	"forwarded-for": func(t *testing.T, w *listenerWorld) { // the log says where the client is
		for name, want := range map[string]string{"pings": "127.0.0.1", "forwarded": "203.0.113.9"} {
			ws, _, err := websocket.Dial(t.Context(), "ws://"+w.listening(name), &websocket.DialOptions{
				Subprotocols: []string{"mqtt"}, HTTPHeader: http.Header{"X-Forwarded-For": {"203.0.113.9"}}})
			if err != nil {
				t.Fatal(err)
			}
			if _, ack := connectOver(t, websocket.NetConn(t.Context(), ws, websocket.MessageBinary), codec.Version5, "by-"+name, nil); ack.Reason != codec.NotAuthorized {
				t.Errorf("%s: CONNACK %v", name, ack.Reason) // it is not taken for one of this machine
			}
			eventually(t, "the log says where "+name+" is", func() bool {
				return slices.ContainsFunc(w.log(), func(r record) bool {
					return r.text("client") == "by-"+name && strings.HasPrefix(r.text("remote"), want)
				})
			})
		}
	},
	"mode": func(t *testing.T, w *listenerWorld) {
		info, err := os.Stat(filepath.Join(w.dir, "mqtt.sock"))
		if err != nil || info.Mode().Perm() != 0o666 {
			t.Errorf("%v, %v", info, err)
		}
	},
}

// TestListenerSettings: TestEveryKey compares the tests with the keys.
func TestListenerSettings(t *testing.T) {
	t.Parallel()
	w := newListenerWorld(t)
	for name, test := range listenerTests {
		t.Run(name, func(t *testing.T) {
			shows(t, "server.listeners."+name)
			test(t, w)
		})
	}
}

func newListenerWorld(t *testing.T) *listenerWorld {
	t.Helper()
	w := &listenerWorld{dir: t.TempDir()}
	ours, theirs := newAuthority(t), newAuthority(t)
	w.good, w.revoked, w.other = ours.issue(t, 1), ours.issue(t, 2), theirs.issue(t, 3)
	writeCertificate(t, w.dir, 7)
	list, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(2), RevocationTime: time.Now().Add(-time.Minute)}},
	}, ours.cert, ours.key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(w.dir, "ca.pem"), "CERTIFICATE", ours.cert.Raw)
	writePEM(t, filepath.Join(w.dir, "crl.pem"), "X509 CRL", list)
	w.server = start(t, strings.ReplaceAll(listenerYAML, "DIR", w.dir))
	return w
}

// handshake does that of TLS with a listener, as a client with a certificate and no version above
// most, and reads what comes of it.
func (w *listenerWorld) handshake(name string, cert *tls.Certificate, most uint16) (state tls.ConnectionState, err error) {
	c := &tls.Config{InsecureSkipVerify: true, MaxVersion: most}
	if cert != nil {
		c.Certificates = []tls.Certificate{*cert}
	}
	nc, err := tls.DialWithDialer(&net.Dialer{Timeout: clientSeconds * time.Second}, "tcp", w.listening(name), c)
	if err != nil {
		return state, err
	}
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(clientSeconds * time.Second)); err != nil {
		return state, err
	}
	if _, err := io.WriteString(nc, "\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00"); err != nil {
		return state, err
	}
	_, err = io.ReadFull(nc, make([]byte, 4)) // of TLS 1.3 a refused certificate is known here
	return nc.ConnectionState(), err
}

// closes reports whether a listener closes a connection on which text was sent, and answers
// nothing.
func (w *listenerWorld) closes(name, text string) bool {
	nc, err := net.Dial("tcp", w.listening(name))
	if err != nil {
		return false
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(clientSeconds * time.Second))
	_, _ = io.WriteString(nc, text)
	got, err := io.ReadAll(nc)
	return len(got) == 0 && !errors.Is(err, os.ErrDeadlineExceeded)
}

// web asks a listener for a WebSocket.
func (w *listenerWorld) web(t *testing.T, name, path, subprotocol, origin string, want int) {
	t.Helper()
	header := http.Header{}
	if origin != "" {
		header.Set("Origin", origin)
	}
	ws, resp, err := websocket.Dial(t.Context(), "ws://"+w.listening(name)+path, &websocket.DialOptions{Subprotocols: []string{subprotocol}, HTTPHeader: header})
	if err == nil {
		_ = ws.CloseNow()
	}
	if resp == nil || resp.StatusCode != want {
		t.Errorf("%s of %s: %v, not %d", path, origin, err, want)
	}
}

// A clientAuthority signs certificates of clients.
type clientAuthority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *clientAuthority {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	a := new(clientAuthority)
	a.key = newKey(t)
	a.cert = signed(t, template, template, &a.key.PublicKey, a.key)
	return a
}

// issue makes a certificate of a client.
func (a *clientAuthority) issue(t *testing.T, serial int64) tls.Certificate {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "device"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	return tls.Certificate{Certificate: [][]byte{signed(t, template, a.cert, &key.PublicKey, a.key).Raw}, PrivateKey: key}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func signed(t *testing.T, template, parent *x509.Certificate, public *ecdsa.PublicKey, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
