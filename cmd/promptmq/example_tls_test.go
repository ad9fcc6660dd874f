package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/x0a1b/promptmq/codec"
)

// exampleCertificates puts into dir/tls what the examples with TLS name: a certificate of the
// server, and the authority ca of clients with its revocation list, as NAME-ca.pem and NAME-crl.pem.
func exampleCertificates(t *testing.T, dir, name string) *signer {
	t.Helper()
	if err := os.Mkdir(filepath.Join(dir, "tls"), 0o700); err != nil {
		t.Fatal(err)
	}
	ca := newSigner(t, filepath.Join(dir, "tls"), "ca")
	tomorrow := time.Now().Add(24 * time.Hour)
	ca.sign("server", tomorrow)
	ca.revoke(ca.sign("revoked", tomorrow))
	for from, to := range map[string]string{"server.crt": "cert.pem", "server.key": "key.pem", "ca.crt": name + "-ca.pem", "ca.crl": name + "-crl.pem"} {
		if err := os.Link(filepath.Join(ca.dir, from), filepath.Join(ca.dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	return ca
}

// over connects over TLS, with the certificate of that name if there is one. The error is that of the
// handshake, which with TLS 1.3 the client learns when it reads.
func (a *signer) over(s *server, listener, cert, id string, change func(*codec.Connect)) (*raw, codec.Connack, error) {
	a.t.Helper()
	config := &tls.Config{RootCAs: a.pool(), ServerName: "localhost"}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(a.file(cert, "crt"), a.file(cert, "key"))
		if err != nil {
			a.t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	nc, err := tls.Dial("tcp", s.listening(listener), config)
	if err != nil {
		return nil, codec.Connack{}, err
	}
	p := newRaw(a.t, nc, codec.Version5)
	c := codec.Connect{ClientID: codec.View(id), CleanStart: true, ReceiveMaximum: 65535}
	if change != nil {
		change(&c)
	}
	p.send(codec.AppendConnect(nil, &c, p.v))
	var ack codec.Connack
	f, err := p.next()
	if err == nil {
		err = ack.Decode(f, p.v)
	}
	return p, ack, err
}

// refuses checks that a certificate does not open the listener.
func (a *signer) refuses(s *server, listener string, certs ...string) {
	a.t.Helper()
	for _, cert := range certs {
		if _, _, err := a.over(s, listener, cert, "stranger", nil); err == nil {
			a.t.Errorf("listener %s is open for the certificate %q", listener, cert)
		}
	}
}

// TestExampleInternet: nobody without credentials, by each of the ways in.
func TestExampleInternet(t *testing.T) {
	unraced(t)
	t.Parallel()
	dir := t.TempDir()
	ca := exampleCertificates(t, dir, "factory")
	ca.sign("press-7", time.Now().Add(time.Hour))
	s := startExample(t, "internet", dir, "--server-bind", "", "--server-ws-bind", "")
	if s.mqtt != "" || s.ws != "" {
		t.Errorf("plain MQTT is offered at %s %s", s.mqtt, s.ws)
	}
	commander{t, s.dataDir()}.add("ann", "secret")
	for _, c := range []struct {
		listener, cert string
		change         func(*codec.Connect)
		want           codec.ReasonCode
	}{
		{"devices", "", nil, codec.NotAuthorized}, {"devices", "", byUser("ann", "wrong"), codec.BadUserNameOrPassword}, {"devices", "", byUser("ann", "secret"), codec.Success},
		{"factory", "press-7", nil, codec.Success},
	} {
		if _, ack, err := ca.over(s, c.listener, c.cert, "c-"+c.listener, c.change); err != nil || ack.Reason != c.want {
			t.Errorf("%s: %v, %v, want %v", c.listener, ack.Reason, err, c.want)
		}
	}
	ca.refuses(s, "factory", "", "revoked")
	for origin, want := range map[string]int{"https://app.example.com": http.StatusSwitchingProtocols, "https://evil.example": http.StatusForbidden} {
		ws, resp, err := websocket.Dial(t.Context(), "ws://"+s.listening("web")+"/mqtt", &websocket.DialOptions{
			Subprotocols: []string{"mqtt"}, HTTPHeader: http.Header{"Origin": {origin}, "X-Forwarded-For": {"203.0.113.9"}}})
		if resp == nil || resp.StatusCode != want {
			t.Fatalf("%s: %v, %v", origin, resp, err)
		}
		if err == nil {
			if _, ack := connectOver(t, websocket.NetConn(t.Context(), ws, websocket.MessageBinary), codec.Version5, "page", nil); ack.Reason != codec.NotAuthorized {
				t.Errorf("a page without credentials: %v", ack.Reason)
			}
		}
	}
	local, err := net.Dial("unix", s.listening("local"))
	if err != nil {
		t.Fatal(err)
	}
	if _, ack := connectOver(t, local, codec.Version5, "local", nil); ack.Reason != codec.Success {
		t.Errorf("a program of this machine: %v", ack.Reason)
	}
}

// TestExampleFleet: a device has what is its own by the common name of its certificate, and no more than its share.
func TestExampleFleet(t *testing.T) {
	unraced(t)
	t.Parallel()
	dir := t.TempDir()
	ca := exampleCertificates(t, dir, "fleet")
	for _, name := range []string{"d1", "d2", "collector"} {
		ca.sign(name, time.Now().Add(time.Hour))
	}
	stranger := newSigner(t, t.TempDir(), "other")
	stranger.sign("d1", time.Now().Add(time.Hour))
	s := startExample(t, "fleet-tls", dir, "--server-bind", "", "--server-ws-bind", "")
	commander{t, s.dataDir()}.add("collector", "not used", "--group", "backend")
	ca.refuses(s, "fleet", "", "revoked")
	foreign := *ca
	foreign.dir = stranger.dir
	foreign.refuses(s, "fleet", "d1")

	client := func(cert, id string, change func(*codec.Connect)) (*raw, codec.Connack) {
		t.Helper()
		p, ack, err := ca.over(s, "fleet", cert, id, change)
		if err != nil {
			t.Fatal(err)
		}
		return p, ack
	}
	backend, _ := client("collector", "collector", nil)
	if r := backend.subscribeOne("fleet/+/up/#", 1); r != codec.GrantedQoS1 {
		t.Fatalf("the collector subscribes: %v", r)
	}
	d1, ack := client("d1", "engine", func(c *codec.Connect) { c.HasSessionExpiry, c.SessionExpirySeconds = true, 1<<32-1 })
	if ack.SessionExpirySeconds != 7*24*3600 || ack.MaximumPacketSize != 65536 {
		t.Errorf("sessions last %d s, packets have %d bytes", ack.SessionExpirySeconds, ack.MaximumPacketSize)
	}
	for topic, want := range map[string]codec.ReasonCode{
		"fleet/d2/up/engine": codec.NotAuthorized, "fleet/d1/up/brakes": codec.NotAuthorized, "fleet/d1/down/x": codec.NotAuthorized, "fleet/all/down/x": codec.NotAuthorized,
		"fleet/d1/up/engine": codec.Success,
	} {
		if r := d1.publish1(1, topic, "x"); r != want && (want >= 0x80 || r >= 0x80) {
			t.Errorf("d1 publishes to %s: %v", topic, r)
		}
	}
	if m := backend.receive(); m.Topic.String() != "fleet/d1/up/engine" {
		t.Errorf("%s came", m.Topic)
	}
	for filter, want := range map[string]codec.ReasonCode{
		"fleet/d1/down/#": codec.GrantedQoS1, "fleet/all/down/#": codec.GrantedQoS1, "fleet/d2/down/#": codec.NotAuthorized, "fleet/#": codec.NotAuthorized, "$SYS/#": codec.NotAuthorized,
	} {
		if r := d1.subscribeOne(filter, 1); r != want {
			t.Errorf("d1 subscribes to %s: %v", filter, r)
		}
	}
	for i := range 4 {
		_, ack := client("d1", fmt.Sprint("more", i), lasting)
		if want := map[bool]codec.ReasonCode{true: codec.Success, false: codec.QuotaExceeded}[i < 3]; ack.Reason != want {
			t.Errorf("session %d of d1: %v", i+2, ack.Reason)
		}
	}
	if _, ack := client("d2", "more", lasting); ack.Reason != codec.Success {
		t.Errorf("d2 suffers from d1: %v", ack.Reason)
	}
	if _, ack := client("d2", "d2", byUser("d1", "")); ack.Reason == codec.Success {
		t.Error("d2 may say that it is d1")
	}
}
