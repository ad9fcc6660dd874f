package link

import (
	"fmt"
	"net"
	"testing"
)

// TestEndWithLastBytes: that a peer has gone is seen also if its end came together
// with its last bytes, in one edge of the poller, by connections that read only once
// each time and by those that still read twice. There is no deadline that would show it
// later.
func TestEndWithLastBytes(t *testing.T) {
	const rounds = 60
	ends := map[string]func(*net.TCPConn) error{
		"FIN": (*net.TCPConn).CloseWrite,
		"RST": func(nc *net.TCPConn) error {
			if err := nc.SetLinger(0); err != nil {
				return err
			}
			return nc.Close()
		},
	}
	for name, end := range ends {
		for _, before := range []int{1, 3 * watchAfter} {
			t.Run(fmt.Sprintf("%s after %d reads", name, before), func(t *testing.T) {
				n := newTestNetwork(t, 2*rounds, nil)
				dial := n.testListen(t, KindTCP)
				clients := make([]net.Conn, rounds)
				for i := range clients {
					clients[i] = dial()
					for range before {
						exchange(t, clients[i], []byte("x"), []byte("x"))
					}
				}
				if before > watchAfter {
					if got := n.hangups.watched(); got != rounds {
						t.Fatalf("%d of %d connections are watched", got, rounds)
					}
				}
				for _, nc := range clients {
					if _, err := nc.Write([]byte("y")); err != nil {
						t.Fatal(err)
					}
					if err := end(nc.(*net.TCPConn)); err != nil {
						t.Fatal(err)
					}
				}
				eventually(t, func() string {
					if got := n.Sockets(); got != 0 {
						return fmt.Sprintf("%d of %d connections are still there", got, rounds)
					}
					return ""
				})
				if got := n.hangups.watched(); got != 0 {
					t.Errorf("%d connections that have ended are watched", got)
				}
			})
		}
	}
}

// watched is how many sockets are watched.
func (h *hangups) watched() int {
	if h == nil {
		return 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.socket)
}
