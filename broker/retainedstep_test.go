package broker_test

import (
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// TestSubscribeWhileRetaining: a subscription is made in one step with the look
// at what is retained, and a message is retained in one step with the look at
// who subscribes. So after the retained message the next one follows: none is
// missing and none comes twice.
func TestSubscribeWhileRetaining(t *testing.T) {
	const subscribers, rounds = 4, 500
	f := newFixture(t)
	pub := f.connect("pub")
	var over atomic.Bool
	var first atomic.Int64 // how many got the retained message first
	var publishing, subscribing sync.WaitGroup
	publishing.Go(func() {
		for n := 1; !over.Load(); n++ {
			b, _ := codec.AppendPublish(nil, &codec.Publish{
				Retain: true, Topic: codec.View("now"), Payload: codec.View(strconv.Itoa(n)),
			}, codec.Version5)
			if _, err := pub.Write(b); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i := range subscribers {
		subscribing.Go(func() {
			for range rounds {
				retained, err := f.subscribeAnew(fmt.Sprint("sub", i))
				if err != nil {
					t.Error(err)
					return
				}
				if retained {
					first.Add(1)
				}
			}
		})
	}
	subscribing.Wait()
	over.Store(true)
	publishing.Wait()
	if n := first.Load(); n < subscribers*rounds/2 { // else it shows nothing
		t.Errorf("%d of %d subscriptions got the retained message first", n, subscribers*rounds)
	}
}

// subscribeAnew subscribes in a Session of its own, which nothing stores, so that
// no answer awaits the disk, and looks at the first two messages.
func (f *fixture) subscribeAnew(id string) (retained bool, err error) {
	p, err := f.subscribing(id, "now")
	if err != nil {
		return false, err
	}
	defer p.Close()
	for last := 0; ; {
		frame, err := p.next()
		if err != nil {
			return false, err
		}
		if frame.Type() != codec.TypePublish {
			continue
		}
		var m codec.Publish
		if err := m.Decode(frame, codec.Version5); err != nil {
			return false, err
		}
		n, err := strconv.Atoi(m.Payload.String())
		if err != nil {
			return false, err
		}
		if last == 0 {
			last, retained = n, m.Retain
			continue
		}
		if n != last+1 {
			return false, fmt.Errorf("message %d came after %d, RETAIN %v", n, last, retained)
		}
		return retained, nil
	}
}

// TestFetchWhileRetaining: what a subscription is owed goes out while it is replaced, and
// others are published. Of no Topic Name does an older message come after a newer one, and the
// last one of each comes.
func TestFetchWhileRetaining(t *testing.T) {
	const topicNames, publishers, rounds = 300, 2, 8
	f := newFixture(t)
	var publishing sync.WaitGroup
	for i := range publishers {
		pub := f.connect(fmt.Sprint("pub", i))
		publishing.Go(func() {
			for n := 1; n <= rounds; n++ {
				for topic := i; topic < topicNames; topic += publishers {
					b, _ := codec.AppendPublish(nil, &codec.Publish{
						Retain: true, Topic: codec.View(fmt.Sprint("fetch/", topic)), Payload: codec.View(strconv.Itoa(n)),
					}, codec.Version5)
					if _, err := pub.Write(b); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	var fetching sync.WaitGroup
	for i := range 3 {
		fetching.Go(func() {
			for f.m.Retained.Get() < uint64(topicNames*(1+2*i)) { // polls, the test's timeout is the deadline
				time.Sleep(time.Millisecond)
			}
			if err := f.fetchAll(fmt.Sprint("sub", i), topicNames, rounds); err != nil {
				t.Error(err)
			}
		})
	}
	fetching.Wait()
	publishing.Wait()
}

// subscribing sends CONNECT and SUBSCRIBE, and waits for no answer. The caller closes the peer.
func (f *fixture) subscribing(id, filter string) (*peer, error) {
	client, server := net.Pipe()
	go f.b.ServeConn(server)
	p := &peer{Conn: client, t: f.t, v: codec.Version5}
	p.r.Reset(0)
	b, _ := codec.AppendConnect(nil, &codec.Connect{CleanStart: true, ClientID: codec.View(id)}, codec.Version5)
	b, _ = codec.AppendSubscribe(b, &codec.Subscribe{PacketID: 1}, []codec.Subscription{{Filter: codec.View(filter)}}, codec.Version5)
	if _, err := p.Write(b); err != nil {
		_ = p.Close()
		return nil, err
	}
	return p, nil
}

// fetchAll subscribes, and reads until the message of the last round has come of each Topic Name.
func (f *fixture) fetchAll(id string, topicNames, rounds int) error {
	p, err := f.subscribing(id, "fetch/#")
	if err != nil {
		return err
	}
	defer p.Close()
	last := make(map[string]int)
	for left := topicNames; left > 0; {
		frame, err := p.next()
		if err != nil {
			return err
		}
		if frame.Type() != codec.TypePublish {
			continue
		}
		var m codec.Publish
		if err := m.Decode(frame, codec.Version5); err != nil {
			return err
		}
		n, err := strconv.Atoi(m.Payload.String())
		if err != nil {
			return err
		}
		topic := m.Topic.String()
		if n <= last[topic] {
			return fmt.Errorf("%s: message %d came after %d, RETAIN %v", topic, n, last[topic], m.Retain)
		}
		if last[topic] = n; n == rounds {
			left--
		}
	}
	return nil
}
