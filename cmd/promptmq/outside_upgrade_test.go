//go:build outside

package main

import (
	"flag"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

var upgradeQueued = flag.Int("upgrade.queued", 0, "sessions that are absent during the handover, with a thousand messages each")

// TestOutsideUpgrade measures a handover under 5,000 messages a second with QoS 1, from 500
// clients to 500: no connect is refused, nothing that was acknowledged is lost.
func TestOutsideUpgrade(t *testing.T) {
	const pairs, every, before, after = 500, 100 * time.Millisecond, 4 * time.Second, 6 * time.Second
	s := start(t, "")
	w := &killWorld{t: t, stop: make(chan struct{})}
	w.addr.Store(&s.mqtt)
	var last, longest, failed atomic.Int64 // of deliveries, in ns
	var done, subs sync.WaitGroup
	queueForAbsent(t, w, *upgradeQueued)
	stop, end := make(chan struct{}), make(chan struct{})
	got := make([]sync.Map, pairs)
	acked := make([]int, pairs)
	for i := range pairs {
		topic := fmt.Sprintf("up/%d", i)
		ready := make(chan struct{})
		subs.Go(func() {
			first := true
			upgradeClient(w, end, fmt.Sprintf("s%d", i), &failed, func(c *killConn) error {
				if first {
					b, _ := codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, []codec.Subscription{{Filter: codec.View(topic), QoS: 1}}, codec.Version5)
					if _, err := c.Write(b); err != nil {
						return err
					}
				}
				for {
					f, err := c.next()
					if err != nil {
						return err
					}
					if f.Type() == codec.TypeSuback {
						first = false
						close(ready)
						continue
					}
					var p codec.Publish
					if err := p.Decode(f, codec.Version5); err != nil {
						return err
					}
					now := time.Now().UnixNano()
					if gap := now - last.Swap(now); gap < int64(time.Minute) && gap > longest.Load() {
						longest.Store(gap)
					}
					got[i].Store(string(p.Payload), true)
					c.queueAck(codec.TypePuback, p.PacketID)
					if err := c.flush(); err != nil {
						return err
					}
				}
			})
		})
		done.Go(func() {
			<-ready
			seq := 0
			time.Sleep(time.Duration(i) * every / pairs) // not all at once
			upgradeClient(w, stop, fmt.Sprintf("p%d", i), &failed, func(c *killConn) error {
				for ticks := time.NewTicker(every); ; {
					c.buf, _ = codec.AppendPublish(c.buf, &codec.Publish{QoS: 1, PacketID: uint16(seq%60000 + 1), Topic: codec.View(topic), Payload: fmt.Append(nil, seq)}, codec.Version5)
					if err := c.flush(); err != nil {
						return err
					}
					if _, err := c.next(); err != nil {
						return err
					}
					seq++
					acked[i] = seq
					select {
					case <-ticks.C:
					case <-stop:
						return errKillDone
					}
				}
			})
		})
	}
	time.Sleep(before)
	longest.Store(0)
	u, r := s.upgrade()
	if r.code != 0 {
		t.Fatalf("%+v", r)
	}
	defer s.stopSuccessor(u.PID)
	time.Sleep(after)
	close(stop)
	done.Wait()
	total := 0
	missing := func() (n int) {
		for i := range pairs {
			for seq := range acked[i] {
				if _, there := got[i].Load(fmt.Sprint(seq)); !there {
					n++
				}
			}
		}
		return n
	}
	for _, n := range acked {
		total += n
	}
	eventually(t, "all that was acknowledged comes", func() bool { return missing() == 0 })
	close(end)
	subs.Wait()
	t.Logf("%d acknowledged (%d a second), lost %d; connects refused %d, closed before CONNACK %d; nothing was accepted for %.0f ms, nothing delivered for %d ms",
		total, total/int((before+after)/time.Second), missing(), w.refused.Load(), failed.Load(), u.GapSeconds*1000, longest.Load()/1e6)
	if n := w.refused.Load(); n > 0 {
		t.Errorf("%d connects were refused", n)
	}
}

// queueForAbsent leaves a thousand messages in each of so many sessions.
func queueForAbsent(t *testing.T, w *killWorld, sessions int) {
	absent := func(id string, ask func([]byte) []byte, times int) {
		c, err := w.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.connect(id); err != nil {
			t.Fatal(err)
		}
		for range times {
			if _, err := c.Write(ask(nil)); err != nil {
				t.Fatal(err)
			}
			if _, err := c.next(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range sessions {
		absent(fmt.Sprintf("absent%d", i), func(b []byte) []byte {
			b, _ = codec.AppendSubscribe(b, &codec.Subscribe{PacketID: 1}, []codec.Subscription{{Filter: codec.View("absent"), QoS: 1}}, codec.Version5)
			return b
		}, 1)
	}
	if sessions > 0 {
		absent("filler", func(b []byte) []byte {
			b, _ = codec.AppendPublish(b, &codec.Publish{QoS: 1, PacketID: 1, Topic: codec.View("absent"), Payload: make([]byte, 100)}, codec.Version5)
			return b
		}, 1000)
	}
}

// upgradeClient connects again and again until stop is closed, or what it does is done.
func upgradeClient(w *killWorld, stop <-chan struct{}, id string, failed *atomic.Int64, do func(*killConn) error) {
	for known := false; ; {
		select {
		case <-stop:
			return
		default:
		}
		c, err := w.dial()
		if err != nil {
			w.refused.Add(1)
			time.Sleep(time.Millisecond)
			continue
		}
		present, err := c.connect(id)
		switch {
		case err != nil:
			failed.Add(1)
			_ = c.Close()
			continue
		case known && !present:
			w.t.Errorf("%s: the session is gone", id)
		}
		known = true
		leave := make(chan struct{})
		go func() {
			select {
			case <-stop:
				time.Sleep(time.Second) // who has something under way ends by itself
				_ = c.Close()
			case <-leave:
			}
		}()
		err = do(c)
		close(leave)
		_ = c.Close()
		if err == errKillDone {
			return
		}
	}
}
