package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// keyOf returns the key with that path, or nil.
func keyOf(path string) *key {
	i := slices.IndexFunc(keys, func(k key) bool { return k.path == path })
	if i < 0 {
		return nil
	}
	return &keys[i]
}

func isSection(path string) bool {
	return slices.ContainsFunc(keys, func(k key) bool { return strings.HasPrefix(k.path, path+".") })
}

func isWithoutEffect(path string) bool { return slices.Contains(withoutEffect, path) }

// childrenOf returns the keys and sections directly below a section; below ""
// the sections of the file.
func childrenOf(section string) []string {
	prefix := ""
	if section != "" {
		prefix = section + "."
	}
	var children []string
	for _, k := range keys {
		rest, ok := strings.CutPrefix(k.path, prefix)
		name, _, _ := strings.Cut(rest, ".")
		if ok && !slices.Contains(children, name) {
			children = append(children, name)
		}
	}
	return children
}

// unknownKey says that path is not a key and which may have been meant: one of
// its siblings, else the same name in another section.
func unknownKey(path string) string {
	section, name := "", path
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		section, name = path[:i], path[i+1:]
	}
	children := childrenOf(section)
	if near := nearest(name, children); near != "" {
		if section != "" {
			near = section + "." + near
		}
		return fmt.Sprintf("unknown key; did you mean %s?", near)
	}
	for _, k := range keys {
		if strings.HasSuffix(k.path, "."+name) {
			return fmt.Sprintf("unknown key; did you mean %s?", k.path)
		}
	}
	return "unknown key; here are allowed " + strings.Join(children, ", ")
}

// crossCheck finds values that are allowed each, but not together.
func (c *Config) crossCheck() Errors {
	var errs Errors
	fail := func(path, text string) {
		errs = append(errs, &Error{Origin: c.origins[path], Key: path, Text: text})
	}
	if c.Broker.Bind == "" && c.Broker.WSBind == "" && len(c.Broker.Listeners) == 0 {
		fail("server.bind", "is empty, so is server.ws-bind, and server.listeners has none: no client could connect")
	}
	if sameSocket(c.Broker.Bind, c.Broker.WSBind) {
		fail("server.ws-bind", "is the address of server.bind too")
	}
	if c.Metrics.Enabled {
		if sameSocket(c.Metrics.Bind, c.Broker.Bind) {
			fail("metrics.bind", "is the address of server.bind too")
		}
		if sameSocket(c.Metrics.Bind, c.Broker.WSBind) {
			fail("metrics.bind", "is the address of server.ws-bind too")
		}
	}
	c.checkAdmin(fail)
	c.checkLogins(fail)
	return append(errs, c.crossCheckListeners()...)
}

// sameSocket reports whether two addresses could not be listened on at once: one
// port of one host, or of a host and of all that it is among.
func sameSocket(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	return hostA == hostB || hostA == "" || hostB == "" || everyOf(hostA, hostB) || everyOf(hostB, hostA)
}

// everyOf reports whether a is the unspecified address of the family of b.
func everyOf(a, b string) bool {
	all, errA := netip.ParseAddr(a)
	one, errB := netip.ParseAddr(b)
	return errA == nil && errB == nil && all.IsUnspecified() && all.Is4() == one.Is4()
}
