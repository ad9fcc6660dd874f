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

// openFilesMax is not known here.
func openFilesMax() int { return 0 }

// manyLoopbacks: only 127.0.0.1 is sure to exist.
const manyLoopbacks = false

func readAtLeast(net.Conn, int) bool { return false }

// A quickConn is a socket of the relay. Here it is like any other.
type quickConn struct{ net.Conn }

func newQuickConn(nc net.Conn) (*quickConn, error) { return &quickConn{nc}, nil }

func (c *quickConn) readEach(pool *sync.Pool, take func(b []byte) error) error {
	buf := pool.Get().(*[]byte)
	defer pool.Put(buf)
	for {
		n, err := c.Read(*buf)
		if n > 0 {
			err = take((*buf)[:n])
		}
		if err != nil {
			return err
		}
	}
}
