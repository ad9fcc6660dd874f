package broker_test

import (
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// TestReadRate: in virtual time, how long a packet may take that comes at some
// rate, or stops. The defaults are 30 s, 1,000 bytes per second, and 10 s for
// CONNECT.
func TestReadRate(t *testing.T) {
	const size, never = 100_000, time.Duration(0)
	for name, c := range map[string]struct {
		keepAlive uint16
		rate      int           // bytes per second
		stop      int           // after so many bytes nothing more comes; 0: all come
		cut       time.Duration // from its first byte, in whole seconds; never: it arrives
		reason    codec.ReasonCode
	}{
		"at the rate":                   {0, 1000, 0, never, 0},
		"at the rate, short Keep Alive": {5, 1000, 0, never, 0},
		"twice as fast":                 {60, 2000, 0, never, 0},
		"half as fast":                  {0, 500, 0, 59 * time.Second, codec.ProtocolError},
		"drop by drop":                  {0, 1, 0, 30 * time.Second, codec.ProtocolError},
		"drop by drop, Keep Alive":      {4, 1, 0, 6 * time.Second, codec.KeepAliveTimeout},
		"stopped":                       {0, 5000, 50_000, (9 + 30) * time.Second, codec.ProtocolError},
		"stopped, Keep Alive":           {10, 5000, 50_000, (9 + 15) * time.Second, codec.KeepAliveTimeout},
		"stopped after a burst":         {0, 90_000, 90_000, 30 * time.Second, codec.ProtocolError},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				p := f.dial()
				p.write(codec.AppendConnect(nil, &codec.Connect{ClientID: codec.View("slow"), CleanStart: true, KeepAliveSeconds: c.keepAlive}, codec.Version5))
				p.expect(codec.TypeConnack)
				packet, err := codec.AppendPublish(nil, &codec.Publish{QoS: 1, PacketID: 1, Topic: codec.View("t"), Payload: make([]byte, size)}, codec.Version5)
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				var sending sync.WaitGroup
				defer sending.Wait()
				sending.Go(func() { trickle(p.Conn, packet, c.rate, c.stop) })
				if c.cut == never {
					p.expectWithin(codec.TypePuback, time.Hour)
					return
				}
				d := p.expectWithin(codec.TypeDisconnect, time.Hour)
				if took := time.Since(began).Truncate(time.Second); took != c.cut || d.Body[0] != byte(c.reason) {
					t.Errorf("cut after %v with %v, not after %v with %v", took, codec.ReasonCode(d.Body[0]), c.cut, c.reason)
				}
			})
		})
	}
}

// TestConnectInTime: CONNECT has its time from accept, however it comes.
func TestConnectInTime(t *testing.T) {
	for name, c := range map[string]struct {
		rate  int
		comes bool
	}{
		"silent":          {0, false},
		"slowly":          {2000, false},
		"slowly, in time": {3500, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				p := f.dial()
				began := time.Now()
				packet, err := codec.AppendConnect(nil, &codec.Connect{ClientID: codec.View("slow"), CleanStart: true,
					HasWill: true, Will: codec.Will{Topic: codec.View("w"), Payload: make([]byte, 30_000)}}, codec.Version5)
				if err != nil {
					t.Fatal(err)
				}
				var sending sync.WaitGroup
				defer sending.Wait()
				if c.rate > 0 {
					sending.Go(func() { trickle(p.Conn, packet, c.rate, 0) })
				}
				if c.comes {
					p.expectWithin(codec.TypeConnack, time.Minute)
					return
				}
				_ = p.SetReadDeadline(time.Now().Add(time.Hour))
				n, err := p.Read(make([]byte, 1))
				if took := time.Since(began).Truncate(time.Second); n > 0 || err == nil || os.IsTimeout(err) || took != 10*time.Second {
					t.Errorf("%d bytes, %v after %v", n, err, took)
				}
			})
		})
	}
}

// trickle sends packet once a second, at a rate.
func trickle(nc net.Conn, packet []byte, rate, stop int) {
	if stop > 0 {
		packet = packet[:stop]
	}
	for {
		n := min(rate, len(packet))
		if _, err := nc.Write(packet[:n]); err != nil || n == len(packet) {
			return
		}
		packet = packet[n:]
		time.Sleep(time.Second)
	}
}

// expectWithin is expect that waits for so long.
func (p *peer) expectWithin(want codec.PacketType, patience time.Duration) codec.Frame {
	p.t.Helper()
	if err := p.SetReadDeadline(time.Now().Add(patience)); err != nil {
		p.t.Fatal(err)
	}
	for {
		f, err := p.r.Next()
		if err == nil {
			if f.Type() != want {
				p.t.Fatalf("got %v, expected %v", f.Type(), want)
			}
			return f
		}
		if err != codec.ErrIncomplete {
			p.t.Fatal(err)
		}
		n, err := p.Read(p.r.Room())
		if err != nil {
			p.t.Fatalf("waiting for %v: %v", want, err)
		}
		p.r.Wrote(n)
	}
}
