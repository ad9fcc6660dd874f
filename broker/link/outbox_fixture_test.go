package link

import (
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/metrics"
)

// A disk is Commits whose groups are on disk when a test says so.
type disk struct {
	early     uint64 // control: so many groups are said to be on disk that are not
	committed atomic.Uint64

	mu      sync.Mutex // guards the following
	waiting map[uint64][]interface{ Committed() }
}

func (d *disk) Committed() uint64 { return d.committed.Load() + d.early }

func (d *disk) Await(number uint64, w interface{ Committed() }) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if number <= d.Committed() {
		return false
	}
	if d.waiting == nil {
		d.waiting = make(map[uint64][]interface{ Committed() })
	}
	d.waiting[number] = append(d.waiting[number], w)
	return true
}

// commit brings all groups up to this one to disk, and tells who waits.
func (d *disk) commit(number uint64) {
	d.mu.Lock()
	var told []interface{ Committed() }
	for n := d.committed.Load() + 1; n <= number; n++ {
		told = append(told, d.waiting[n]...)
		delete(d.waiting, n)
	}
	d.committed.Store(number)
	d.mu.Unlock()
	for _, w := range told {
		w.Committed()
	}
}

// A wire is a Transport whose peer takes as much as a test lets it.
type wire struct {
	Transport
	halfCloses bool         // CloseWrite can do it
	panics     bool         // a write does
	onWrite    func([]byte) // not nil: is told of what is written

	mu         sync.Mutex // guards the following
	written    []byte
	room       int           // bytes that the peer still takes; negative: all
	changed    chan struct{} // closed when there is more room, or the wire is closed
	halfClosed bool
	closes     int
}

func newWire(room int) *wire { return &wire{room: room, changed: make(chan struct{})} }

func (w *wire) TryWrite(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.panics {
		panic("asked for")
	}
	if w.closes > 0 {
		return 0, net.ErrClosed
	}
	n := len(b)
	if w.room >= 0 {
		n = min(n, w.room)
		w.room -= n
	}
	w.written = append(w.written, b[:n]...)
	if w.onWrite != nil && n > 0 {
		w.onWrite(b[:n])
	}
	return n, nil
}

func (w *wire) WriteWithin(b []byte, timeout time.Duration) (written int, err error) {
	late := time.NewTimer(timeout)
	defer late.Stop()
	for {
		w.mu.Lock()
		changed := w.changed
		w.mu.Unlock()
		n, err := w.TryWrite(b[written:])
		if written += n; err != nil || written == len(b) {
			return written, err
		}
		select {
		case <-changed:
		case <-late.C:
			return written, os.ErrDeadlineExceeded
		}
	}
}

// take lets the peer take so many bytes more; negative: all that comes.
func (w *wire) take(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.room += n; n < 0 {
		w.room = -1
	}
	w.changeLocked()
}

func (w *wire) changeLocked() {
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *wire) CloseWrite() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.halfClosed = w.halfCloses
	return w.halfCloses
}

func (w *wire) Listener() *Listener { return nil }

func (w *wire) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closes++
	w.changeLocked()
	return nil
}

func (w *wire) closed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closes > 0
}

func (w *wire) bytes() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]byte(nil), w.written...)
}

// A bench is an Outbox with all that it needs.
type bench struct {
	t    testing.TB
	disk *disk
	wire *wire
	m    *metrics.Broker
	out  *Outbox
	p    Pending
}

func newBench(t testing.TB, room int) *bench {
	b := &bench{t: t, disk: new(disk), wire: newWire(room), m: metrics.NewBroker(), out: new(Outbox)}
	b.out.Init(&OutboxConfig{
		Commits: b.disk, Metrics: b.m, WriteBuffer: 32 << 10, WriteTimeout: 30 * time.Second,
		Recover: func(doing string, then ...func()) {
			if p := recover(); p != nil {
				b.m.Panics.Inc()
				for _, f := range then {
					f()
				}
			}
		},
	}, b.wire)
	b.out.SetClient(codec.Version5, 0, 0, time.Time{})
	return b
}

// ack returns an encoder for a PUBACK.
func ack(id uint16) func([]byte) []byte {
	return func(dst []byte) []byte {
		dst, _ = codec.AppendAck(dst, &codec.Ack{Type: codec.TypePuback, PacketID: id}, codec.Version5)
		return dst
	}
}

func (b *bench) now(id uint16) bool { return b.out.Queue(&b.p, ack(id)) }

func (b *bench) held(id uint16, h Hold) bool { return b.out.QueueHeld(&b.p, h, ack(id)) }

func (b *bench) publish(qos codec.QoS, topic, payload string, commit uint64) Acceptance {
	m := codec.Publish{QoS: qos, Topic: codec.View(topic), Payload: codec.View(payload)}
	if qos > 0 {
		m.PacketID = 1
	}
	return b.out.QueuePublish(&b.p, &m, commit)
}

func (b *bench) offer(topic, payload string) Acceptance {
	return b.out.OfferPublish(&b.p, &codec.Publish{Topic: codec.View(topic), Payload: codec.View(payload)})
}

func (b *bench) flush() { b.p.Flush(b.m) }

// expect flushes and compares all that was written so far, in short.
func (b *bench) expect(want string) {
	b.t.Helper()
	b.flush()
	if got := strings.Join(decode(b.t, b.wire.bytes()), " "); got != want {
		b.t.Errorf("written is %q, expected %q", got, want)
	}
}

// decode returns the packets of b in short: "7" is the PUBACK for 7, "x@t#2" the
// message "x" with Topic Name "t" and Topic Alias 2.
func decode(t testing.TB, b []byte) (packets []string) {
	t.Helper()
	var r codec.Reader
	r.Reset(0)
	r.SetVersion(codec.Version5)
	for len(b) > 0 || r.Buffered() > 0 {
		n := copy(r.Room(), b)
		b = b[n:]
		r.Wrote(n)
		f, err := r.Next()
		if err == codec.ErrIncomplete && n > 0 {
			continue
		}
		if err != nil {
			t.Fatalf("after %v: %v", packets, err)
		}
		switch f.Type() {
		case codec.TypePuback:
			var a codec.Ack
			if err := a.Decode(f, codec.Version5); err != nil {
				t.Fatal(err)
			}
			packets = append(packets, fmt.Sprint(a.PacketID))
		case codec.TypePublish:
			var m codec.Publish
			if err := m.Decode(f, codec.Version5); err != nil {
				t.Fatal(err)
			}
			packets = append(packets, fmt.Sprintf("%s@%s#%d", m.Payload, m.Topic, m.TopicAlias))
		default:
			packets = append(packets, f.Type().String())
		}
	}
	return packets
}

// A receipt is complete when a test says so.
type receipt struct{ complete atomic.Bool }

func (r *receipt) Complete() bool { return r.complete.Load() }
