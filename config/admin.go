package config

import (
	"net"
	"net/netip"
)

// checkAdmin finds what does not go together of the API over the network.
func (c *Config) checkAdmin(fail func(path, text string)) {
	a := &c.Admin
	if a.Bind == "" {
		for path, file := range map[string]string{"admin.tls-cert": a.TLSCert, "admin.tls-key": a.TLSKey, "admin.tokens-file": a.TokensFile} {
			if file != "" {
				fail(path, "has no effect while admin.bind is empty; remove it, or set that")
			}
		}
		return
	}
	switch {
	case a.TLSCert == "" && a.TLSKey != "":
		fail("admin.tls-cert", "is missing; it must be the path of a PEM file: `promptmq cert self-signed` makes one")
	case a.TLSCert != "" && a.TLSKey == "":
		fail("admin.tls-key", "is missing; it must be the path of a PEM file: `promptmq cert self-signed` makes one")
	case a.TLSCert == "" && !onlyThisMachine(a.Bind):
		fail("admin.bind", "can be reached from other machines, and passwords would go there in the clear: set admin.tls-cert and admin.tls-key, or an address of this machine, such as 127.0.0.1:9092")
	}
	for path, address := range map[string]string{"server.bind": c.Broker.Bind, "server.ws-bind": c.Broker.WSBind} {
		if sameSocket(a.Bind, address) {
			fail("admin.bind", "is the address of "+path+" too")
		}
	}
	if c.Metrics.Enabled && sameSocket(a.Bind, c.Metrics.Bind) {
		fail("admin.bind", "is the address of metrics.bind too")
	}
}

// onlyThisMachine reports whether nobody else can connect to an address.
func onlyThisMachine(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
