package config

import (
	"bytes"
	"slices"
)

// whileRunning are the keys whose values a reload takes over. A change of another needs a
// restart.
var whileRunning = []string{
	"log.level",
	"server.ws-origins", "server.listeners", // see broker.UpdateListeners for what of these
	"server.read-timeout", "server.read-rate-min", "server.shutdown-notice",
	"mqtt.keep-alive", "mqtt.max-subscriptions", "mqtt.max-sessions", "mqtt.max-session-expiry",
	"mqtt.max-retained-messages", "mqtt.max-retained-bytes",
	"auth.allow-anonymous",
	"auth.password-file", "auth.remember-password", "auth.hashing.workers", "auth.hashing.waiting", "auth.backoff-max",
	"auth.ban.failures", "auth.ban.window", "auth.ban.time", "auth.ban.exempt",
	"auth.jwt.key-file", "auth.jwt.secret-file", "auth.jwt.jwks-url", "auth.jwt.jwks-ca-file", "auth.jwt.jwks-refresh", "auth.jwt.algorithms", "auth.jwt.issuer",
	"auth.jwt.audience", "auth.jwt.leeway", "auth.jwt.require-expiry", "auth.jwt.user-claim", "auth.jwt.groups-claim", "auth.jwt.rules-claim", "auth.jwt.match-user",
	"auth.http.url", "auth.http.ca-file", "auth.http.timeout", "auth.http.max-concurrent", "auth.http.cache-time", "auth.http.cache-deny-time", "auth.http.cache-size",
	"auth.http.breaker-failures", "auth.http.breaker-pause",
	"storage.cleanup.check-interval", "storage.cleanup.max-message-age", "storage.cleanup.batch-size",
}

// Take copies from next what a reload takes over, and returns which keys have another value
// now, and which have one in next that needs a restart.
func (c *Config) Take(next *Config) (changed, restart []string) {
	changed, restart = []string{}, []string{} // in JSON none is [], not null
	for i := range keys {
		k := &keys[i]
		text := next.text(k)
		if text == c.text(k) {
			continue
		}
		if !slices.Contains(whileRunning, k.path) {
			restart = append(restart, k.path)
			continue
		}
		_ = k.kind.parse(k.field(c), text) // as next's was
		c.origins[k.path] = next.origins[k.path]
		changed = append(changed, k.path)
	}
	c.fileText = next.fileText
	return changed, restart
}

// cutOff reports whether text is but the beginning of what was read before.
func cutOff(text, before []byte) bool {
	return len(text) < len(before) && bytes.HasPrefix(before, text)
}
