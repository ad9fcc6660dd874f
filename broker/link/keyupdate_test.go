package link

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// expandLabel is HKDF-Expand-Label of TLS 1.3. RFC 8446, section 7.1.
func expandLabel(t *testing.T, secret []byte, label string, size int) []byte {
	t.Helper()
	label = "tls13 " + label
	info := append([]byte{byte(size >> 8), byte(size), byte(len(label))}, label...)
	b, err := hkdf.Expand(sha256.New, secret, string(append(info, 0)), size)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// keyUpdates are KeyUpdate messages of a client that asks for as many of the Server, each
// with the keys that the one before has changed to.
func keyUpdates(t *testing.T, secret []byte, count int) []byte {
	t.Helper()
	var records []byte
	for range count {
		block, err := aes.NewCipher(expandLabel(t, secret, "key", 16))
		if err != nil {
			t.Fatal(err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			t.Fatal(err)
		}
		message := []byte{24, 0, 0, 1, 1, 22} // update_requested; the last byte is the type of the record
		head := []byte{23, 3, 3, 0, byte(len(message) + aead.Overhead())}
		records = append(records, head...)
		records = aead.Seal(records, expandLabel(t, secret, "iv", 12), message, head)
		secret = expandLabel(t, secret, "traffic upd", 32)
	}
	return records
}

// TestKeyUpdateFlood: a KeyUpdate is answered; a flood of them ends that connection, is
// counted, and disturbs no other.
func TestKeyUpdateFlood(t *testing.T) {
	f := newTLSFixture(t)
	n := newTestNetwork(t, 10, nil)
	dial := n.testListenAs(t, f.listener(KindTLS))
	other, err := echoes(dial(), f.client())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		count int
		ends  bool
	}{{1, false}, {10, false}, {5000, true}} {
		var secrets bytes.Buffer
		config := f.client()
		config.MinVersion, config.KeyLogWriter = tls.VersionTLS13, &secrets
		nc := dial()
		tc := tls.Client(nc, config)
		if err := tc.Handshake(); err != nil {
			t.Fatal(err)
		}
		if tc.ConnectionState().CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
			t.Skip("another cipher suite")
		}
		_, rest, _ := strings.Cut(secrets.String(), "CLIENT_TRAFFIC_SECRET_0 ")
		words := strings.Fields(rest)
		secret, err := hex.DecodeString(words[1])
		if err != nil {
			t.Fatal(err)
		}
		_, err = nc.Write(keyUpdates(t, secret, c.count))
		if err == nil && !c.ends {
			// What the Server answers, and its tickets, are as many records; an error would be a close.
			got := make([]byte, 27*c.count)
			_, err = io.ReadFull(nc, got)
		}
		if !c.ends {
			if err != nil {
				t.Errorf("%d KeyUpdates: %v", c.count, err)
			}
			continue
		}
		if _, err := io.Copy(io.Discard, nc); isTimeout(err) {
			t.Errorf("%d KeyUpdates: still open", c.count)
		}
		eventually(t, func() string {
			if n.c.Metrics.TLSErrors("malformed").Get() != 1 {
				return "not counted"
			}
			return ""
		})
	}
	exchange(t, other, []byte("abc"), []byte("abc"))
}

// TestTampered: a record that is not as it was sent ends its connection, and is counted.
func TestTampered(t *testing.T) {
	f := newTLSFixture(t)
	n := newTestNetwork(t, 10, nil)
	dial := n.testListenAs(t, f.listener(KindTLS))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := f.client()
		config.MinVersion, config.MaxVersion = version, version
		nc := dial()
		w := &tampering{Conn: nc}
		tc := tls.Client(w, config)
		exchange(t, tc, []byte("abc"), []byte("abc"))
		w.begun = true
		if _, err := tc.Write([]byte("abc")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, nc); isTimeout(err) {
			t.Error("still open")
		}
		eventually(t, func() string {
			if k := n.c.Metrics.TLSErrors("malformed").Get(); k != 1 {
				return fmt.Sprint(tls.VersionName(version), ": ", k, " are counted")
			}
			return ""
		})
		n.c.Metrics.TLSErrors("malformed").Set(0)
	}
}

// tampering changes the last byte of what is written.
type tampering struct {
	net.Conn
	begun bool
}

func (r *tampering) Write(b []byte) (int, error) {
	if r.begun {
		b = bytes.Clone(b)
		b[len(b)-1] ^= 1
	}
	return r.Conn.Write(b)
}
