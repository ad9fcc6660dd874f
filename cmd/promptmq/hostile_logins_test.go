package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// TestWrongPasswords: a storm of logins with invented users and passwords is refused, all of
// it, and costs those who are logged in little. It comes over a Unix socket: over TCP the kernel
// of a machine that has both ends takes more for so many connections than all else here.
func TestWrongPasswords(t *testing.T) {
	perSecond, d, rounds := 200, time.Second, 1
	if *long {
		perSecond, d, rounds = 10_000, 10*time.Second, 3
	}
	path := filepath.Join(t.TempDir(), "storm")
	s := withPasswords(t, "auth: {allow-anonymous: true}\nserver:\n  listeners:\n    - {kind: unix, address: "+path+"}\n")
	var quiet, stormy time.Duration
	var storms loginStorm
	for round := range rounds {
		took := s.p99(d)
		stop := storms.begin(path, perSecond)
		tookWith := s.p99(d)
		stop()
		if round == 0 || took < quiet {
			quiet = took
		}
		if round == 0 || tookWith < stormy {
			stormy = tookWith
		}
	}
	tried, refused := storms.tried.Load(), storms.refused.Load()
	figure(t, "5000 messages a second with QoS 1: %v at p99, beside %.0f wrong passwords a second %v (%.1f times as long); %d of %d refused, the others found the listener's queue full; %.0f compared",
		quiet, float64(storms.offered.Load())/storms.lasted.Seconds(), stormy, stormy.Seconds()/quiet.Seconds(), refused, storms.offered.Load(), s.metric("promptmq_login_hash_seconds_count"))
	if tried == 0 || refused != tried || storms.other.Load() > 0 {
		t.Errorf("of %d logins %d were refused, %d otherwise answered", tried, refused, storms.other.Load())
	}
	if *long && stormy > 2*quiet {
		t.Error("the storm more than doubles how long messages take")
	}
}

// p99 is how long all but a hundredth of 5,000 messages a second take to a subscriber.
func (s *server) p99(d time.Duration) time.Duration {
	s.t.Helper()
	code, res, stderr := benchRun(s.t, "latency", "--url", "tcp://"+s.mqtt, "--qos", "1", "--rate", "5000", "--duration", d.String(), "--warmup", "500ms")
	us, ok := res.Figures.Get("latency_p99_us")
	if code != 0 || !ok {
		s.t.Fatalf("exit %d: %s %v", code, stderr, res)
	}
	return time.Duration(us * float64(time.Microsecond))
}

// A loginStorm logs in with names and passwords that nobody has.
type loginStorm struct {
	offered, tried, refused, other atomic.Int64
	lasted                         time.Duration
}

// begin begins so many logins a second, and returns what ends that and waits for all answers.
func (l *loginStorm) begin(path string, perSecond int) (end func()) {
	const step = time.Millisecond
	stop, began := make(chan struct{}), time.Now()
	var all sync.WaitGroup
	all.Go(func() {
		tick := time.NewTicker(step)
		defer tick.Stop()
		begun := 0
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			for due := int(time.Since(began).Seconds() * float64(perSecond)); begun < due; begun++ {
				all.Go(func() { l.try(path) })
			}
		}
	})
	return func() {
		close(stop)
		l.lasted += time.Since(began)
		all.Wait()
	}
}

// try logs in once.
func (l *loginStorm) try(path string) {
	l.offered.Add(1)
	nc, err := net.Dial("unix", path)
	if err != nil {
		return // more wait to be accepted than may: it was not tried
	}
	defer nc.Close()
	l.tried.Add(1)
	c := codec.Connect{CleanStart: true, ReceiveMaximum: 65535, RequestProblemInformation: true}
	as(fmt.Sprint("nobody", rand.Uint64()), fmt.Sprint(rand.Uint64()))(&c)
	packet, err := codec.AppendConnect(nil, &c, codec.Version5)
	if err != nil {
		panic(err)
	}
	_ = nc.SetDeadline(time.Now().Add(clientSeconds * time.Second))
	_, _ = nc.Write(packet)
	answer, _ := io.ReadAll(nc) // it is closed after the CONNACK
	switch {
	case len(answer) > 3 && answer[0] == 0x20 && codec.ReasonCode(answer[3]) >= codec.UnspecifiedError:
		l.refused.Add(1)
	default:
		l.other.Add(1)
	}
}
