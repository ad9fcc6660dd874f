package link

import (
	"bytes"
	"syscall"
	"testing"
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
