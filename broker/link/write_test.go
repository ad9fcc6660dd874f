package link

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// virtual runs f with a bench, in virtual time, in which goroutines settle at once.
func virtual(t *testing.T, room int, f func(t *testing.T, b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, room)
		f(t, b)
		b.out.Abort()
		synctest.Wait()
	})
}

// TestPartialWrites: whatever the peer takes at a time, all arrives, in order.
func TestPartialWrites(t *testing.T) {
	virtual(t, 3, func(t *testing.T, b *bench) {
		r := rand.New(rand.NewPCG(1, 2))
		var want []string
		for id := uint16(1); id <= 500; id++ {
			switch id % 3 {
			case 0:
				b.now(id)
				want = append(want, fmt.Sprint(id))
			case 1:
				payload := strings.Repeat("x", r.IntN(1000))
				b.publish(1, "t", payload, 0)
				want = append(want, payload+"@t#0")
			}
			if r.IntN(4) == 0 {
				b.flush()
			}
			if r.IntN(3) == 0 {
				b.wire.take(r.IntN(600))
				synctest.Wait()
			}
		}
		b.wire.take(-1)
		synctest.Wait()
		b.expect(strings.Join(want, " "))
		if n := b.m.BytesSent.Get(); int(n) != len(b.wire.bytes()) {
			t.Errorf("%d bytes are counted as sent of %d", n, len(b.wire.bytes()))
		}
	})
}

// TestWriteTimeout: a Client that takes nothing for the write timeout is closed; one
// that takes something is not.
func TestWriteTimeout(t *testing.T) {
	virtual(t, 10, func(t *testing.T, b *bench) {
		b.publish(1, "t", strings.Repeat("x", 3*writeBytesMax), 0)
		b.flush()
		began := time.Now()
		for range 3 { // each takes a piece
			time.Sleep(20 * time.Second)
			b.wire.take(writeBytesMax)
		}
		synctest.Wait()
		if b.wire.closed() {
			t.Fatal("closed although the Client takes something")
		}
		for range 4 {
			b.publish(1, "t", strings.Repeat("x", writeBytesMax), 0)
		}
		b.flush()
		for !b.wire.closed() {
			time.Sleep(time.Second)
			synctest.Wait()
		}
		if took := time.Since(began); took < 70*time.Second || took > 91*time.Second {
			t.Errorf("closed after %v", took)
		}
		if !b.out.TimedOut() || b.m.WriteTimeouts.Get() != 1 {
			t.Error("it is not said, or not counted, that it took too long")
		}
		if b.now(1) || b.out.Room() != nil {
			t.Error("it takes more")
		}
	})
}

// TestCloseWritesLast: Close drops what is held, and writes what is ready and then the
// last packet, however slowly the Client takes it.
func TestCloseWritesLast(t *testing.T) {
	for _, room := range []int{-1, 0} {
		virtual(t, room, func(t *testing.T, b *bench) {
			b.now(1)
			b.held(2, Hold{Commit: 1})
			b.flush()
			b.now(3)
			b.out.Close(ack(4)(nil))
			b.disk.commit(1)
			b.out.Close(ack(5)(nil)) // it is closing
			if room == 0 {
				synctest.Wait()
				if b.wire.closed() {
					t.Fatal("closed before all is written")
				}
				b.wire.take(-1)
			}
			synctest.Wait()
			b.expect("1 3 4")
			if !b.wire.closed() {
				t.Error("it is not closed")
			}
			if b.out.TimedOut() {
				t.Error("it timed out")
			}
		})
	}
}

// TestCloseIsBounded: who does not take the last packet is closed all the same.
func TestCloseIsBounded(t *testing.T) {
	virtual(t, 0, func(t *testing.T, b *bench) {
		b.now(1)
		b.out.Close(ack(2)(nil))
		time.Sleep(CloseWait - time.Second)
		synctest.Wait()
		if b.wire.closed() {
			t.Error("closed too soon")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !b.wire.closed() {
			t.Error("it is not closed")
		}
		if b.out.TimedOut() || b.m.WriteTimeouts.Get() != 0 {
			t.Error("a farewell counts as a write timeout")
		}
	})
}

// TestLinger: only the stream to the Client ends, until the reader hangs up.
func TestLinger(t *testing.T) {
	for _, halfCloses := range []bool{true, false} {
		virtual(t, -1, func(t *testing.T, b *bench) {
			b.wire.halfCloses = halfCloses
			b.out.Linger()
			b.out.Close(ack(1)(nil))
			if b.wire.closed() == halfCloses || b.wire.halfClosed != halfCloses {
				t.Errorf("closed: %v, for writing: %v", b.wire.closed(), b.wire.halfClosed)
			}
			if !b.out.Lingers() {
				t.Error("it does not linger")
			}
			b.out.HangUp()
			if !b.wire.closed() || b.out.Lingers() {
				t.Error("it lingers on")
			}
			b.expect("1")
		})
	}
	virtual(t, 0, func(t *testing.T, b *bench) { // the reader hangs up first
		b.wire.halfCloses = true
		b.out.Linger()
		b.out.Close(ack(1)(nil))
		b.out.HangUp()
		if b.wire.closed() {
			t.Error("closed before all is written")
		}
		b.wire.take(-1)
		synctest.Wait()
		if !b.wire.closed() {
			t.Error("it is not closed")
		}
		b.expect("1")
	})
}

// TestAbort: nothing more is written, and who waits is let go.
func TestAbort(t *testing.T) {
	virtual(t, 2, func(t *testing.T, b *bench) {
		b.publish(1, "t", strings.Repeat("x", OutBytesMax), 0)
		b.held(1, Hold{Commit: 1})
		b.flush()
		synctest.Wait()
		room := b.out.Room()
		b.out.Abort()
		<-room
		b.disk.commit(1)
		b.wire.take(-1)
		b.flush()
		synctest.Wait()
		if n := len(b.wire.bytes()); n != 2 || !b.wire.closed() || b.out.Held() != 0 {
			t.Errorf("%d bytes were written, %d packets are held", n, b.out.Held())
		}
		b.out.Abort()
		b.out.Close(nil)
		if b.wire.closes != 1 {
			t.Errorf("closed %d times", b.wire.closes)
		}
	})
}

// TestSettle: it waits for what the Client has to take and for what is held, and not for
// ever.
func TestSettle(t *testing.T) {
	virtual(t, -1, func(t *testing.T, b *bench) {
		b.out.Settle() // nothing waits
		b.held(1, Hold{Commit: 1})
		go func() {
			time.Sleep(time.Second)
			b.disk.commit(1)
		}()
		began := time.Now()
		b.out.Settle()
		b.expect("1")
		b.held(2, Hold{Commit: 2})
		b.out.Settle()
		if took := time.Since(began); took != time.Second+CloseWait {
			t.Errorf("it took %v", took)
		}
	})
}

// TestPanicInWrite: a write that panics closes the connection and leaves the Outbox
// unlocked.
func TestPanicInWrite(t *testing.T) {
	virtual(t, 0, func(t *testing.T, b *bench) { // in the goroutine
		b.now(1)
		b.flush()
		synctest.Wait()
		b.wire.mu.Lock()
		b.wire.panics = true
		b.wire.changeLocked()
		b.wire.mu.Unlock()
		synctest.Wait()
		if !b.wire.closed() || b.m.Panics.Get() != 1 || b.now(2) {
			t.Error("it is not closed, or the panic is not counted")
		}
	})
	virtual(t, -1, func(t *testing.T, b *bench) { // in who flushes: the others on its list are written all the same
		other := newBench(t, -1)
		b.wire.panics = true
		b.now(1)
		other.out.Queue(&b.p, ack(3))
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic is lost")
				}
			}()
			b.flush()
		}()
		if !b.wire.closed() || b.now(2) {
			t.Error("it is not closed")
		}
		b.flush()
		other.expect("3")
		other.now(4)
		other.expect("3 4")
	})
}

// TestPanicInEncode: an encoder that panics leaves nothing locked, and nothing held.
func TestPanicInEncode(t *testing.T) {
	b := newBench(t, -1)
	fails := func([]byte) []byte { panic(errors.New("asked for")) }
	for _, queue := range []func(){
		func() { b.out.Queue(&b.p, fails) },
		func() { b.out.QueueHeld(&b.p, Hold{Commit: 1}, fails) },
	} {
		func() {
			defer func() { _ = recover() }()
			queue()
		}()
	}
	b.now(1)
	if b.held(2, Hold{}) {
		t.Error("what awaits nothing is held")
	}
	b.expect("1 2")
	b.held(3, Hold{Commit: 1})
	b.disk.commit(1)
	b.expect("1 2 3")
}
