package config

import (
	"bytes"
	"slices"
	"strings"

	"github.com/x0a1b/promptmq/broker/link"
)

// whileRunning are the keys whose values a reload takes over. A change of another needs a
// restart.
var whileRunning = []string{
	"log.level",
	"server.ws-origins", "server.ws-ping-interval", "server.read-timeout", "server.read-rate-min", "server.shutdown-notice", "server.shutdown-rate",
	"mqtt.keep-alive", "mqtt.max-subscriptions", "mqtt.max-sessions", "mqtt.max-session-expiry",
	"mqtt.max-retained-messages", "mqtt.max-retained-bytes",
	"auth.allow-anonymous", "auth.rules-file", "auth.acl-file", "admin.tokens-file",
	"mqtt.sys-interval", "mqtt.max-user-properties", "limits.connection-rate", "limits.connection-rate-per-address",
	"limits.message-rate", "limits.byte-rate", "limits.sessions-per-user", "limits.retained-messages-per-user", "limits.retained-bytes-per-user",
	"auth.password-file", "auth.remember-password", "auth.hashing.workers", "auth.hashing.waiting", "auth.backoff-max",
	"auth.ban.failures", "auth.ban.window", "auth.ban.time", "auth.ban.exempt",
	"auth.jwt.key-file", "auth.jwt.secret-file", "auth.jwt.jwks-url", "auth.jwt.jwks-ca-file", "auth.jwt.jwks-refresh", "auth.jwt.algorithms", "auth.jwt.issuer",
	"auth.jwt.audience", "auth.jwt.leeway", "auth.jwt.require-expiry", "auth.jwt.user-claim", "auth.jwt.groups-claim", "auth.jwt.rules-claim", "auth.jwt.match-user",
	"auth.http.url", "auth.http.ca-file", "auth.http.timeout", "auth.http.max-concurrent", "auth.http.cache-time", "auth.http.cache-deny-time", "auth.http.cache-size",
	"auth.http.breaker-failures", "auth.http.breaker-pause",
	"storage.cleanup.check-interval", "storage.cleanup.max-message-age", "storage.cleanup.batch-size",
}

// A shownValue is a value and where it is from, without secrets.
type shownValue struct{ value, source string }

// Take copies from next what a reload takes over, and returns which keys have another value
// now, and which have one in next that needs a restart.
func (c *Config) Take(next *Config) (changed, restart []string) {
	changed, restart = []string{}, []string{} // in JSON none is [], not null
	c.waiting = make(map[string]shownValue)
	for i := range keys {
		k := &keys[i]
		text := next.text(k)
		if text == c.text(k) {
			c.takeOrigin(k.path, next)
			continue
		}
		if k.path == listenersPath {
			more, fixed := c.takeListenerChanges(next)
			changed, restart = append(changed, more...), append(restart, fixed...)
			if len(fixed) > 0 {
				c.waiting[k.path] = next.shown(k)
			}
			continue
		}
		if !slices.Contains(whileRunning, k.path) {
			restart = append(restart, k.path)
			c.waiting[k.path] = next.shown(k)
			continue
		}
		_ = k.kind.parse(k.field(c), text) // as next's was
		c.takeOrigin(k.path, next)
		changed = append(changed, k.path)
	}
	c.fileText = next.fileText
	return changed, restart
}

// takeOrigin takes over where a value is from, and how it is written there.
func (c *Config) takeOrigin(path string, next *Config) {
	c.origins[path] = next.origins[path]
	if delete(c.references, path); next.references[path] != "" {
		c.references[path] = next.references[path]
	}
}

// fixed are the keys of an entry of server.listeners whose change needs a restart, as do an
// entry more or less.
var fixed = []string{"kind", "address", "proxy-protocol", "mode"}

// takeListenerChanges is Take for server.listeners, as link.Network.Update is for those that
// are open.
func (c *Config) takeListenerChanges(next *Config) (changed, restart []string) {
	path := func(name string, key ...string) string {
		return strings.Join(append([]string{listenersPath + "[" + name + "]"}, key...), ".")
	}
	c.Broker.Listeners = slices.Clone(c.Broker.Listeners) // others have the array too
	for i := range c.Broker.Listeners {
		l := &c.Broker.Listeners[i]
		n := listenerNamed(next.Broker.Listeners, l.Name)
		if n == nil {
			restart = append(restart, path(l.Name))
			continue
		}
		for _, name := range differences(l, n) {
			if slices.Contains(fixed, name) {
				restart = append(restart, path(l.Name, name))
			} else {
				changed = append(changed, path(l.Name, name))
			}
		}
		if l.Kind == n.Kind {
			is := *l
			*l = *n
			l.Address, l.ProxyProtocol, l.Mode = is.Address, is.ProxyProtocol, is.Mode
		}
	}
	for i := range next.Broker.Listeners {
		if name := next.Broker.Listeners[i].Name; listenerNamed(c.Broker.Listeners, name) == nil {
			restart = append(restart, path(name))
		}
	}
	return changed, restart
}

func listenerNamed(list []link.ListenerConfig, name string) *link.ListenerConfig {
	i := slices.IndexFunc(list, func(l link.ListenerConfig) bool { return l.Name == name })
	if i < 0 {
		return nil
	}
	return &list[i]
}

// differences are the keys in which two entries differ.
func differences(a, b *link.ListenerConfig) (names []string) {
	if a.Kind != b.Kind {
		return []string{"kind"}
	}
	values := make(map[string]string)
	eachListenerKey(a, func(k *listenerKey, value string) { values[k.name] = value })
	eachListenerKey(b, func(k *listenerKey, value string) {
		if values[k.name] != value {
			names = append(names, k.name)
		}
	})
	return names
}

// cutOff reports whether text is but the beginning of what was read before.
func cutOff(text, before []byte) bool {
	return len(text) < len(before) && bytes.HasPrefix(before, text)
}
