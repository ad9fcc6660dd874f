package broker_test

import (
	"testing"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/codec"
)

// TestBuffersCompared: the same bytes take fewer reads and writes with larger
// buffers.
func TestBuffersCompared(t *testing.T) {
	t.Parallel()
	count := func(read, write int, metric string) float64 {
		s := newListening(t, func(o *broker.Options) { o.ReadBuffer, o.WriteBuffer = read, write })
		sub := v5OverTCP(t, s, "sub", nil)
		sub.subscribeOne("t", 0)
		pub := v5OverTCP(t, s, "pub", nil)
		var batch []byte
		for range 200 {
			batch, _ = codec.AppendPublish(batch, &codec.Publish{Topic: codec.View("t"), Payload: make([]byte, 600)}, codec.Version5)
		}
		before := s.metric(metric)
		pub.write(batch, nil)
		for range 200 {
			sub.receive()
		}
		return s.metric(metric) - before
	}
	small := count(512, 32<<10, "promptmq_socket_reads_total")
	large := count(1<<20, 32<<10, "promptmq_socket_reads_total")
	if small < 200 || large > small/4 {
		t.Errorf("120 KB in %v reads of at most 512 bytes and in %v of at most a megabyte", small, large)
	}
	small = count(1<<20, 512, "promptmq_socket_writes_total")
	large = count(1<<20, 1<<20, "promptmq_socket_writes_total")
	if large > small/2 {
		t.Errorf("120 KB in %v writes from 512 bytes on and in %v from a megabyte on", small, large)
	}
}
