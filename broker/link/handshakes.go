package link

import (
	"container/list"
	"sync"
	"sync/atomic"
	"time"
)

// handshakesAtOnce is how many TLS handshakes may be under way. handshakeWait is how long
// those whose ClientHello has come are let go on before one makes room.
const (
	handshakesAtOnce = 256
	handshakeWait    = 50 * time.Millisecond
)

// A handshake is one of TLS that is under way.
type handshake struct {
	s       *socket
	spoke   atomic.Bool // something came
	greeted atomic.Bool // the whole ClientHello came
	refused atomic.Bool // it made room for another
	at      *list.Element
}

// handshakes bounds how many are under way. At the bound the oldest whose ClientHello has not
// come makes room for a new one, so that who sends half of one keeps nobody out. If all have
// come, the new one waits for a moment before the oldest makes room: it is the machine that is
// slow, and to begin again costs more.
type handshakes struct {
	room chan struct{} // has one for each that is under way

	mu    sync.Mutex // guards the following
	order list.List  // of *handshake, the oldest first
}

func (hs *handshakes) begin(s *socket) *handshake {
	select {
	case hs.room <- struct{}{}:
	default:
		hs.await()
	}
	h := &handshake{s: s}
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h.at = hs.order.PushBack(h)
	return h
}

// await makes room, and waits for it.
func (hs *handshakes) await() {
	if !hs.refuseOne(false) {
		late := time.NewTimer(handshakeWait)
		defer late.Stop()
		select {
		case hs.room <- struct{}{}:
			return
		case <-late.C:
			hs.refuseOne(true)
		}
	}
	hs.room <- struct{}{}
}

// refuseOne ends the oldest handshake; its goroutine does the rest. It reports false if there
// is none, of those without a ClientHello if not any will do.
func (hs *handshakes) refuseOne(anyone bool) bool {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for e := hs.order.Front(); e != nil; e = e.Next() {
		h := e.Value.(*handshake)
		if anyone || !h.greeted.Load() {
			hs.order.Remove(e)
			h.refused.Store(true)
			_ = h.s.SetDeadline(longAgo) // an error says that it has ended
			return true
		}
	}
	return false
}

func (hs *handshakes) end(h *handshake) {
	hs.mu.Lock()
	hs.order.Remove(h.at) // does nothing if it was refused
	hs.mu.Unlock()
	<-hs.room
}
