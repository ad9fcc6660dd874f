package bench

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// relayed starts a Relay and returns a Runner for it that watches this process.
func relayRunner(t *testing.T, protocol string) *Runner {
	t.Helper()
	relay, err := ListenRelay("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- relay.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return &Runner{URL: "tcp://" + relay.Addr().String(), Protocol: protocol, Timeout: 5 * time.Second, PID: os.Getpid()}
}

func TestRelay(t *testing.T) {
	const brief = 100 * time.Millisecond
	for _, protocol := range []string{"5", "3.1.1"} {
		for qos := range 3 {
			for name, o := range map[string]Scenario{
				"one":    &Throughput{QoS: qos, Payload: 64, PerWrite: 16, Duration: brief},
				"groups": &Throughput{QoS: qos, Payload: 300, PerWrite: 3, Duration: brief, Publishers: 6, Subscribers: 4},
				"large":  &Throughput{QoS: qos, Payload: 100000, PerWrite: 2, Duration: brief},
				"rate":   &Latency{QoS: qos, Payload: 64, Rate: 1000, Duration: brief, Publishers: 2, Subscribers: 2},
			} {
				t.Run(fmt.Sprintf("%s %s QoS %d", name, protocol, qos), func(t *testing.T) {
					if v, ok := o.(interface{ Validate() error }); ok {
						if err := v.Validate(); err != nil {
							t.Fatal(err)
						}
					}
					res, err := o.Measure(t.Context(), relayRunner(t, protocol))
					if err != nil || res.Failure != "" {
						t.Fatalf("%v, %+v", err, res)
					}
					if n, _ := res.Figures.Get("delivered"); n <= 0 {
						t.Errorf("%+v", res.Figures)
					}
				})
			}
		}
	}
}

// Packets that come byte by byte are cut as those that come together.
func TestFrameOf(t *testing.T) {
	for _, size := range []int{0, 100, 127, 128, 20000} {
		whole, err := codec.AppendPublish(nil, &codec.Publish{Topic: codec.View("t"), Payload: make([]byte, size)}, codec.Version5)
		if err != nil {
			t.Fatal(err)
		}
		for cut := range whole {
			if _, n := frameOf(whole[:cut]); n != 0 {
				t.Fatalf("%d of %d bytes are a packet", cut, len(whole))
			}
		}
		p, n := frameOf(append(whole, 1, 2, 3))
		if n != len(whole) || len(payload(p, codec.Version5)) != size {
			t.Errorf("%d bytes with a payload of %d", n, len(payload(p, codec.Version5)))
		}
	}
}

// Packet Identifiers come round after 65,535 messages.
func TestNote(t *testing.T) {
	f := &flow{acknowledged: make([]bool, 200000)}
	for n := range f.acknowledged {
		f.sent.Store(int64(n) + 1 + int64(n%1000))
		id := uint16(0)
		for f.packetID = uint16(n % 65535); id == 0; {
			id = f.nextID()
		}
		f.note(id)
		if !f.acknowledged[n] {
			t.Fatalf("message %d with identifier %d was taken for another", n, id)
		}
	}
}
