package main

import (
	"log/slog"
	"net"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/broker/link"
)

// logListening writes the line from which scripts and tests learn an address.
func logListening(log *slog.Logger, listener string, addr net.Addr, more ...any) {
	log.Info("listening", append([]any{"listener", listener, "addr", addr.String()}, more...)...)
}

// logListeners writes a line for each listener, with who may connect to it.
func logListeners(log *slog.Logger, b *broker.Broker, o *broker.Options) {
	for _, l := range b.Listeners() {
		c := l.Config()
		more := []any{"kind", c.Kind, "without_credentials", withoutCredentials(c, o)}
		if c.TLS != nil {
			more = append(more, "client_certificates", clientCerts[c.TLS.ClientCert])
		}
		if c.ProxyProtocol || c.ForwardedFor {
			more = append(more, "trusted_proxies", c.TrustedProxies)
		}
		logListening(log, l.String(), l.Addr(), more...)
	}
}

var clientCerts = map[link.ClientCert]string{link.ClientCertNone: "none", link.ClientCertOptional: "optional", link.ClientCertRequired: "required"}

// withoutCredentials says who may come to a listener without credentials.
func withoutCredentials(c *link.ListenerConfig, o *broker.Options) string {
	switch {
	case c.Anonymous == link.AnonymousNever:
		return "nobody"
	case c.Anonymous == link.AnonymousAlways, o.AllowAnonymous:
		return "everybody"
	case c.ProxyProtocol, c.ForwardedFor:
		return "nobody"
	}
	return "this machine"
}
