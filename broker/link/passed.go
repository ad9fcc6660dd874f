package link

import (
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// A Socket is a listening socket that one process passes to another.
type Socket struct {
	Name string // of the listener that it is for, as far as that is known
	// Path is that of a Unix socket, which may have been bound by another; "": as it is bound.
	Path string
	// Keep says that its path belongs to who opened it, as systemd: it is not removed, and its
	// mode is not changed.
	Keep bool
	File *os.File
}

// A Wanted is a listener that is to be opened.
type Wanted struct {
	Name, Key, Address string
	Unix               bool
	Mode               fs.FileMode // of a Unix socket
}

// Sockets are those that were passed, by the listeners that they are for. A nil one has none.
type Sockets struct{ listeners map[string]net.Listener }

// Assign gives sockets to the listeners that are wanted: by name, else by address. It owns the
// files of passed. There is an error for each socket that is closed because nothing wants it.
func Assign(passed []Socket, wanted []Wanted) (*Sockets, []error) {
	s := &Sockets{make(map[string]net.Listener)}
	var errs []error
	for i := range passed {
		if err := s.assign(&passed[i], wanted); err != nil {
			errs = append(errs, err)
		}
		_ = passed[i].File.Close() // the listener has another descriptor
	}
	return s, errs
}

func (s *Sockets) assign(p *Socket, wanted []Wanted) error {
	ln, err := listenerOf(p)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(wanted, func(w Wanted) bool { return w.Name == p.Name })
	byName := at >= 0
	if !byName {
		at = slices.IndexFunc(wanted, func(w Wanted) bool { return s.listeners[w.Name] == nil && w.says(p, ln) })
	}
	if at < 0 {
		_ = ln.Close()
		return fmt.Errorf("the socket %q on %s is for no listener: there are %s", p.Name, addressOfSocket(p, ln), listOf(wanted))
	}
	w := &wanted[at]
	if s.listeners[w.Name] != nil {
		_ = ln.Close()
		return fmt.Errorf("listener %q has two sockets, and takes one: another is on %s", w.Name, addressOfSocket(p, ln))
	}
	if err = w.fits(p, ln); err == nil {
		err = w.guard(p)
	}
	if err != nil {
		_ = ln.Close()
		return err
	}
	s.listeners[w.Name] = w.wrap(p, ln)
	return nil
}

// take returns the listener of a name, once; nil: none was passed.
func (s *Sockets) take(name string) net.Listener {
	if s == nil {
		return nil
	}
	ln := s.listeners[name]
	delete(s.listeners, name)
	return ln
}

// Listen is as the function of this name, unless a socket was passed for the name.
func (s *Sockets) Listen(name, key, address string) (net.Listener, error) {
	if ln := s.take(name); ln != nil {
		return ln, nil
	}
	return Listen(key, address)
}

// Close closes those that nobody has taken.
func (s *Sockets) Close() {
	if s == nil {
		return
	}
	for name := range s.listeners {
		_ = s.take(name).Close()
	}
}

// listenerOf returns what accepts on a socket, whose file stays open.
func listenerOf(p *Socket) (net.Listener, error) {
	if err := checkListens(p.File); err != nil {
		return nil, fmt.Errorf("the socket %q: %w", p.Name, err)
	}
	ln, err := net.FileListener(p.File)
	if err != nil {
		return nil, fmt.Errorf("the socket %q is none that can be listened on: %w", p.Name, err)
	}
	switch l := ln.(type) {
	case *net.UnixListener:
		l.SetUnlinkOnClose(false)
		if l.Addr().Network() == "unix" {
			return l, nil
		}
	case *net.TCPListener:
		return l, nil
	}
	_ = ln.Close()
	return nil, fmt.Errorf("the socket %q is not of TCP, and no Unix socket of the kind stream", p.Name)
}

func addressOfSocket(p *Socket, ln net.Listener) string {
	if p.Path != "" {
		return p.Path
	}
	return ln.Addr().String()
}

func listOf(wanted []Wanted) string {
	var texts []string
	for _, w := range wanted {
		texts = append(texts, fmt.Sprintf("%q (%s %s)", w.Name, w.Key, w.Address))
	}
	return strings.Join(texts, ", ")
}

// fits returns an error if a socket is not where the listener is to be.
func (w *Wanted) fits(p *Socket, ln net.Listener) error {
	is := addressOfSocket(p, ln)
	a, overTCP := ln.Addr().(*net.TCPAddr)
	if overTCP != w.Unix && (w.Unix && is == w.Address || overTCP && isAt(w.Address, a, onlyIPv6(ln))) {
		return nil
	}
	return fmt.Errorf("listener %q: %s is %q, and the socket %q that was passed for it is on %s: make them the same", w.Name, w.Key, w.Address, p.Name, is)
}

// says reports whether the listener is to be where a socket is, and not on any port.
func (w *Wanted) says(p *Socket, ln net.Listener) bool {
	_, port, _ := net.SplitHostPort(w.Address)
	return w.fits(p, ln) == nil && (w.Unix || port != "0")
}

// isAt reports whether a socket listens where an address of a configuration says.
func isAt(address string, a *net.TCPAddr, only6 bool) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if n, err := net.LookupPort("tcp", port); err != nil || n != 0 && n != a.Port {
		return false
	}
	is := a.AddrPort().Addr().Unmap()
	if host == "" {
		return is.IsUnspecified()
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap() == is && (ip.Is4() || !ip.IsUnspecified() || only6)
	}
	all, err := net.LookupHost(host)
	return err == nil && slices.Contains(all, is.String())
}

// guard sees to the mode of a Unix socket.
func (w *Wanted) guard(p *Socket) error {
	if !w.Unix {
		return nil
	}
	mode := modeOf(w.Mode)
	if !p.Keep {
		return os.Chmod(w.Address, mode)
	}
	info, err := os.Lstat(w.Address)
	if err != nil {
		return fmt.Errorf("listener %q: %w", w.Name, err)
	}
	if info.Mode().Perm()&^mode != 0 {
		return fmt.Errorf("listener %q: its mode is to be %#o, and the socket %q that was passed for it has %#o: with systemd, say SocketMode=%#o", w.Name, mode, p.Name, info.Mode().Perm(), mode)
	}
	return nil
}

// wrap makes of a listener what opening one would have given.
func (w *Wanted) wrap(p *Socket, ln net.Listener) net.Listener {
	switch ln := ln.(type) {
	case *net.UnixListener:
		l := &localListener{UnixListener: ln, path: w.Address}
		l.file, _ = os.Lstat(w.Address) // nil: nothing is removed
		l.keep.Store(true)              // until Own: who passed it may go on with it
		l.passed = p.Keep
		return l
	case *net.TCPListener:
		probe(ln)
		return everywhere(ln)
	}
	return ln
}

// SocketOf returns the socket of a listener, with a descriptor of its own, to be passed on.
func SocketOf(name string, ln net.Listener) (Socket, error) {
	s := Socket{Name: name}
	if l, ok := ln.(*localListener); ok {
		s.Path, s.Keep = l.path, l.passed
	}
	var err error
	s.File, err = descriptorOf(ln)
	if err != nil {
		err = fmt.Errorf("listener %q: %w", name, err)
	}
	return s, err
}

// Pass returns the sockets of all listeners, as SocketOf does.
func (n *Network) Pass() (all []Socket, err error) {
	for _, l := range n.Listeners() {
		s, err := SocketOf(l.String(), l.accepting)
		if err != nil {
			CloseSockets(all)
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// CloseSockets closes the files of sockets.
func CloseSockets(all []Socket) {
	for _, s := range all {
		_ = s.File.Close()
	}
}

// Leave has Stop leave the paths of Unix sockets where they are, for who has been passed them.
func (n *Network) Leave() {
	for _, l := range n.Listeners() {
		if l, ok := l.accepting.(*localListener); ok {
			l.keep.Store(true)
		}
	}
}

// Own has Stop remove the paths of Unix sockets that were passed, but for those that belong to
// who opened them: who passed them has ended.
func (n *Network) Own() {
	for _, l := range n.Listeners() {
		if l, ok := l.accepting.(*localListener); ok {
			l.keep.Store(l.passed)
		}
	}
}
