package link

import "time"

// waitingLocked is the number of bytes that wait.
func (o *Outbox) waitingLocked() int {
	n := len(o.out) + int(o.unsent)
	if o.held != nil {
		n += len(o.held.bytes)
	}
	return n
}

// Waiting returns the number of bytes that wait for the Client, and of the messages that what
// is held for it answers; and of those how many are being written.
func (o *Outbox) Waiting() (bytes, unsent int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := o.waitingLocked()
	if o.held != nil {
		n += o.held.answered
	}
	return n, int(o.unsent)
}

// roomLocked reports whether less waits for this connection than one part in share of its
// limits.
func (o *Outbox) roomLocked(share int) bool {
	if o.waitingLocked() >= OutBytesMax/share {
		return false
	}
	h := o.held
	return h == nil || len(h.segs) < HeldPacketsMax/share && h.answered < AnsweredBytesMax/share
}

// Room returns what is closed when there is room for more; nil: there is, or the connection
// is closing.
func (o *Outbox) Room() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.is(closing) || o.roomLocked(1) {
		return nil
	}
	return o.roomChangedLocked()
}

// RoomToRead is Room for the reader, which does not wait after Interrupt. So a peer that
// does not read, or sends more than is stored in time, is not read either.
func (o *Outbox) RoomToRead() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.is(closing|interrupts) || o.roomLocked(1) {
		return nil
	}
	return o.roomChangedLocked()
}

// Woken returns, for the reader too, what is closed by Wake at the latest; nil: it does not
// wait any more.
func (o *Outbox) Woken() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.is(closing | interrupts) {
		return nil
	}
	return o.roomChangedLocked()
}

func (o *Outbox) roomChangedLocked() chan struct{} {
	if o.room == nil {
		o.room = make(chan struct{})
	}
	return o.room
}

// Wake lets all go on that wait here now.
func (o *Outbox) Wake() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.wakeAllLocked()
}

// Interrupt is Wake, and the reader does not wait here any more.
func (o *Outbox) Interrupt() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.set(interrupts)
	o.wakeAllLocked()
}

func (o *Outbox) wakeAllLocked() {
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
}

// wakeLocked lets all go on if there is ample room.
func (o *Outbox) wakeLocked() {
	if o.room != nil && o.roomLocked(2) {
		o.wakeAllLocked()
	}
}

// Settle waits until all that waits for the Client is written, what is held too, for
// CloseWait at most.
func (o *Outbox) Settle() {
	changed := o.unsettled()
	if changed == nil { // as nearly always
		return
	}
	late := time.NewTimer(CloseWait)
	defer late.Stop()
	for ; changed != nil; changed = o.unsettled() {
		select {
		case <-changed:
		case <-late.C:
			return
		}
	}
}

// unsettled returns what is closed when something was written, or nil if nothing waits.
func (o *Outbox) unsettled() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.is(closing) || o.waitingLocked() == 0 {
		return nil
	}
	return o.roomChangedLocked()
}
