package main

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// A hoard is a way to fill the memory of a broker: attack runs until it has tried n, or stop is
// closed, and returns how many were refused.
type hoard struct {
	name        string
	short, full int // n
	attack      func(s *server, n int) (refused int64)
	stays       bool // what was taken stays after the attack
}

var hoards = []hoard{
	{name: "retained messages of 4 kB", short: 4000, full: 200_000, attack: hoardRetained, stays: true},
	{name: "retained messages without payload to speak of", short: 20_000, full: 400_000, attack: hoardSmallRetained, stays: true},
	{name: "sessions that never end", short: 3000, full: 100_000, attack: hoardSessions, stays: true},
	{name: "sessions with names of 60 kB", short: 1500, full: 20_000, attack: hoardNames, stays: true},
	{name: "Wills of 900 kB of sessions that are away", short: 150, full: 2000, attack: hoardDelayedWills, stays: true},
	{name: "subscriptions", short: 20_000, full: 400_000, attack: hoardSubscriptions, stays: true},
	{name: "subscriptions with filters of 60 kB", short: 500, full: 20_000, attack: hoardLongFilters, stays: true},
	{name: "queues of sessions that are away", short: 4000, full: 100_000, attack: hoardQueues, stays: true},
	{name: "connections, one after the other", short: 2000, full: 100_000, attack: stormConnections},
	{name: "packets of 1 MB without their end", short: 150, full: 2000, attack: hoardPartials},
	{name: "Wills of 65 kB", short: 100, full: 2000, attack: hoardWills},
}

// TestHoards: whoever fills the memory does not end the process, and when the attack is over
// others are served as before, in the long form within ten seconds, also after a restart where what was taken
// stays.
func TestHoards(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector keeps several bytes for each byte that is taken, and these count too: more than the limit")
	}
	memory := 96
	if *long {
		memory = 256
	}
	for _, h := range hoards {
		t.Run(h.name, func(t *testing.T) {
			n := h.short
			if *long {
				n = h.full
			}
			s := startBinary(t, binary, []string{fmt.Sprintf("GOMEMLIMIT=%dMiB", memory)}, "storage: {sqlite: {synchronous: \"OFF\"}}\nmqtt: {max-retained-messages: 10000000, max-subscriptions: 1000000}")
			began := time.Now()
			var most, worst float64
			stop := make(chan struct{})
			var watching sync.WaitGroup
			watching.Go(func() {
				for {
					most = max(most, s.metric("promptmq_system_memory_usage"))
					worst = max(worst, s.metric("promptmq_overload_state"))
					select {
					case <-stop:
						return
					case <-time.After(50 * time.Millisecond):
					}
				}
			})
			watched := sync.OnceFunc(func() {
				close(stop)
				watching.Wait()
			})
			defer watched()
			refused := h.attack(s, n)
			took := time.Since(began)
			ended := time.Now()
			eventually(t, "others are served", func() bool { return tryConnect(s.mqtt, "other", 5*time.Second) == nil })
			served := time.Since(ended)
			checkServed(t, s)
			watched()
			figure(t, "%d MiB, %d %s in %v: %d refused, %.0f MB at most, state %.0f at most; others are served after %v",
				memory, n, h.name, took.Round(time.Millisecond), refused, most/1e6, worst, served.Round(time.Millisecond))
			if *long && served > 10*time.Second {
				t.Errorf("others are served after %v", served)
			}
			if most > float64(memory+64)*(1<<20) {
				t.Errorf("%.0f bytes", most)
			}
			if h.stays {
				s.stop()
				s.restart()
				eventually(t, "others are served after a restart", func() bool { return tryConnect(s.mqtt, "other", 5*time.Second) == nil })
				checkServed(t, s)
			}
		})
	}
}

// checkServed: who comes now can subscribe, publish and receive.
func checkServed(t *testing.T, s *server) {
	t.Helper()
	p := v5Of(t, s, "honest", nil)
	if r := p.publish1(1, "honest/other", "m"); r >= 0x80 {
		t.Errorf("a message: %v", r)
	}
	p.quiet()
	_ = p.Close()
}

// workers is how many connections attack at a time.
const workers = 16

// attackers runs work for as many parts of n as there are workers, and adds up what it returns.
func attackers(n int, work func(worker, from, to int) int) int64 {
	var sum atomic.Int64
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() { sum.Add(int64(work(w, n*w/workers, n*(w+1)/workers))) })
	}
	all.Wait()
	return sum.Load()
}

// attackSeconds is how long an attacker waits for anything: when its connection is not read any
// more it gives up.
const attackSeconds = 5

// An attacker is a connection of somebody who does not mind errors.
type attacker struct {
	net.Conn
	r codec.Reader
}

// attack connects; nil: it was refused.
func attack(s *server, id string, change func(*codec.Connect)) *attacker {
	nc, err := net.Dial("tcp", s.mqtt)
	if err != nil {
		return nil
	}
	a := &attacker{Conn: nc}
	a.r.Reset(0)
	c := codec.Connect{ClientID: codec.View(id), CleanStart: true, ReceiveMaximum: 65535, RequestProblemInformation: true}
	if change != nil {
		change(&c)
	}
	packet, _ := codec.AppendConnect(nil, &c, codec.Version5)
	var ack codec.Connack
	f, ok := a.ask(packet)
	if !ok || f.Type() != codec.TypeConnack || ack.Decode(f, codec.Version5) != nil || ack.Reason != codec.Success {
		_ = nc.Close()
		return nil
	}
	return a
}

// ask sends packets and returns the next one that comes.
func (a *attacker) ask(packets []byte) (codec.Frame, bool) {
	_ = a.SetDeadline(time.Now().Add(attackSeconds * time.Second))
	if _, err := a.Write(packets); err != nil {
		return codec.Frame{}, false
	}
	for {
		f, err := a.r.Next()
		if err == nil {
			return f, true
		}
		if err != codec.ErrIncomplete {
			return f, false
		}
		n, err := a.Read(a.r.Room())
		if err != nil {
			return f, false
		}
		a.r.Wrote(n)
	}
}

// publishOne publishes with QoS 1 and reports whether it was taken, and whether it was answered.
func (a *attacker) publishOne(topic string, payload []byte, retain bool) (taken, answered bool) {
	packet, _ := codec.AppendPublish(nil, &codec.Publish{QoS: 1, PacketID: 1, Retain: retain, Topic: codec.View(topic), Payload: payload}, codec.Version5)
	f, ok := a.ask(packet)
	var ack codec.Ack
	return ok && ack.Decode(f, codec.Version5) == nil && ack.Reason < 0x80, ok
}

func hoardRetained(s *server, n int) int64 { return retain(s, n, make([]byte, 4000)) }

func hoardSmallRetained(s *server, n int) int64 { return retain(s, n, []byte("x")) }

func retain(s *server, n int, payload []byte) int64 {
	return attackers(n, func(w, from, to int) (refused int) {
		a := attack(s, fmt.Sprint("hoarder", w), nil)
		if a == nil {
			return to - from
		}
		defer a.Close()
		for i := from; i < to; i++ {
			taken, answered := a.publishOne(fmt.Sprintf("hoard/%d/of/some/levels/%d", i%1000, i), payload, true)
			if !answered {
				return refused + to - i
			}
			if !taken {
				refused++
			}
		}
		return refused
	})
}

func hoardSessions(s *server, n int) int64 { return hoardSessionsWith(s, n, "hoard", nil) }

func hoardNames(s *server, n int) int64 {
	return hoardSessionsWith(s, n, strings.Repeat("n", 60_000), nil)
}

// hoardDelayedWills leaves Sessions that have Wills of 900 kB for as long as they like.
func hoardDelayedWills(s *server, n int) int64 {
	properties := codec.ForwardBytes(bytes.Repeat(codec.AppendUserProperty(nil, []byte("k"), make([]byte, 60_000)), 14))
	return hoardSessionsWith(s, n, "will", func(c *codec.Connect) {
		c.HasWill, c.Will = true, codec.Will{Topic: codec.View("w"), Payload: make([]byte, 60_000), Forward: properties, DelaySeconds: 1 << 30}
	})
}

// hoardSessionsWith leaves Sessions that never end.
func hoardSessionsWith(s *server, n int, name string, change func(*codec.Connect)) int64 {
	return attackers(n, func(_, from, to int) (refused int) {
		for i := from; i < to; i++ {
			a := attack(s, fmt.Sprint(name, i), func(c *codec.Connect) {
				c.CleanStart, c.HasSessionExpiry, c.SessionExpirySeconds = false, true, 0xFFFFFFFF
				if change != nil {
					change(c)
				}
			})
			if a == nil {
				refused++
				continue
			}
			_ = a.Close()
		}
		return refused
	})
}

func hoardSubscriptions(s *server, n int) int64 { return subscribeMany(s, n, "+/#") }

func hoardLongFilters(s *server, n int) int64 {
	return subscribeMany(s, n, string(bytes.Repeat([]byte("x"), 60000)))
}

// subscribeMany subscribes to n filters that end so, ten at a time.
func subscribeMany(s *server, n int, end string) int64 {
	return attackers(n, func(w, from, to int) (refused int) {
		a := attack(s, fmt.Sprint("hoarder", w), lasting)
		if a == nil {
			return to - from
		}
		defer a.Close()
		for i := from; i < to; i += 10 {
			var subs []codec.Subscription
			for j := range 10 {
				subs = append(subs, codec.Subscription{Filter: codec.View(fmt.Sprintf("%d/+/+/%d/%s", w, i+j, end))})
			}
			packet, _ := codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, subs, codec.Version5)
			f, ok := a.ask(packet)
			var ack codec.Suback
			if !ok || ack.Decode(f, codec.Version5) != nil {
				return refused + to - i
			}
			for _, r := range ack.Reasons {
				if r >= 0x80 {
					refused++
				}
			}
		}
		return refused
	})
}

// hoardQueues fills the queues of 200 Sessions that are away.
func hoardQueues(s *server, n int) int64 {
	for i := range 200 {
		if a := attack(s, fmt.Sprint("away", i), lasting); a != nil {
			packet, _ := codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1}, []codec.Subscription{{Filter: codec.View(fmt.Sprintf("q/%d/#", i)), QoS: 1}}, codec.Version5)
			_, _ = a.ask(packet)
			_ = a.Close()
		}
	}
	return attackers(n, func(w, from, to int) (refused int) {
		a := attack(s, fmt.Sprint("hoarder", w), nil)
		if a == nil {
			return to - from
		}
		defer a.Close()
		for i := from; i < to; i++ {
			taken, answered := a.publishOne(fmt.Sprintf("q/%d/t", i%200), make([]byte, 2000), false)
			if !answered {
				return refused + to - i
			}
			if !taken {
				refused++
			}
		}
		return refused
	})
}

func stormConnections(s *server, n int) int64 {
	return attackers(n, func(w, from, to int) (refused int) {
		for i := from; i < to; i++ {
			nc, err := net.Dial("tcp", s.mqtt)
			if err != nil {
				refused++
				continue
			}
			if i%2 == 0 {
				_, _ = nc.Write([]byte{0x10, 0x20, 0, 4, 'M', 'Q'})
			}
			_ = nc.Close()
		}
		return refused
	})
}

// hoardPartials sends packets but for their last byte. It keeps the connections for as long as
// the broker does, if that is not too long.
func hoardPartials(s *server, n int) int64 {
	packet, _ := codec.AppendPublish(nil, &codec.Publish{Topic: codec.View("p"), Payload: make([]byte, 1_000_000)}, codec.Version5)
	var all []*attacker
	refused := 0
	for i := range n {
		a := attack(s, fmt.Sprint("partial", i), nil)
		if a == nil {
			refused++
			continue
		}
		_ = a.SetDeadline(time.Now().Add(attackSeconds * time.Second))
		_, _ = a.Write(packet[:len(packet)-1])
		all = append(all, a)
	}
	time.AfterFunc(25*time.Second, func() { // others are served before
		for _, a := range all {
			_ = a.Close()
		}
	})
	return int64(refused)
}

// hoardWills connects with large Wills, keeps the connections, and ends them all at once.
func hoardWills(s *server, n int) int64 {
	return attackers(n, func(w, from, to int) (refused int) {
		for i := from; i < to; i++ {
			a := attack(s, fmt.Sprint("will", i), func(c *codec.Connect) {
				c.HasWill, c.Will = true, codec.Will{Topic: codec.View(fmt.Sprint("w/", i)), Payload: make([]byte, 65000), Forward: codec.ForwardBytes(bytes.Repeat(codec.AppendUserProperty(nil, []byte("k"), make([]byte, 0)), 900))}
			})
			if a == nil {
				refused++
				continue
			}
			defer a.Close()
		}
		return refused
	})
}
