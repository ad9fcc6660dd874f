package link

import "time"

// serveStreams hands on each socket.
func serveStreams(l *Listener, a *acceptor) {
	for {
		s, err := a.accept()
		if err != nil {
			return
		}
		if l.begins() {
			go l.beginStream(s)
			continue
		}
		l.network.c.Serve(l.accepted(newTransport(s), s))
	}
}

// beginStream serves a socket that has to begin with something else.
func (l *Listener) beginStream(s *socket) {
	o := l.begin(s)
	if o == nil {
		return
	}
	t := o.transport()
	establish(t)
	l.network.c.Serve(l.accepted(t, s))
}

// accepted is the Network Connection over a socket.
func (l *Listener) accepted(t Transport, s *socket) Accepted {
	return Accepted{Transport: t, At: time.Unix(0, s.accepted), Local: l.isLocal(s)}
}
