package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/store"
)

const aboutPorts, aboutAccess = "ports", "access"

// ports looks whether the broker can listen where it is to.
func (e *Examination) ports() {
	var free, own []string
	for _, l := range e.listeners() {
		switch err := tryListen(&l); {
		case err == nil:
			free = append(free, l.address)
			e.privileged(&l)
		case e.isOwn(&l):
			own = append(own, l.address)
		case errors.Is(err, syscall.EADDRINUSE):
			e.say(Fault, aboutPorts, "end it, or choose another port with "+l.key, "%s is taken%s", l.address, takenBy(l.address))
		default:
			e.say(Fault, aboutPorts, "set "+l.key, "%v", err)
		}
	}
	if len(free) > 0 {
		e.say(OK, aboutPorts, "", "free: %s", strings.Join(free, ", "))
	}
	if len(own) > 0 {
		e.say(OK, aboutPorts, "", "taken by this broker: %s", strings.Join(own, ", "))
	}
}

// isOwn reports whether the broker that runs is the one that listens there.
func (e *Examination) isOwn(l *listener) bool {
	if e.Running == nil {
		return false
	}
	_, port, _ := net.SplitHostPort(l.address)
	return l.kind == "" || slices.ContainsFunc(e.Running.Addresses, func(address string) bool {
		return address == l.address || port != "" && strings.HasSuffix(address, ":"+port)
	})
}

// tryListen listens for a moment.
func tryListen(l *listener) error {
	if l.kind == link.KindUnix {
		return trySocket(l.address)
	}
	ln, err := link.Listen(l.key, l.address)
	if err == nil {
		err = ln.Close()
	}
	return err
}

// trySocket looks whether a socket can be made at a path.
func trySocket(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		_, err = os.Stat(filepath.Dir(path))
		return err
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is no socket", path)
	}
	if c, err := net.Dial("unix", path); err == nil {
		_ = c.Close() // nothing was said
		return fmt.Errorf("%s: %w", path, syscall.EADDRINUSE)
	}
	return nil // what a broker left that is gone
}

// privileged says that the user of the broker may not do what root just did.
func (e *Examination) privileged(l *listener) {
	_, text, _ := net.SplitHostPort(l.address)
	port, _ := strconv.Atoi(text)
	if owner, known := store.Owner(e.Config.Store.DataDir); port > 0 && port < 1024 && known && owner != 0 && os.Geteuid() == 0 {
		e.say(Warning, aboutPorts, "grant CAP_NET_BIND_SERVICE, or choose another port with "+l.key, "%s is for root, and the data belong to user %d", l.address, owner)
	}
}

// takenBy names the program that listens on a port, where that can be seen.
func takenBy(address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	n, _ := strconv.Atoi(port)
	sockets := listening(n)
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*") // none where there is no /proc
	for _, name := range links {
		target, err := os.Readlink(name)
		if err != nil || !slices.Contains(sockets, target) {
			continue
		}
		process := strings.Split(name, "/")[2]
		command, _ := os.ReadFile("/proc/" + process + "/comm")
		return fmt.Sprintf(" by %s, process %s", cmp.Or(strings.TrimSpace(string(command)), "a program"), process)
	}
	return " by another program"
}

// listening are the sockets that listen on a port, as links in /proc name them.
func listening(port int) (sockets []string) {
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		text, _ := os.ReadFile(table) // none where there is no /proc
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) > 9 && fields[3] == "0A" && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) {
				sockets = append(sockets, "socket:["+fields[9]+"]")
			}
		}
	}
	return sockets
}

// exposure looks at who can connect from other machines, and what they may do then.
func (e *Examination) exposure() {
	var open, clear, closed []string
	for _, l := range e.listeners() {
		if l.kind == "" || !l.reachable() {
			continue
		}
		switch {
		case l.anonymous == link.AnonymousAlways, l.anonymous == link.AnonymousDefault && e.Config.Broker.AllowAnonymous:
			open = append(open, l.address)
		case l.tls == nil:
			clear = append(clear, l.address)
		default:
			closed = append(closed, l.address)
		}
	}
	identities := e.Users > 0 || e.Config.Tokens.Configured() || e.Config.Callback.URL != ""
	switch {
	case len(open) > 0 && e.Rules == 0:
		e.say(Warning, aboutAccess, "add rules (promptmq acl add), or let only users in: auth.allow-anonymous: false",
			"everybody who reaches %s may publish and read everything", strings.Join(open, ", "))
	case len(open) > 0:
		e.say(Note, aboutAccess, "nothing, if it is meant", "everybody who reaches %s may do what rules for everyone and nobody allow", strings.Join(open, ", "))
	case len(clear)+len(closed) > 0 && e.Users == 0 && !identities && !e.certified():
		e.say(Note, aboutAccess, "add a user: promptmq user add NAME", "other machines can reach %s and nobody there can log in: there are no users", strings.Join(append(clear, closed...), ", "))
	case identities && e.Rules == 0:
		e.say(Note, aboutAccess, "add rules: promptmq acl add", "each user may publish and read everything: there are no rules")
	default:
		e.say(OK, aboutAccess, "", "who may do what is said by users and rules, or by where the listeners are")
	}
	if len(clear) > 0 && identities {
		e.say(Note, aboutAccess, "use listeners with TLS (server.listeners) for other machines", "passwords go to %s in the clear", strings.Join(clear, ", "))
	}
}

// certified reports whether a client can have a name by its certificate.
func (e *Examination) certified() bool {
	return slices.ContainsFunc(e.listeners(), func(l listener) bool { return l.tls != nil && l.tls.ClientCert != link.ClientCertNone })
}
