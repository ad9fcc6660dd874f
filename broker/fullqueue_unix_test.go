//go:build unix

package broker

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// BenchmarkFullQueue publishes at QoS 1 to a Session that is away: with room in
// its queue, and full under each policy that takes the message. Most of the queue
// is on disk only, as that of a Client that is forgotten. It reports what the
// processors do for a message, in the commits too.
func BenchmarkFullQueue(b *testing.B) {
	const full = 5000
	for _, c := range []struct {
		policy session.QueuePolicy
		room   int
	}{
		{session.DropOldest, 1 << 30}, {session.DropOldest, full}, {session.DropNewest, full},
	} {
		b.Run(fmt.Sprintf("%s/room=%d", c.policy, c.room), func(b *testing.B) {
			p := newPathWith(b, func(o *Options) {
				o.QueuePolicy, o.MaxQueuedMessages, o.MaxQueuedBytes = string(c.policy), c.room, 1<<40
			})
			p.pub = p.connect("pub", new(sink))
			away := p.connectLasting("away")
			p.subscribe(away, 1, "t/#")
			away.finish()
			batch := p.batches(1, pathBatch)[0]
			n := 0
			publish := func() {
				p.put(p.pub, batch)
				p.pub.receiving = 0
				if n++; n%16 == 0 {
					_ = p.b.commits.Flush()
				}
			}
			for range full / pathBatch {
				publish()
			}
			before := processorNanoseconds(b)
			b.ResetTimer()
			for i := 0; i < b.N; i += pathBatch {
				publish()
			}
			b.StopTimer()
			b.ReportMetric(float64(processorNanoseconds(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// connectLasting is connect for a Session that outlives its connection.
func (p *path) connectLasting(id string) *conn {
	c := p.b.newConn(link.Accepted{Transport: new(sink), At: p.b.clock.Now(), Local: true})
	p.b.addConn(c)
	b, err := codec.AppendConnect(nil, &codec.Connect{
		ClientID: codec.View(id), CleanStart: true, ReceiveMaximum: 65535, HasSessionExpiry: true, SessionExpirySeconds: 3600,
	}, codec.Version5)
	if err != nil {
		p.tb.Fatal(err)
	}
	p.put(c, b)
	return c
}

// processorNanoseconds is the time that processors have worked for this process.
func processorNanoseconds(tb testing.TB) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
