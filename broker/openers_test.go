package broker

import (
	"fmt"
	"net"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// TestOpeners: connections that say nothing keep nobody from being served, however many
// goroutines wait for new ones; and of these no more stay than may.
func TestOpeners(t *testing.T) {
	b := listening(t)
	var all []net.Conn
	for range 3 {
		for i := range 2 * openersMax {
			silent, nc := dialTCP(t, b), dialTCP(t, b)
			all = append(all, silent, nc)
			if _, err := nc.Write(connectPacket(t, fmt.Sprint("c", i))); err != nil { // it takes over that of the last round
				t.Fatal(err)
			}
			await(t, nc, codec.TypeConnack)
		}
	}
	for _, nc := range all {
		_ = nc.Close()
	}
	eventually(t, func() string {
		if n, open := b.openers.Load(), b.network.Sockets(); n > openersMax || open > 0 {
			return fmt.Sprintf("%d goroutines wait for connections, %d are open", n, open)
		}
		return ""
	})
}
