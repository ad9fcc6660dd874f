package broker

import (
	"fmt"
	"net"
	"testing"

	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/codec"
)

// TestEndWithLastBytes: that a client has gone is seen also if its end came
// together with its last bytes, in one edge of the poller, by connections that
// read only once each time and by those that still read twice. There is no Keep
// Alive that would show it later.
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
		for _, before := range []int{0, 3 * link.WatchAfter} {
			t.Run(fmt.Sprintf("%s after %d packets", name, before), func(t *testing.T) {
				b := listening(t)
				clients := make([]*net.TCPConn, rounds)
				for i := range clients {
					clients[i] = greetedTCP(t, b, fmt.Sprint("c", i))
					defer clients[i].Close()
					for range before {
						if _, err := clients[i].Write(codec.AppendPingreq(nil)); err != nil {
							t.Fatal(err)
						}
						await(t, clients[i], codec.TypePingresp)
					}
				}
				if n := b.m.ConnectionsCurrent.Get(); n != rounds {
					t.Fatalf("%d connections", n)
				}
				if before > 0 {
					if n := b.network.Watched(); n != rounds {
						t.Fatalf("%d of %d connections are watched", n, rounds)
					}
				}
				for _, nc := range clients {
					if _, err := nc.Write(codec.AppendPingreq(nil)); err != nil {
						t.Fatal(err)
					}
					if err := end(nc); err != nil {
						t.Fatal(err)
					}
				}
				eventually(t, func() string {
					if n := b.m.ConnectionsCurrent.Get(); n != 0 {
						return fmt.Sprintf("%d of %d connections are still there", n, rounds)
					}
					return ""
				})
				if n := b.network.Watched(); n != 0 {
					t.Errorf("%d connections that have ended are watched", n)
				}
			})
		}
	}
}
