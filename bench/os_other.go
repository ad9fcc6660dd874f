//go:build !linux

package bench

import (
	"net"
	"sync"
	"time"
)

// runnerCPU is not known here.
func runnerCPU() time.Duration { return 0 }

func exactTimer() (release func()) { return func() {} }

func sleep(d time.Duration) { time.Sleep(d) }

// manyLoopbacks: only 127.0.0.1 is sure to exist.
const manyLoopbacks = false

func readAtLeast(net.Conn, int) bool { return false }

func readSome(nc net.Conn, pool *sync.Pool) (buf *[]byte, n int, err error) {
	buf = pool.Get().(*[]byte)
	n, err = nc.Read(*buf)
	return buf, n, err
}
