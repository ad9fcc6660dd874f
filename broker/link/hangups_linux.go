package link

import (
	"os"
	"sync"
	"syscall"
)

// hangups tell connections that their peers have ended, with a poller that wakes for
// nothing else. The runtime's poller tells of the last bytes and of the end that comes with
// them in one event: a reader would have to read once more after all it has got, each time.
type hangups struct {
	poller *os.File // an epoll instance; static

	mu     sync.Mutex        // guards the following
	fd     int               // of poller; negative: closed
	socket map[int32]*socket // by descriptor
}

// newHangups returns nil, which watches nothing, if there can be no poller.
func newHangups() *hangups {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil
	}
	if err := syscall.SetNonblock(fd, true); err != nil { // for the runtime's poller to take it
		_ = syscall.Close(fd)
		return nil
	}
	h := &hangups{poller: os.NewFile(uintptr(fd), "epoll"), fd: fd, socket: make(map[int32]*socket)}
	go h.run()
	return h
}

func (h *hangups) close() {
	if h == nil {
		return
	}
	h.mu.Lock()
	h.fd = -1
	h.mu.Unlock()
	_ = h.poller.Close()
}

// watch has s told when its peer ends, or has ended, and marks it as watched if that is
// possible. The caller has entered s.
func (h *hangups) watch(s *socket) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fd < 0 {
		return
	}
	event := syscall.EpollEvent{Fd: s.fd, Events: syscall.EPOLLRDHUP | epollEdge} // EPOLLHUP and EPOLLERR always
	if err := syscall.EpollCtl(h.fd, syscall.EPOLL_CTL_ADD, int(s.fd), &event); err != nil {
		return // for example, there is a limit on how many a user may watch
	}
	h.socket[s.fd] = s
	s.state.Or(socketWatched)
}

// epollEdge is syscall.EPOLLET, which does not fit the field as it is declared.
const epollEdge = 1 << 31

// forget is called before s closes its descriptor, which ends the watch.
func (h *hangups) forget(s *socket) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.socket[s.fd] == s {
		delete(h.socket, s.fd)
	}
}

// run tells of each end once, until close.
func (h *hangups) run() {
	raw, err := h.poller.SyscallConn()
	if err != nil {
		return // closed
	}
	var events [64]syscall.EpollEvent
	_ = raw.Read(func(fd uintptr) bool { // ends when it is closed
		for {
			n, err := syscall.EpollWait(int(fd), events[:], 0)
			if err != nil && err != syscall.EINTR {
				return true
			}
			if n == 0 {
				return false
			}
			for i := range max(n, 0) {
				if s := h.watching(events[i].Fd); s != nil { // if it is another by now, it only reads once more
					s.hungUp()
				}
			}
		}
	})
}

func (h *hangups) watching(fd int32) *socket {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.socket[fd]
}
