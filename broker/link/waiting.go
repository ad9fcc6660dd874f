package link

import "sync"

// waitingSockets are those of one listener that make room for others: without CONNECT, or of connections
// that have ended. The one that has waited longest is the first.
type waitingSockets struct {
	mu          sync.Mutex // guards the following, and among, before and after of all sockets
	first, last *socket    // nil: there is none
}

func (w *waitingSockets) add(s *socket) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.among || s.state.Load()&socketClosed != 0 {
		return
	}
	s.among, s.before, s.after = true, w.last, nil
	if w.last == nil {
		w.first = s
	} else {
		w.last.after = s
	}
	w.last = s
}

// addEnded is add for one whose connection has ended.
func (w *waitingSockets) addEnded(s *socket) {
	s.counted.Store(true) // by what ended it
	w.add(s)
}

// remove reports whether s was among them.
func (w *waitingSockets) remove(s *socket) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.removeLocked(s)
}

func (w *waitingSockets) removeLocked(s *socket) bool {
	if !s.among {
		return false
	}
	if s.before == nil {
		w.first = s.after
	} else {
		s.before.after = s.after
	}
	if s.after == nil {
		w.last = s.before
	} else {
		s.after.before = s.before
	}
	s.among, s.before, s.after = false, nil, nil
	return true
}

// peek returns the first; nil: there is none.
func (w *waitingSockets) peek() *socket {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.first
}

// oldest takes out the first; nil: there is none.
func (w *waitingSockets) oldest() *socket {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.first
	if s != nil {
		w.removeLocked(s)
	}
	return s
}

// closeBeginning closes those whose request for a WebSocket has not come.
func (w *waitingSockets) closeBeginning() {
	var all []*socket
	w.mu.Lock()
	for s := w.first; s != nil; s = s.after {
		if s.state.Load()&socketBeginning != 0 {
			all = append(all, s)
		}
	}
	w.mu.Unlock()
	for _, s := range all {
		s.counted.Store(true)
		_ = s.Close()
	}
}

// Waits reports whether there is a socket without CONNECT whose connection has not ended.
func (l *Listener) Waits() bool {
	w := &l.waiting
	w.mu.Lock()
	defer w.mu.Unlock()
	for s := w.first; s != nil; s = s.after {
		if !s.counted.Load() {
			return true
		}
	}
	return false
}
