package bench

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// relayRunner starts a Relay and returns a Runner for it that watches this process.
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
	return &Runner{URL: "tcp://" + relay.Addr().String(), Protocol: protocol, Timeout: time.Minute, PID: os.Getpid()}
}

func TestRelay(t *testing.T) {
	for _, protocol := range []string{"5", "3.1.1"} {
		for qos := range 3 {
			for name, scenario := range map[string]func(time.Duration) Scenario{
				"one": func(d time.Duration) Scenario {
					return &Throughput{QoS: qos, Payload: 64, PerWrite: 16, Duration: d}
				},
				"groups": func(d time.Duration) Scenario {
					return &Throughput{QoS: qos, Payload: 300, PerWrite: 3, Duration: d, Publishers: 6, Subscribers: 4}
				},
				"large": func(d time.Duration) Scenario {
					return &Throughput{QoS: qos, Payload: 100000, PerWrite: 2, Duration: d}
				},
				"rate": func(d time.Duration) Scenario {
					return &Latency{QoS: qos, Payload: 64, Rate: 1000, Duration: d, Publishers: 2, Subscribers: 2}
				},
			} {
				t.Run(fmt.Sprintf("%s %s QoS %d", name, protocol, qos), func(t *testing.T) {
					brief := 100 * time.Millisecond
					res := measured(t, protocol, scenario(brief))
					for res.Failure == errNothingMeasured.Error() && brief < time.Minute { // the machine is slow
						brief *= 5
						res = measured(t, protocol, scenario(brief))
					}
					if n, _ := res.Figures.Get("delivered"); res.Failure != "" || n <= 0 {
						t.Errorf("%+v", res)
					}
				})
			}
		}
	}
}

// measured measures a scenario through a Relay of its own.
func measured(t *testing.T, protocol string, o Scenario) *Result {
	t.Helper()
	if v, ok := o.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			t.Fatal(err)
		}
	}
	res, err := o.Measure(t.Context(), relayRunner(t, protocol))
	if err != nil {
		t.Fatal(err)
	}
	return res
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
