package broker_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/codec"
)

var leakConnects = flag.Int("leak.connects", 4000, "how many bad CONNECT packets TestLeakConnect sends")

// TestLeakConnect: whatever is wrong with a CONNECT, nothing of it stays: no memory, no
// goroutine, no Session. -leak.connects=100000 is the long mode.
func TestLeakConnect(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, 1))
		f := newFixtureWith(t, withUsers)
		f.badConnects(rng, 1000) // what is made once, and pools
		f.connectV5("bystander", nil).quiet()
		sessions, goroutines, before := f.metric("promptmq_sessions"), runtime.NumGoroutine(), heapInUse()
		f.badConnects(rng, *leakConnects)
		after := heapInUse()
		if n := runtime.NumGoroutine() - goroutines; n > 0 {
			t.Errorf("%d goroutines more", n)
		}
		if n := f.metric("promptmq_sessions") - sessions; n != 0 {
			t.Errorf("%v sessions more", n)
		}
		const most = 128 << 10
		grown := after - before
		t.Logf("%d bytes more after %d bad CONNECT packets", grown, *leakConnects)
		if grown > most && raceSlowdown == 1 {
			t.Errorf("%d bytes more after %d, at most %d", grown, *leakConnects, most)
		}
		runtime.KeepAlive(f)
	})
}

// heapInUse is how many bytes the heap has without garbage.
func heapInUse() int {
	runtime.GC()
	runtime.GC() // what the first leaves of pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// badConnects sends n CONNECT packets of which none is accepted.
func (f *fixture) badConnects(rng *rand.Rand, n int) {
	f.t.Helper()
	refused := 0
	for range n {
		client, server := newSimConn(0, 1)
		done := make(chan struct{})
		go func() { defer close(done); f.b.ServeConn(&memoryConn{server}) }()
		_, _ = client.Write(badConnect(rng)) // an error: it is closed already
		if rng.IntN(2) == 0 {
			_ = (&memoryConn{client}).CloseWrite()
		}
		answer := make([]byte, 512)
		if k, _ := client.Read(answer); k > 0 {
			if answer[0] != 0x20 || answer[3] == 0 {
				f.t.Fatalf("answered % x", answer[:k])
			}
			refused++
		}
		_ = client.Close()
		<-done
	}
	if refused < n/10 || refused == n {
		f.t.Errorf("%d of %d got a CONNACK: not what the test is to send", refused, n)
	}
	synctest.Wait()
	f.journal.forget()
}

// badConnect is a CONNECT that is refused, or cut, or damaged; often with a Will with properties.
func badConnect(rng *rand.Rand) []byte {
	v := []codec.Version{codec.Version31, codec.Version311, codec.Version5}[rng.IntN(3)]
	c := codec.Connect{
		ClientID: codec.View(fmt.Sprint("leak", rng.Uint32())), CleanStart: rng.IntN(2) == 0, ReceiveMaximum: 10, RequestProblemInformation: true,
		HasUserName: true, UserName: codec.View("user"), HasPassword: true, Password: make([]byte, rng.IntN(100)), // which is wrong
	}
	if rng.IntN(2) == 0 {
		c.HasWill, c.Will = true, codec.Will{Topic: codec.View("will"), Payload: make([]byte, rng.IntN(1000)), Retain: rng.IntN(2) == 0}
		if v == codec.Version5 {
			c.Will.DelaySeconds = rng.Uint32()
			c.Will.Forward = codec.ForwardBytes(codec.AppendUserProperty(codec.AppendResponseTopic(nil, []byte("answer")), []byte("k"), make([]byte, rng.IntN(300))))
		}
	}
	if v == codec.Version5 {
		c.UserProperties = codec.MakeUserProperties(codec.AppendUserProperty(nil, []byte("k"), make([]byte, rng.IntN(300))))
		lasting(&c)
	}
	b, err := codec.AppendConnect(nil, &c, v)
	if err != nil {
		panic(err)
	}
	switch rng.IntN(6) {
	case 0:
		return b[:1+rng.IntN(len(b)-1)]
	case 1:
		if v != codec.Version31 { // where fields at the end may be missing, which makes it a good one
			b[2+rng.IntN(len(b)-2)] ^= 1 << rng.IntN(8)
		}
	case 2:
		return append(b, b...)
	case 3:
		b[0] |= byte(1 + rng.IntN(15))
	}
	return b
}

// TestQoS2Hoard: a Client that never sends PUBREL is cut off at the Receive Maximum each time
// that it connects. What it leaves is a bit for each Packet Identifier, which there are 65,535
// of, and all can be released later; with the Session they go. [MQTT-3.3.4-7]
func TestQoS2Hoard(t *testing.T) { timeless(t, testQoS2Hoard) }

func testQoS2Hoard(t *testing.T) {
	const most, rounds = 10, 40
	f := newFixtureWith(t, func(o *broker.Options) { o.ReceiveMaximum = most })
	for round := range uint16(2 * rounds) { // the second half with the same identifiers
		p := f.connectV5("hoarder", resumed)
		for i := range uint16(most) {
			p.publish(2, 1+round%rounds*most+i, "t", "x")
		}
		for range most {
			if a := p.acked(codec.TypePubrec); a.Reason >= 0x80 {
				t.Fatalf("round %d: PUBREC %v", round, a.Reason)
			}
		}
		if round < rounds {
			p.publish(2, 60_000, "t", "x")
			p.closed(codec.ReceiveMaximumExceeded)
		} else { // they were repetitions
			p.quiet()
			p.drop()
		}
		synctest.Wait()
		if n, all := f.b.ReceivingForTest("hoarder"), int(min(round+1, rounds))*most; n != all {
			t.Fatalf("round %d: %d identifiers are held, expected %d", round, n, all)
		}
	}
	f.kill()
	f.restart()
	if n := f.b.ReceivingForTest("hoarder"); n != rounds*most {
		t.Errorf("%d identifiers are held after a crash", n)
	}
	p := f.connectV5("hoarder", resumed)
	for id := range uint16(rounds * most / 2) {
		if got := p.release(1 + id); got != codec.Success {
			t.Fatalf("PUBCOMP %v", got)
		}
	}
	if n := f.b.ReceivingForTest("hoarder"); n != rounds*most/2 {
		t.Errorf("%d identifiers are held when half are released", n)
	}
	p.leave(nil)
	f.connectV5("hoarder", nil).quiet()
	if n := f.b.ReceivingForTest("hoarder"); n != 0 {
		t.Errorf("%d identifiers are held after a Clean Start", n)
	}
}
