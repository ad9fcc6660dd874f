package link

import (
	"crypto/tls"
	"fmt"
	"testing"
	"time"
)

// TestClientCertificates: each certificate has the outcome that it should, counted by its
// reason, with both versions of TLS.
func TestClientCertificates(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			f := newTLSFixture(t)
			f.askFor(ClientCertRequired)
			f.UserFrom = NameCN
			good, revoked, expired, nameless := f.ca.issue("good", time.Hour), f.ca.issue("revoked", time.Hour), f.ca.issue("expired", -time.Hour), f.ca.issue("", time.Hour)
			f.revoked(time.Hour, revoked.cert)
			stranger := newAuthority(t, "stranger").issue("stranger", time.Hour)
			n := newTestNetwork(t, 10, nil)
			required := n.testListenAs(t, f.listener(KindTLS))
			optional := *f
			optional.ClientCert = ClientCertOptional
			optionalListener := optional.listener(KindTLS)
			optionalListener.Name = "optional"
			asked := n.testListenAs(t, optionalListener)
			for _, c := range []struct {
				name   string
				certs  []issued
				reason string // if they are required; "": it is let in
				asked  string // if they are not
			}{
				{"good", []issued{good}, "", ""},
				{"none", nil, "no certificate", ""},
				{"revoked", []issued{revoked}, "revoked", "revoked"},
				{"expired", []issued{expired}, "expired certificate", "expired certificate"},
				{"nameless", []issued{nameless}, "no user name", "no user name"},
				{"stranger", []issued{stranger}, "unknown authority", "unknown authority"},
			} {
				config := f.client(c.certs...)
				config.MinVersion, config.MaxVersion = version, version
				if len(c.certs) > 0 { // whatever the Server asks for
					config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c.certs[0].pair, nil }
				}
				_, err := echoes(required(), config)
				n.outcome(t, c.name+", required", c.reason, err)
				_, err = echoes(asked(), config)
				n.outcome(t, c.name+", optional", c.asked, err)
			}
		})
	}
}

// outcome checks how a handshake ended, and for what reason; "": it did not fail.
func (n *Network) outcome(t *testing.T, name, reason string, err error) {
	t.Helper()
	if (err == nil) != (reason == "") {
		t.Errorf("%s: %v, want %q", name, err, reason)
		return
	}
	if reason == "" {
		return
	}
	eventually(t, func() string {
		if n.failures(reason) == 0 {
			return fmt.Sprintf("%s: not counted as %q, but %v", name, reason, err)
		}
		return ""
	})
	n.c.Metrics.HandshakeFailures(reason).Set(0)
}

// TestRevocationLists: a list that is past its date, or that is not there, lets nobody in.
func TestRevocationLists(t *testing.T) {
	f := newTLSFixture(t)
	f.askFor(ClientCertRequired)
	good := f.ca.issue("good", time.Hour)
	n := newTestNetwork(t, 10, nil)
	listen := func(name string) func() error {
		c := *f
		l := c.listener(KindTLS)
		l.Name = name
		dial := n.testListenAs(t, l)
		return func() error { _, err := echoes(dial(), f.client(good)); return err }
	}
	f.revoked(-time.Minute)
	n.outcome(t, "past its date", "expired revocation list", listen("past")())

	other := newAuthority(t, "other")
	f.write(f.ClientCAFile, f.ca.pem(), other.pem())
	f.CRLFile += ".other"
	f.write(f.CRLFile, other.revoke(time.Hour))
	n.outcome(t, "of another authority", "no revocation list", listen("other")())

	stranger := newAuthority(t, "stranger")
	f.write(f.CRLFile, stranger.revoke(time.Hour))
	l := f.listener(KindTLS)
	l.Name, l.Address = "stranger", "127.0.0.1:0"
	if err := n.Listen(l); err == nil {
		t.Error("a list that none of the authorities has signed is accepted")
	}
}

// TestResumption: a session that is resumed is looked at like a new one: a certificate that
// was revoked since, and one whose authority is gone, opens nothing.
func TestResumption(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			f := newTLSFixture(t)
			f.askFor(ClientCertRequired)
			f.revoked(time.Hour)
			good := f.ca.issue("good", time.Hour)
			n := newTestNetwork(t, 10, nil)
			dial := n.testListenAs(t, f.listener(KindTLS))
			config := f.client(good)
			config.MinVersion, config.MaxVersion = version, version
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &good.pair, nil }
			config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			for i, resumed := range []bool{false, true} {
				nc, err := echoes(dial(), config)
				if err != nil || nc.ConnectionState().DidResume != resumed {
					t.Fatalf("connection %d: %v, resumed %v", i, err, nc.ConnectionState().DidResume)
				}
			}
			f.revoked(time.Hour, good.cert)
			if err := n.ReloadCertificates(); err != nil {
				t.Fatal(err)
			}
			_, err := echoes(dial(), config)
			n.outcome(t, "revoked since", "revoked", err)

			f.revoked(time.Hour)
			if err := n.ReloadCertificates(); err != nil {
				t.Fatal(err)
			}
			if _, err := echoes(dial(), config); err != nil {
				t.Fatal(err)
			}
			other := newAuthority(t, "other")
			f.write(f.ClientCAFile, other.pem())
			f.write(f.CRLFile, other.revoke(time.Hour))
			if err := n.ReloadCertificates(); err != nil {
				t.Fatal(err)
			}
			_, err = echoes(dial(), config)
			n.outcome(t, "of an authority that is gone", "unknown authority", err)
		})
	}
}

// TestPeerOf: what is known of the peer is what its certificate says.
func TestPeerOf(t *testing.T) {
	f := newTLSFixture(t)
	f.askFor(ClientCertRequired)
	good := f.ca.issue("good", time.Hour)
	peers := make(chan Peer, 1)
	n := newTestNetwork(t, 10, func(n *Network, a Accepted) {
		peers <- PeerOf(a.Transport)
		(&echo{t: a.Transport, n: n}).serve()
	})
	for part, want := range map[CertificateName]string{
		NameNone: "", NameCN: "good", NameSerial: "no. good", NameDNS: "good.example", NameEmail: "good@example", NameURI: "urn:good",
	} {
		for _, kind := range []string{KindTLS, KindWSS} {
			c := f.listener(kind)
			own := f.TLSConfig
			own.UserFrom = part
			c.Name, c.TLS = kind+string(part), &own
			nc := tls.Client(n.testListenAs(t, c)(), f.client(good))
			if kind == KindWSS {
				upgraded(t, nc)
			} else if err := nc.Handshake(); err != nil {
				t.Fatal(err)
			}
			p := <-peers
			if p.User != want || p.Certificate == nil || !p.Certificate.Equal(good.cert) || !p.Address.IsLoopback() {
				t.Errorf("%s, %s: %q, %v, %v", kind, part, p.User, p.Certificate, p.Address)
			}
		}
	}
}
