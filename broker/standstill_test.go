package broker_test

import (
	"net"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// A frozenConn is read by a machine that stands still now and then: when it goes
// on, the deadline of the read has passed, whatever has come meanwhile.
type frozenConn struct {
	net.Conn
	freeze atomic.Bool
}

func (c *frozenConn) Read(b []byte) (int, error) {
	if c.freeze.CompareAndSwap(true, false) {
		time.Sleep(time.Minute)
		return 0, os.ErrDeadlineExceeded
	}
	return c.Conn.Read(b)
}

// TestStandstill: who sent in time is not thrown out because the Server did not read
// for longer than the Keep Alive; who did not is.
func TestStandstill(t *testing.T) {
	for name, sends := range map[string]bool{"sends": true, "is silent": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				client, server := net.Pipe()
				frozen := &frozenConn{Conn: server}
				go f.b.ServeConn(frozen)
				p := &peer{Conn: client, t: t, v: codec.Version5}
				p.r.Reset(0)
				defer client.Close()
				p.write(codec.AppendConnect(nil, &codec.Connect{ClientID: codec.View("c"), CleanStart: true, KeepAliveSeconds: 10}, codec.Version5))
				p.expect(codec.TypeConnack)
				frozen.freeze.Store(true)
				p.write(codec.AppendPingreq(nil), nil)
				p.expect(codec.TypePingresp) // and now it stands still
				if sends {
					time.Sleep(5 * time.Second)
					p.write(codec.AppendPingreq(nil), nil)
					p.expectWithin(codec.TypePingresp, time.Hour)
					return
				}
				p.expectWithin(codec.TypeDisconnect, time.Hour)
			})
		})
	}
}
