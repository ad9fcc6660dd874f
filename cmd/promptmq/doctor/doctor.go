// Package doctor looks at a machine, and at a configuration for it, without changing either, and
// says what a broker would suffer from there.
package doctor

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/config"
)

// A Level says how bad a Finding is.
type Level string

// The Levels.
const (
	OK      Level = "ok"
	Note    Level = "note"    // good to know
	Warning Level = "warning" // somebody should do something
	Fault   Level = "fault"   // the broker does not start, or loses what it should keep
)

// A Finding is what was found about one thing.
type Finding struct {
	Level Level  `json:"level"`
	About string `json:"about"`
	What  string `json:"what"`
	Do    string `json:"do,omitempty"` // what to do about it
}

// A Running is the broker that has the data directory.
type Running struct {
	Addresses []string // that it listens on
}

// An Examination is of one configuration.
type Examination struct {
	Config  *config.Config
	Running *Running // nil: none runs
	// Users and Rules are how many there are, those of files with them; -1: it is not known.
	Users, Rules int64
	// FilesBeside is how many files the broker opens beside those of clients and its own.
	FilesBeside int

	found []Finding
}

func (e *Examination) say(level Level, about, do, what string, args ...any) {
	e.found = append(e.found, Finding{level, about, fmt.Sprintf(what, args...), do})
}

// Examine looks at everything.
func (e *Examination) Examine() []Finding {
	for _, look := range []func(){
		e.files, e.dataDirectory, e.syncs, e.ports, e.exposure, e.certificates, e.secrets,
		e.clock, e.memory, e.processors, e.kernel,
	} {
		look()
	}
	return e.found
}

// A listener is an address that the broker would listen on.
type listener struct {
	key, address string
	kind         string // "": of HTTP, for operators
	anonymous    link.Anonymous
	tls          *link.TLSConfig
}

// listeners are all that the configuration has.
func (e *Examination) listeners() (list []listener) {
	c := e.Config
	if c.Broker.Bind != "" {
		list = append(list, listener{key: "server.bind", address: c.Broker.Bind, kind: link.KindTCP})
	}
	if c.Broker.WSBind != "" {
		list = append(list, listener{key: "server.ws-bind", address: c.Broker.WSBind, kind: link.KindWS})
	}
	for i := range c.Broker.Listeners {
		l := &c.Broker.Listeners[i]
		list = append(list, listener{l.Key, l.Address, l.Kind, l.Anonymous, l.TLS})
	}
	if c.Metrics.Enabled {
		list = append(list, listener{key: "metrics.bind", address: c.Metrics.Bind})
	}
	if c.Admin.Bind != "" {
		l := listener{key: "admin.bind", address: c.Admin.Bind}
		if c.Admin.TLSCert != "" {
			l.tls = &link.TLSConfig{CertFile: c.Admin.TLSCert, KeyFile: c.Admin.TLSKey}
		}
		list = append(list, l)
	}
	return list
}

// reachable reports whether other machines can connect.
func (l *listener) reachable() bool {
	if l.kind == link.KindUnix {
		return false
	}
	host, _, err := net.SplitHostPort(l.address)
	if err != nil || host == "localhost" {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err != nil || !ip.IsLoopback()
}
