package broker

import (
	"bytes"
	"fmt"
	"net"
	"syscall"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// socketPair returns both ends of a connection. They are in blocking mode: what
// reads and writes them here has to be told not to wait.
func socketPair(t *testing.T) (a, b uintptr) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Close(fds[0])
		_ = syscall.Close(fds[1])
	})
	if !rawCalls { // ordinary calls rely on the mode that the poller has set
		for _, fd := range fds {
			if err := syscall.SetNonblock(fd, true); err != nil {
				t.Fatal(err)
			}
		}
	}
	return uintptr(fds[0]), uintptr(fds[1])
}

// TestSocketCalls: what reads and writes sockets without telling the scheduler
// can never wait, and says what an ordinary call would.
func TestSocketCalls(t *testing.T) {
	a, b := socketPair(t)
	buf := make([]byte, 8)
	if n, again, err := readSocket(a, buf); n != 0 || !again || err != nil {
		t.Errorf("nothing was written, and a read has %d bytes, again %v, %v", n, again, err)
	}
	if n, err := writeSocket(a, []byte("0123456789")); n != 10 || err != nil {
		t.Fatalf("wrote %d bytes: %v", n, err)
	}
	for _, want := range []string{"01234567", "89"} {
		if n, again, err := readSocket(b, buf); again || err != nil || string(buf[:n]) != want {
			t.Errorf("read %q, again %v, %v: want %q", buf[:n], again, err, want)
		}
	}
	piece, total := bytes.Repeat([]byte{1}, 1<<16), 0
	for {
		n, err := writeSocket(a, piece)
		if err != nil {
			t.Fatal(err)
		}
		if total += n; n < len(piece) {
			break // full
		}
	}
	if n, err := writeSocket(a, piece); n != 0 || err != nil {
		t.Errorf("full, and took %d bytes, %v", n, err)
	}
	large := make([]byte, 1<<16)
	for left := total; left > 0; {
		n, again, err := readSocket(b, large)
		if again || err != nil || n == 0 {
			t.Fatalf("%d bytes are missing: again %v, %v", left, again, err)
		}
		left -= n
	}
	if err := syscall.Shutdown(int(b), syscall.SHUT_RDWR); err != nil {
		t.Fatal(err)
	}
	if n, again, err := readSocket(a, buf); n != 0 || again || err != nil {
		t.Errorf("at the end a read has %d bytes, again %v, %v", n, again, err)
	}
	if n, err := writeSocket(a, buf); n != 0 || err != syscall.EPIPE {
		t.Errorf("nobody reads, and a write took %d bytes: %v", n, err)
	}
}

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
		for _, before := range []int{0, 3 * watchAfter} {
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
					b.hangups.mu.Lock()
					n := len(b.hangups.socket)
					b.hangups.mu.Unlock()
					if n != rounds {
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
				b.hangups.mu.Lock()
				defer b.hangups.mu.Unlock()
				if n := len(b.hangups.socket); n != 0 {
					t.Errorf("%d connections that have ended are watched", n)
				}
			})
		}
	}
}
