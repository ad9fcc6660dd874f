package link

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/metrics"
)

// A pace rests in proportion to how long others have to wait, if that is long, with a bound, and
// only if there were messages since it did last.
func TestPaceRest(t *testing.T) {
	t.Parallel()
	var p pace
	for i, step := range []struct {
		took     time.Duration
		messages uint64
		want     time.Duration
	}{
		{time.Millisecond, 0, 0},
		{restFrom, 5, restShare * restFrom},
		{time.Second, 5, 0},
		{time.Second, 6, restMax},
		{restFrom - 1, 7, 0},
	} {
		if got := p.rest(step.took, step.messages); got != step.want {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
}

// Messages of every QoS count.
func TestPaceMessages(t *testing.T) {
	t.Parallel()
	m := metrics.NewBroker()
	n := &Network{c: Config{Metrics: m}}
	for _, c := range m.MessagesReceived {
		c.Add(2)
	}
	if got := n.messages(); got != 6 {
		t.Errorf("%d messages, want 6", got)
	}
}

// A turn ends, however many wait for one, and when there are none any more.
func TestTurns(t *testing.T) {
	t.Parallel()
	one := newTurns()
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			for range 20 {
				one.take()
			}
		})
	}
	all.Wait()
	one.close()
	one.take()
	(*turns)(nil).take()
}

// Who connects is accepted also while messages come all the time, and a listener that paces
// can be closed.
func TestPaceAccepts(t *testing.T) {
	t.Parallel()
	n := newTestNetwork(t, 1000, nil)
	connect := n.testListen(t, KindTCP)
	stop := make(chan struct{})
	var storm sync.WaitGroup
	storm.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				n.c.Metrics.MessagesReceived[1].Inc()
			}
		}
	})
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() { comesBack(t, connect()) })
	}
	all.Wait()
	close(stop)
	storm.Wait()
}

// comesBack checks that what is sent comes back.
func comesBack(t *testing.T, nc net.Conn) {
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := nc.Write([]byte("ping")); err != nil {
		t.Error(err)
		return
	}
	b := make([]byte, 4)
	if _, err := nc.Read(b); err != nil || string(b) != "ping" {
		t.Errorf("%q, %v", b, err)
	}
}
