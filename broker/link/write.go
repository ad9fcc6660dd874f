package link

import (
	"errors"
	"net"
	"os"
	"time"

	"github.com/x0a1b/promptmq/broker/control"
)

// writeBytesMax is the largest piece, in bytes, that is written at once, and how much a
// Client must take within the write timeout.
const writeBytesMax = 64 << 10

// flush writes what may be written without blocking.
func (o *Outbox) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.unset(listed)
	if o.held != nil && !o.is(closing) {
		o.releaseLocked()
	}
	if o.is(closed) || o.unsent > 0 { // who writes takes what was added
		return
	}
	for len(o.out) > 0 {
		buf := o.takeLocked()
		for n := 0; n < len(buf); {
			piece := buf[n:min(n+writeBytesMax, len(buf))]
			written, err := o.writeLocked(piece, 0)
			if err != nil {
				o.failLocked()
				return
			}
			if n += written; written < len(piece) {
				DrainLater(o.Transport, o, buf, n)
				return
			}
		}
		OutBuffers.Put(buf)
	}
	o.idleLocked()
}

// Drain is for Writers: it writes buf from n on, and what is queued meanwhile, and may
// block.
func (o *Outbox) Drain(buf []byte, n int) {
	defer o.config.Recover("writing", o.Abort)
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		timeout, last := o.config.WriteTimeout, o.is(closing)
		if last {
			timeout = min(timeout, CloseWait)
		}
		written, err := o.writeLocked(buf[n:min(n+writeBytesMax, len(buf))], timeout)
		if err != nil {
			if !last && errors.Is(err, os.ErrDeadlineExceeded) {
				o.config.Metrics.WriteTimeouts.Inc()
				o.set(timedOut)
			}
			o.failLocked()
			return
		}
		o.wakeLocked()
		if n += written; n < len(buf) {
			continue
		}
		OutBuffers.Put(buf)
		if len(o.out) == 0 {
			o.idleLocked()
			return
		}
		buf, n = o.takeLocked(), 0
	}
}

// takeLocked takes all of out to be written: nobody else writes until unsent is 0 again.
func (o *Outbox) takeLocked() []byte {
	buf := o.out
	o.out, o.unsent = nil, uint32(len(buf))
	return buf
}

// writeLocked writes a piece of what was taken, without mu. It blocks for timeout at most;
// 0: not at all. After an error the caller calls failLocked.
func (o *Outbox) writeLocked(piece []byte, timeout time.Duration) (n int, err error) {
	o.mu.Unlock()
	returned := false
	defer func() {
		o.mu.Lock()
		o.writtenLocked(n)
		switch {
		case !returned: // it panics
			o.failLocked()
		case o.is(closed): // failLocked was called meanwhile, and unsent is 0
			err = net.ErrClosed
		case err == nil:
			o.unsent -= uint32(n)
		}
	}()
	if timeout > 0 {
		control.Panic(control.PanicInWrite)
		n, err = o.Transport.WriteWithin(piece, timeout)
	} else {
		n, err = o.Transport.TryWrite(piece)
	}
	o.config.Metrics.SocketWrites.Inc()
	o.config.Metrics.BytesSent.Add(n)
	returned = true
	return n, err
}

// idleLocked is called when all that may be written is written.
func (o *Outbox) idleLocked() {
	o.wakeLocked()
	switch {
	case !o.is(closing):
	case o.is(lingers) && !o.is(closed) && o.Transport.CloseWrite():
		o.set(closed) // for writing: the reader closes the rest
	default:
		o.failLocked()
	}
}

// failLocked closes the Network Connection at once; the reader then sees its end.
func (o *Outbox) failLocked() {
	o.set(closing)
	if o.is(closed) {
		return
	}
	o.set(closed)
	o.out, o.unsent = nil, 0
	o.dropHeldLocked()
	o.wakeAllLocked()
	_ = o.Transport.Close() // it is closed whatever the error says
}

// TimedOut reports whether the connection was closed because the Client took nothing for
// the write timeout.
func (o *Outbox) TimedOut() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.is(timedOut)
}

// Close writes what is ready and then last, and closes the Network Connection. What
// is held is dropped: nothing may follow a DISCONNECT. [MQTT-3.14.4-1]
func (o *Outbox) Close(last []byte) {
	o.mu.Lock()
	if !o.is(closing) {
		o.set(closing)
		if len(last) > 0 {
			if o.out == nil {
				o.growLocked()
			}
			o.out = append(o.out, last...)
		}
		o.dropHeldLocked()
		if len(o.out) == 0 && o.unsent == 0 {
			o.failLocked()
		}
	}
	o.mu.Unlock()
	o.flush()
}

// Linger makes Close end only the stream to the Client when all is written, if the
// Transport can do that. The reader then reads on, so that the Client gets what was written
// last, and calls HangUp in the end.
func (o *Outbox) Linger() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.set(lingers)
}

// Lingers reports whether Linger was called and HangUp was not.
func (o *Outbox) Lingers() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.is(lingers)
}

// HangUp ends the lingering: the Network Connection is closed, now or when all is written.
func (o *Outbox) HangUp() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.unset(lingers)
	if o.is(closed) {
		_ = o.Transport.Close()
	}
}

// Abort closes the Network Connection at once.
func (o *Outbox) Abort() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failLocked()
}
