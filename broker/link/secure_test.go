package link

import (
	"crypto/tls"
	"errors"
	"io"
	"os"
	"testing"
	"time"
)

// TestSecureWrites: what the peer takes is written at once, without another goroutine; the rest
// is written, or not in time, by who can wait.
func TestSecureWrites(t *testing.T) {
	if !Nonblocking {
		t.Skip("sockets can only block here")
	}
	f := newTLSFixture(t)
	transports := make(chan Transport, 1)
	n := newTestNetwork(t, 10, func(n *Network, a Accepted) {
		transports <- a.Transport
		(&echo{t: a.Transport, n: n}).serve()
	})
	tc := tls.Client(n.testListenAs(t, f.listener(KindTLS))(), f.client())
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	s := <-transports
	if k, err := s.TryWrite([]byte("at once")); k != 7 || err != nil {
		t.Errorf("%d bytes, %v", k, err)
	}
	exchange(t, tc, nil, []byte("at once"))
	total, b := 0, make([]byte, 200_000)
	for k := len(b); k == len(b); { // until the peer, who does not read, takes no more
		var err error
		if k, err = s.TryWrite(b); err != nil {
			t.Fatal(err)
		}
		total += k
	}
	if _, err := s.WriteWithin(b, 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("nobody reads, and a write says %v", err)
	}
	if k, err := io.CopyN(io.Discard, tc, int64(total)); err != nil {
		t.Errorf("%d bytes of %d: %v", k, total, err)
	}
}
