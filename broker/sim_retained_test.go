package broker_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/x0a1b/promptmq/codec"
)

// TestSimRetainedFetch: the power goes, or the process is killed, while clients are
// sent what was retained when they subscribed, and some of it is replaced meanwhile.
// To whom SUBACK came, all of it comes, and with QoS 2 once.
func TestSimRetainedFetch(t *testing.T) {
	root := simRoot(t)
	cuts, fetched, interrupted := 0, 0, 0
	seeds(t, 20, func(seed uint64) error {
		w, err := inBubble(t, root, seed, simConfig{kills: true}, func(w *world) (err error) {
			var n int
			n, err = w.fetch()
			interrupted += n
			return err
		})
		if w != nil {
			cuts += w.cuts
			for _, c := range w.clients[1:] {
				fetched += len(c.fetched)
			}
		}
		return err
	})
	if interrupted == 0 && cuts > 20 { // one seed may have none
		t.Error("no fetch was interrupted")
	}
	t.Logf("%d cuts, %d of them in a fetch that SUBACK had promised, %d messages", cuts, interrupted, fetched)
}

// fetch is one simulation. It returns how many cuts found a fetch that was promised
// and not done.
func (w *world) fetch() (interrupted int, err error) {
	if err := w.start(); err != nil {
		return 0, err
	}
	topics := 40 + w.r.IntN(200)
	if w.r.IntN(10) == 0 {
		topics = 1200 // more than are listed for a subscription
	}
	filler := newSimClient(w, "filler", codec.Version5, true, 0)
	w.clients = []*simClient{filler}
	for i := range 2 {
		v := []codec.Version{codec.Version5, codec.Version311}[w.r.IntN(2)]
		w.clients = append(w.clients, newSimClient(w, fmt.Sprint("fetcher", i), v, true, codec.QoS(1+(i+w.r.IntN(2))%2)))
	}
	for i := 0; i < topics; {
		w.bringBack()
		w.locked(func() {
			for ; filler.online() && i < topics && len(filler.inflight) < 20; i++ {
				filler.retain(i)
			}
		})
		time.Sleep(time.Millisecond)
	}
	w.locked(func() {
		for _, c := range w.clients[1:] {
			c.subscribeTo([]string{"k/#", "k/+", "#"}[w.r.IntN(3)])
		}
	})
	for range 1 + w.r.IntN(3) {
		n, err := w.fetchUntilCut(topics)
		if err != nil {
			return interrupted, err
		}
		interrupted += n
	}
	w.disk.calm()
	for fetched, still := -1, 0; still < 10; { // until nothing moves
		w.bringBack()
		time.Sleep(time.Second)
		n := 0
		w.locked(func() {
			for _, c := range w.clients[1:] {
				for _, times := range c.fetched { // another SUBSCRIBE brings what came before again
					n += times
				}
			}
		})
		if still++; n != fetched {
			fetched, still = n, 0
		}
	}
	w.checkFetched()
	w.stop()
	path := filepath.Join(w.disk.dir, "promptmq.db")
	if err := errors.Join(checkIntegrity(path), checkNothingOwed(path)); err != nil {
		w.faults = append(w.faults, err.Error())
	}
	return interrupted, w.verdict()
}

// retain publishes another message for a topic.
func (c *simClient) retain(topic int) {
	m := c.w.newMessageLocked(c, fmt.Sprintf("k/%d", topic), 2)
	m.retain = true
	m.sentAt, m.id = c.w.eventLocked(), c.freeID()
	c.inflight = append(c.inflight, m)
	c.link.sendPublishLocked(m, false)
}

// bringBack connects who is not, and waits for it.
func (w *world) bringBack() {
	w.locked(func() {
		for _, c := range w.clients {
			if c.link == nil {
				c.connectLocked(false, nil)
			}
		}
	})
	for range 1000 {
		online := true
		w.locked(func() {
			for _, c := range w.clients {
				online = online && c.online()
			}
		})
		if online {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// fetchUntilCut lets the clients take messages until the power goes, or the process
// is killed, and starts again.
func (w *world) fetchUntilCut(topics int) (interrupted int, err error) {
	w.bringBack()
	kill := w.r.IntN(2) == 0
	w.plan(1+w.r.IntN(60), kill)
	pause := time.Duration(1 + w.r.Int64N(int64(3*time.Millisecond)))
	for range 1 + w.r.IntN(60) {
		off := false
		select {
		case <-w.off:
			off = true
		default:
		}
		if off {
			break
		}
		w.locked(func() {
			if f := w.clients[0]; !w.dying && f.online() && w.r.IntN(8) == 0 && len(f.inflight) < 20 {
				f.retain(w.r.IntN(topics))
			}
			if c := w.clients[1+w.r.IntN(2)]; !w.dying && c.online() && w.r.IntN(30) == 0 {
				c.link.dropLocked()
				c.connectLocked(false, nil)
			}
		})
		time.Sleep(pause)
	}
	w.disk.kill()
	w.powerCut()
	w.locked(func() {
		for _, c := range w.clients[1:] {
			if c.subs[0].ackedAt > 0 && len(c.fetched) < topics {
				interrupted++
			}
		}
	})
	w.bury()
	again := w.disk.powerOn
	if kill {
		again = w.disk.restart
	}
	if err := again(); err != nil {
		return interrupted, err
	}
	return interrupted, w.start()
}

// checkNothingOwed looks for rows that say that something is still to be sent.
func checkNothingOwed(path string) error {
	c, err := sqlite3.OpenFlags("file:"+path, sqlite3.OPEN_READWRITE|sqlite3.OPEN_URI)
	if err != nil {
		return err
	}
	defer c.Close()
	s, _, err := c.Prepare("SELECT count(*) FROM owed")
	if err != nil {
		return err
	}
	defer s.Close()
	if !s.Step() || s.ColumnInt64(0) != 0 {
		return fmt.Errorf("%d subscriptions are owed something: %v", s.ColumnInt64(0), s.Err())
	}
	return nil
}

// checkFetched compares what came with what was acknowledged: for each topic the
// last message, or one sent later, and with QoS 2 none twice.
func (w *world) checkFetched() {
	w.mu.Lock()
	defer w.mu.Unlock()
	lowest := make(map[string]int)
	for _, m := range w.messages {
		if m.ackedAt > 0 {
			lowest[m.topic] = m.no
		}
	}
	for _, c := range w.clients[1:] {
		if c.subs[0].ackedAt == 0 {
			w.faultLocked("%s: no SUBACK", c.id)
			continue
		}
		newest := make(map[string]int)
		for m, times := range c.fetched {
			newest[m.topic] = max(newest[m.topic], m.no)
			if times > 1 && c.qos == 2 && c.subs[0].sends == 1 {
				w.faultLocked("%s: message %d came %d times with QoS 2", c.id, m.no, times)
			}
		}
		missing := 0
		for topic, low := range lowest {
			if got, ok := newest[topic]; !ok || got < low {
				missing++
			}
		}
		if missing > 0 {
			w.faultLocked("%s (QoS %d, SUBSCRIBE sent %d times): %d of %d topics are missing", c.id, c.qos, c.subs[0].sends, missing, len(lowest))
		}
	}
}
