package link

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// served returns the serial number of the certificate that a new connection is shown.
func served(t *testing.T, nc net.Conn) string {
	t.Helper()
	tc := tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	return tc.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// TestCertificatesAreWatched: however files are replaced, new connections get what is there,
// and those that are open stay.
func TestCertificatesAreWatched(t *testing.T) {
	t.Parallel()
	for name, replace := range map[string]func(f *tlsFixture, i issued, k int){
		"written": func(f *tlsFixture, i issued, _ int) { f.serve(i) },
		"renamed": func(f *tlsFixture, i issued, _ int) {
			for file, content := range map[string][]byte{f.CertFile: i.certPEM, f.KeyFile: i.keyPEM} {
				f.write(file+".new", content)
				if err := os.Rename(file+".new", file); err != nil {
					t.Fatal(err)
				}
			}
		},
		"a link to a directory": func(f *tlsFixture, i issued, k int) { f.link(i, k) }, // as Kubernetes and certbot do
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newTLSFixture(t)
			if strings.HasPrefix(name, "a link") {
				dir := filepath.Dir(f.CertFile)
				f.CertFile, f.KeyFile = filepath.Join(dir, "data", "cert.pem"), filepath.Join(dir, "data", "key.pem")
				f.link(f.ca.issue("first", time.Hour), 0)
			}
			n := newTestNetwork(t, 10, nil)
			dial := n.testListenAs(t, f.listener(KindTLS))
			stays, err := echoes(dial(), f.client())
			if err != nil {
				t.Fatal(err)
			}
			for k := range 2 {
				next := f.ca.issue("next", time.Hour)
				replace(f, next, k+1)
				eventually(t, func() string {
					if got, want := served(t, dial()), next.cert.SerialNumber.String(); got != want {
						return fmt.Sprintf("change %d: certificate %s, want %s", k, got, want)
					}
					return ""
				})
			}
			exchange(t, stays, []byte("still here"), []byte("still here"))
		})
	}
}

// link puts a certificate in a new directory, to which the link "data" is then moved.
func (f *tlsFixture) link(i issued, k int) {
	f.t.Helper()
	parent := filepath.Dir(filepath.Dir(f.CertFile))
	dir := filepath.Join(parent, fmt.Sprint("version", k))
	if err := os.Mkdir(dir, 0o700); err != nil {
		f.t.Fatal(err)
	}
	f.write(filepath.Join(dir, "cert.pem"), i.certPEM)
	f.write(filepath.Join(dir, "key.pem"), i.keyPEM)
	link := filepath.Join(parent, "data")
	if err := os.Symlink(dir, link+".new"); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(link+".new", link); err != nil {
		f.t.Fatal(err)
	}
}

// TestBadCertificatesChangeNothing: with files that are bad, or gone, the old ones stay; that
// is counted, and when they are good again they are taken over.
func TestBadCertificatesChangeNothing(t *testing.T) {
	t.Parallel()
	f := newTLSFixture(t)
	n := newTestNetwork(t, 10, nil)
	dial := n.testListenAs(t, f.listener(KindTLS))
	first := served(t, dial())
	loads := func(result string) uint64 { return n.c.Metrics.CertificateLoads(KindTLS, result).Get() }
	next := f.ca.issue("next", time.Hour)
	for k, spoil := range []func(){
		func() { f.write(f.CertFile, next.certPEM) }, // whose key is not there yet
		func() { f.write(f.CertFile, next.certPEM[:len(next.certPEM)/2]) },
		func() { f.write(f.CertFile) },
		func() {
			if err := os.Remove(f.CertFile); err != nil {
				t.Fatal(err)
			}
		},
	} {
		spoil()
		eventually(t, func() string {
			if got := loads("error"); got != uint64(k+1) {
				return fmt.Sprintf("change %d: %d failed loads", k, got)
			}
			return ""
		})
		if got := served(t, dial()); got != first {
			t.Errorf("change %d: certificate %s, want %s", k, got, first)
		}
		if err := n.ReloadCertificates(); err == nil || !strings.Contains(err.Error(), f.CertFile) {
			t.Errorf("change %d: a reload says %v", k, err)
		}
	}
	f.serve(next)
	eventually(t, func() string {
		if got, want := served(t, dial()), next.cert.SerialNumber.String(); got != want || loads("ok") == 0 {
			return fmt.Sprintf("certificate %s, want %s; %d loads", got, want, loads("ok"))
		}
		return ""
	})
}

// TestReloadIsAllOrNothing: one bad file among the listeners, and none of them changes.
func TestReloadIsAllOrNothing(t *testing.T) {
	n := newTestNetwork(t, 10, nil)
	good, bad := newTLSFixture(t), newTLSFixture(t)
	a, b := good.listener(KindTLS), bad.listener(KindTLS)
	a.Name, b.Name = "good", "bad"
	dial := n.testListenAs(t, a)
	n.testListenAs(t, b)
	before := n.Listener("good").credentials.Load()
	good.serve(good.ca.issue("next", time.Hour))
	bad.write(bad.KeyFile, []byte("no key"))
	if err := n.ReloadCertificates(); err == nil || !strings.Contains(err.Error(), `"bad"`) {
		t.Errorf("a reload says %v", err)
	}
	if n.Listener("good").credentials.Load() != before && n.c.Metrics.CertificateLoads("good", "ok").Get() == 0 { // else the watch was faster
		t.Error("the good one has changed")
	}
	served(t, dial())
}
