package bench

import (
	"cmp"
	"io"
	"math"
	"net"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// runnerCPU returns the CPU time of this process, all its threads.
func runnerCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0 // cannot fail with these arguments
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

const (
	prSetTimerSlack = 29 // PR_SET_TIMERSLACK of prctl(2)
	timerSlackNanos = 1000
)

// exactTimer lets sleep wake up within microseconds: the goroutine keeps its
// thread, whose timers the kernel no longer gathers in steps of 50 µs. The
// runtime's own timers are as coarse as a millisecond while it idles.
func exactTimer() (release func()) {
	runtime.LockOSThread()
	// Best effort: without it sleeps end up to 50 µs late, which the Result shows.
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetTimerSlack, timerSlackNanos, 0)
	return runtime.UnlockOSThread
}

func sleep(d time.Duration) {
	ts := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&ts, nil) // a signal ends it early; callers look at the clock
}

// openFilesMax is how many files this process may have open; 0: unknown.
func openFilesMax() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(limit.Cur, math.MaxInt32))
}

// manyLoopbacks: all of 127.0.0.0/8 may be bound to.
const manyLoopbacks = true

// readAtLeast makes the kernel wake the reader of a connection only when so
// many bytes wait, also when it sleeps already. It reports whether it could.
func readAtLeast(nc net.Conn, bytes int) bool {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVLOWAT, bytes)
	})
	return err == nil && set == nil
}

// A quickConn is a socket of the relay, which reads without a buffer while there
// is nothing to read, and writes without blocking while there is room.
type quickConn struct {
	net.Conn
	raw syscall.RawConn
	out []byte // of the write that runs; one at a time
	n   int
	put func(fd uintptr) bool
}

func newQuickConn(nc net.Conn) (*quickConn, error) {
	raw, err := nc.(syscall.Conn).SyscallConn()
	c := &quickConn{Conn: nc, raw: raw}
	c.put = func(fd uintptr) bool {
		n, err := sendNow(fd, c.out)
		if c.n = n; err != nil {
			c.n = 0 // the write that may block says what is wrong
		}
		return true
	}
	return c, err
}

// Write blocks only for what there is no room for.
func (c *quickConn) Write(b []byte) (int, error) {
	c.out, c.n = b, 0
	err := c.raw.Write(c.put)
	c.out = nil
	if err != nil || c.n == len(b) {
		return c.n, err
	}
	n, err := c.Conn.Write(b[c.n:])
	return c.n + n, err
}

// readEach calls take for what each read brings, until either fails. It takes a
// buffer when there is something to read, and gives it back when there is not: a
// silent connection holds none. All is done in the one call that also waits, and
// after a read that did not fill the buffer there is no second one. So the end of a
// client that comes together with its last packet is not seen, unless that is a
// DISCONNECT: a broker has to look for it, the floor has not.
func (c *quickConn) readEach(pool *sync.Pool, take func(b []byte) error) (err error) {
	failed := c.raw.Read(func(fd uintptr) bool {
		buf := pool.Get().(*[]byte)
		defer pool.Put(buf)
		for {
			n, readErr := receiveNow(fd, *buf)
			switch {
			case readErr == syscall.EINTR:
				continue
			case readErr == syscall.EAGAIN:
				return false
			case readErr != nil:
				err = readErr
				return true
			case n == 0:
				err = io.EOF
				return true
			}
			if err = take((*buf)[:n]); err != nil {
				return true
			}
			if n < len(*buf) {
				return false
			}
		}
	})
	return cmp.Or(err, failed)
}
