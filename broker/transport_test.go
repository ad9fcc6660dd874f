package broker

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// greetedTCP is a client whose CONNACK has come.
func greetedTCP(t *testing.T, b *Broker, id string) *net.TCPConn {
	t.Helper()
	nc := dialTCP(t, b)
	if _, err := nc.Write(connectPacket(t, id)); err != nil {
		t.Fatal(err)
	}
	await(t, nc, codec.TypeConnack)
	return nc.(*net.TCPConn)
}

// TestReadsOfAllSizes: whatever pieces packets come in, and whatever time passes
// between them, each is handled when its last byte has come and none waits for
// the next.
func TestReadsOfAllSizes(t *testing.T) {
	const clients, rounds = 4, 150
	b := listening(t)
	var running sync.WaitGroup
	for i := range clients {
		nc := greetedTCP(t, b, fmt.Sprint("c", i))
		defer nc.Close()
		running.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			sizes := []int{1, 40, 500, 4096, b.o.ReadBuffer - 20, b.o.ReadBuffer, 3 * b.o.ReadBuffer}
			for n := range rounds {
				if err := exchange(nc, r, sizes[r.IntN(len(sizes))]+r.IntN(30), 1+r.IntN(3)); err != nil {
					t.Errorf("client %d, round %d: %v", i, n, err)
					return
				}
			}
		})
	}
	running.Wait()
}

// exchange publishes so many messages in random pieces and reads their
// acknowledgements.
func exchange(nc net.Conn, r *rand.Rand, size, messages int) error {
	if err := nc.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	var out, want []byte
	for id := range uint16(messages) {
		var err error
		if out, err = codec.AppendPublish(out, &codec.Publish{QoS: 1, PacketID: id + 1, Topic: codec.View("t"), Payload: make([]byte, size)}, codec.Version5); err != nil {
			return err
		}
		want = append(want, byte(codec.TypePuback)<<4, 2, 0, byte(id+1))
	}
	for pieces := 1 + r.IntN(4); pieces > 0; pieces-- {
		n := len(out)
		if pieces > 1 {
			n = r.IntN(len(out) + 1)
		}
		if _, err := nc.Write(out[:n]); err != nil {
			return err
		}
		out = out[n:]
		if r.IntN(4) == 0 {
			time.Sleep(time.Duration(r.IntN(200)) * time.Microsecond)
		}
	}
	got := make([]byte, len(want))
	if n, err := io.ReadFull(nc, got); err != nil {
		return fmt.Errorf("%d of %d bytes of acknowledgements, messages of %d bytes: %w", n, len(want), size, err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("got % x, want % x", got, want)
	}
	return nil
}

// TestCloseWhileHandling: connections end while they are handled and written to,
// by their own hand and by that of others, and nobody waits for anybody.
func TestCloseWhileHandling(t *testing.T) {
	const pairs, rounds = 8, 6
	b := listening(t)
	var running sync.WaitGroup
	for i := range pairs {
		running.Go(func() {
			topic := fmt.Sprint("t", i)
			for n := range rounds {
				sub, pub := greetedTCP(t, b, fmt.Sprintf("s%d-%d", i, n)), greetedTCP(t, b, fmt.Sprintf("p%d-%d", i, n))
				subscribe, err := codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, []codec.Subscription{{Filter: codec.View(topic)}}, codec.Version5)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = sub.Write(subscribe)
				publish, err := codec.AppendPublish(nil, &codec.Publish{Topic: codec.View(topic), Payload: make([]byte, 2000)}, codec.Version5)
				if err != nil {
					t.Error(err)
					return
				}
				pings := bytes.Repeat(codec.AppendPingreq(nil), 200)
				for k := range 40 { // both are written to and write when sub is gone
					_, _ = pub.Write(publish)
					_, _ = sub.Write(pings)
					if k == 10+n {
						_ = sub.SetLinger(0)
						_ = sub.Close()
					}
				}
				_ = pub.Close()
			}
		})
	}
	running.Wait()
	eventually(t, func() string {
		if n := b.m.ConnectionsCurrent.Get(); n != 0 {
			return fmt.Sprintf("%d connections are still there", n)
		}
		return ""
	})
}
