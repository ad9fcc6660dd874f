package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/broker/trouble"
)

// An accessSummary is what holds for all listeners.
type accessSummary struct {
	allowAnonymous bool
	identities     []string // from where Clients can have one, beside certificates
	rules          int
}

// logListening writes the line from which scripts and tests learn an address.
func logListening(log *slog.Logger, listener string, addr net.Addr) {
	log.Info("listening", "listener", listener, "addr", addr.String())
}

// logListeners writes the line of each listener of the broker.
func logListeners(log *slog.Logger, b *broker.Broker, all *accessSummary) {
	for _, l := range b.Listeners() {
		logListener(log, l.String(), l.Addr().String(), l.Config(), all)
	}
}

// logListener writes the line from which scripts and tests learn an address, and people who
// may connect to it and what they may do then.
func logListener(log *slog.Logger, name, addr string, c *link.ListenerConfig, all *accessSummary) {
	level := slog.LevelInfo
	anonymous := "nobody"
	switch proxied := c.ProxyProtocol || c.ForwardedFor; {
	case c.Anonymous == link.AnonymousAlways, c.Anonymous == link.AnonymousDefault && all.allowAnonymous:
		anonymous, level = "everybody", slog.LevelWarn
	case c.Anonymous == link.AnonymousDefault && !proxied:
		anonymous = "this machine"
	}
	attrs := []any{"listener", name, "addr", addr, "kind", c.Kind, "without_credentials", anonymous, "identities", identitiesOf(c, all), "may", mayDo(all)}
	if c.TLS != nil {
		attrs = append(attrs, "tls", tlsOf(c.TLS))
	}
	attrs = append(attrs, "proxies", proxiesOf(c, anonymous))
	if level == slog.LevelWarn {
		attrs = append(attrs, trouble.OpenToEverybody)
	}
	log.Log(context.Background(), level, "listening", attrs...)
}

func identitiesOf(c *link.ListenerConfig, all *accessSummary) string {
	list := all.identities
	if c.TLS != nil && c.TLS.ClientCert != link.ClientCertNone && c.TLS.UserFrom != link.NameNone {
		list = append([]string{"client certificates"}, list...)
	}
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

func mayDo(all *accessSummary) string {
	switch all.rules {
	case 0:
		return "everything: there are no rules"
	case 1:
		return "what 1 rule allows"
	}
	return fmt.Sprintf("what %d rules allow", all.rules)
}

func tlsOf(t *link.TLSConfig) string {
	text := tls.VersionName(t.MinVersion) + " and later"
	switch t.ClientCert {
	case link.ClientCertOptional:
		text += ", client certificates accepted"
	case link.ClientCertRequired:
		text += ", client certificates required"
	default:
		return text
	}
	if t.UserFrom != link.NameNone {
		text += ", user name from " + string(t.UserFrom)
	}
	if t.CRLFile != "" {
		text += ", with revocations"
	}
	return text
}

func proxiesOf(c *link.ListenerConfig, anonymous string) string {
	switch {
	case c.ProxyProtocol:
		return "PROXY protocol, from " + joinPrefixes(c.TrustedProxies)
	case c.ForwardedFor:
		return "X-Forwarded-For, from " + joinPrefixes(c.TrustedProxies)
	case anonymous == "nobody", anonymous == "everybody":
		return "none"
	}
	return "none: a reverse proxy, tunnel or port forwarder on this machine makes all its clients local, unless it says in the request that it is one"
}

func joinPrefixes(list []netip.Prefix) string {
	texts := make([]string, len(list))
	for i, p := range list {
		texts[i] = p.String()
	}
	return strings.Join(texts, ", ")
}
