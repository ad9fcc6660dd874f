package config

import (
	"math"
	"strings"
	"time"

	"github.com/x0a1b/promptmq/broker/login"
)

// key is one setting.
type key struct {
	path  string // in the file, with dots
	help  string // one or more sentences; says what zero or empty means where they are allowed
	kind  kind
	field func(*Config) any // a pointer to what it fills
}

// flag returns the name of the flag, without the dashes in front: the path
// with dashes, where the section storage is left out.
func (k *key) flag() string {
	return strings.ReplaceAll(strings.TrimPrefix(k.path, "storage."), ".", "-")
}

// variable returns the name of the environment variable.
func (k *key) variable() string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(k.flag(), "-", "_"))
}

const variablePrefix = "PROMPTMQ_"

// packetBytesMax is what the length of an MQTT Control Packet can count. Section
// 2.1.4. The whole packet may have five bytes more; but there are clients that
// take a Maximum Packet Size above this for an error.
const packetBytesMax = 268_435_455

// keys are in the order in which they are printed; those of one section stand
// together.
var keys = []key{
	{"log.level", "Least severe messages that are logged. fatal and panic are the same: only why the process ends.",
		oneOf(levelNames...), func(c *Config) any { return &c.Log.Level }},
	{"log.format", "json: one JSON object per line. console: key=value text for a person. auto: console where standard error, to which logs go, is a terminal, else json.",
		oneOf(formatAuto, formatJSON, formatConsole), func(c *Config) any { return &c.Log.Format }},

	{"server.bind", "Address of the TCP listener for MQTT. Empty: no such listener.",
		address{}, func(c *Config) any { return &c.Broker.Bind }},
	{"server.ws-bind", "Address of the WebSocket listener for MQTT, on any path. Empty: no such listener.",
		address{}, func(c *Config) any { return &c.Broker.WSBind }},
	{"server.ws-origins", "Which web pages may connect over WebSocket; clients that are no browsers send no Origin and are not concerned. same: those of the host and port that the browser connects to. any: all. Or a list, in YAML or parted by commas, of origins (https://app.example.com), hosts (app.example.com, app.example.com:8443), patterns of them (https://*.example.com) and same.",
		webOrigins{}, func(c *Config) any { return &c.Broker.WSOrigins }},
	{"server.ws-ping-interval", "After which silence the broker sends a ping of WebSocket on server.ws-bind: proxies cut connections that are quiet, most of them after 60 s. Each of server.listeners has its own, ping-interval. 0s: never.",
		offOr{duration{time.Second, time.Hour}}, func(c *Config) any { return &c.Broker.WSPingInterval }},
	{listenersPath, "More listeners, of any kind. In a variable or a flag the list is written on one line, as JSON or YAML; it takes the place of the whole list of the file.",
		listenerList{}, func(c *Config) any { return &c.Broker.Listeners }},
	{"server.connect-timeout", "How long a new connection may take to send CONNECT, whole, after it was accepted.",
		duration{10 * time.Millisecond, time.Hour}, func(c *Config) any { return &c.Broker.ConnectTimeout }},
	{"server.read-timeout", "How long a packet whose first byte has come may be slower than server.read-rate-min, or not go on at all, before its connection is closed.",
		duration{10 * time.Millisecond, time.Hour}, func(c *Config) any { return &c.Broker.ReadTimeout }},
	{"server.read-rate-min", "Bytes per second that a packet needs to go on arriving for longer than server.read-timeout. At least at this rate it may take as long as it needs, whatever its client's Keep Alive is.",
		unit("bytes per second", integer{1, 1 << 30}), func(c *Config) any { return &c.Broker.ReadRateMin }},
	{"server.write-timeout", "How long a client may take no bytes while bytes wait for it. Then its connection is closed; its session stays.",
		duration{10 * time.Millisecond, time.Hour}, func(c *Config) any { return &c.Broker.WriteTimeout }},
	{"server.read-buffer", "Most bytes one read takes from a socket.",
		unit("bytes", integer{512, 1 << 20}), func(c *Config) any { return &c.Broker.ReadBuffer }},
	{"server.write-buffer", "Bytes that may gather for a connection before they are written without waiting for more.",
		unit("bytes", integer{512, 1 << 20}), func(c *Config) any { return &c.Broker.WriteBuffer }},
	{"server.shutdown-notice", "MQTT 5 clients get DISCONNECT 0x8B (Server shutting down) when the broker ends; else their connections are just closed. Off, because programs with libmosquitto 2.0 do not come back after it.",
		boolean{}, func(c *Config) any { return &c.Broker.ShutdownNotice }},
	{"server.shutdown-rate", "Most connections that are ended in a second when the broker ends, so that not all clients are back in the same moment; until its turn comes each is served. It takes no longer than 2 s, however many there are. 0: all at once.",
		unit("connections per second", orOff{integer{200, 1_000_000}}), func(c *Config) any { return &c.Broker.ShutdownRate }},

	{"mqtt.max-qos", "Highest QoS that clients may publish with and are granted.",
		unit("QoS", integer{0, 2}), func(c *Config) any { return &c.Broker.MaxQoS }},
	{"mqtt.max-connections", "Most network connections at a time. No more than the limit of open files (`ulimit -n`) allows, of which about 110 are kept for the broker itself, fewer where it is below 512 (docs/security.md says more); if that is less, the start warns.",
		unit("connections", integer{1, 10_000_000}), func(c *Config) any { return &c.Broker.MaxConnections }},
	{"mqtt.max-inflight", "Most QoS 1 and 2 messages under way to one client; a client's Receive Maximum can only lower it.",
		unit("messages", integer{1, math.MaxUint16}), func(c *Config) any { return &c.Broker.MaxInflight }},
	{"mqtt.receive-maximum", "Most QoS 1 and 2 messages that one MQTT 5 client may have under way to the broker; one that has more is " +
		"disconnected. Several clients keep no count, and come back to be disconnected again: 65535 is no limit.",
		unit("messages", integer{1, math.MaxUint16}), func(c *Config) any { return &c.Broker.ReceiveMaximum }},
	{"mqtt.keep-alive", "Longest Keep Alive in seconds. An MQTT 5 client that asks for more, or for none, is given this as Server Keep Alive, and closed if it does not keep to it. 0: no limit, each client has the Keep Alive that it asks for.",
		unit("seconds", integer{0, math.MaxUint16}), func(c *Config) any { return &c.Broker.KeepAliveSeconds }},
	{"mqtt.retain-available", "Retained messages are accepted.",
		boolean{}, func(c *Config) any { return &c.Broker.RetainAvailable }},
	{"mqtt.wildcard-available", "Topic filters may have the wildcards + and #.",
		boolean{}, func(c *Config) any { return &c.Broker.WildcardAvailable }},
	{"mqtt.shared-sub-available", "Shared subscriptions ($share/name/filter) are accepted.",
		boolean{}, func(c *Config) any { return &c.Broker.SharedSubAvailable }},
	{"mqtt.max-packet-size", "Largest packet in bytes that clients may send.",
		unit("bytes", integer{512, packetBytesMax}), func(c *Config) any { return &c.Broker.MaxPacketSize }},
	{"mqtt.topic-alias-maximum", "Most topic aliases per connection, in each direction. 0: none.",
		unit("topic aliases", integer{0, math.MaxUint16}), func(c *Config) any { return &c.Broker.TopicAliasMaximum }},
	{"mqtt.max-topic-levels", "Most levels of a topic name or topic filter.",
		unit("levels", integer{1, 1024}), func(c *Config) any { return &c.Broker.MaxTopicLevels }},
	{"mqtt.max-subscriptions", "Most subscriptions of one session. What a SUBSCRIBE packet asks for beyond as many filters is refused too.",
		unit("subscriptions", integer{1, 10_000_000}), func(c *Config) any { return &c.Broker.MaxSubscriptions }},
	{"mqtt.max-sessions", "Most sessions, connected or not.",
		unit("sessions", integer{1, 100_000_000}), func(c *Config) any { return &c.Broker.MaxSessions }},
	{"mqtt.max-queued-messages", "Most messages queued for one session. mqtt.queue-policy says what happens then.",
		unit("messages", integer{1, 1_000_000_000}), func(c *Config) any { return &c.Broker.MaxQueuedMessages }},
	{"mqtt.max-queued-bytes", "Most bytes queued for one session, with the same effect.",
		unit("bytes", integer{1024, 1 << 50}), func(c *Config) any { return &c.Broker.MaxQueuedBytes }},
	{"mqtt.queue-policy", "What becomes of a QoS 1 or 2 PUBLISH while the queue of a matching session is full. drop-oldest: it takes the place of the oldest messages in that queue that were never sent; messages in flight stay. drop-newest: that session does not get it. reject: it is refused, and no session gets it; a Will, and a message that removes a retained one, is only dropped for that session.",
		oneOf("drop-oldest", "drop-newest", "reject"), func(c *Config) any { return &c.Broker.QueuePolicy }},
	{"mqtt.max-session-expiry", "Longest time in seconds that a session outlives its connection. An MQTT 5 client that asks for more is told so; sessions of older clients without clean session get this. 0: every session ends with its connection. 4294967295: no limit.",
		unit("seconds", integer{0, math.MaxUint32}), func(c *Config) any { return &c.Broker.MaxSessionExpirySeconds }},
	{"mqtt.will-grace", "Where the broker was killed, or its machine failed, the Will of a session that ended with its connection is published this long after the next start, unless the client is back by then. 0: at the start.",
		duration{0, time.Hour}, func(c *Config) any { return &c.Broker.WillGrace }},
	{"mqtt.max-retained-messages", "Most retained messages.",
		unit("messages", integer{1, 1_000_000_000}), func(c *Config) any { return &c.Broker.MaxRetainedMessages }},
	{"mqtt.max-retained-bytes", "Most bytes of retained messages.",
		unit("bytes", integer{1024, 1 << 50}), func(c *Config) any { return &c.Broker.MaxRetainedBytes }},

	{"mqtt.sys-interval", "How often the topics below $SYS/broker are published that have changed, with the names that Mosquitto gives them. They cost nothing while nobody subscribes to them. 0s: there are none.",
		offOr{duration{time.Second, time.Hour}}, func(c *Config) any { return &c.Broker.SysInterval }},
	{"mqtt.max-user-properties", "Most user properties of one packet. A CONNECT with more, or with a Will with more, is refused with 0x97 (Quota exceeded), as are a PUBLISH with QoS 1 or 2 and all filters of a SUBSCRIBE; a PUBLISH with QoS 0 is dropped. 0: no limit.",
		unit("user properties", integer{0, 1_000_000}), func(c *Config) any { return &c.Broker.MaxUserProperties }},

	{"limits.connection-rate", "Most connections a second that each listener accepts; as many may come at once. One more is closed before anything is read from it but what a trusted proxy says of it. 0: no limit.",
		unit("connections per second", integer{0, 10_000_000}), func(c *Config) any { return &c.Broker.Limits.ConnectionRate }},
	{"limits.connection-rate-per-address", "Most connections a second that each listener accepts from one address, for IPv6 from one network of 64 bits. With proxy-protocol or forwarded-for it is the address that the trusted proxy says; behind any other proxy, or NAT, all clients have one. 0: no limit.",
		unit("connections per second", integer{0, 10_000_000}), func(c *Config) any { return &c.Broker.Limits.ConnectionRatePerAddress }},

	{"limits.memory", "Most bytes of memory that the broker should need. From 70 % of it on CONNECT is refused (0x97, Quota exceeded; 3 for MQTT 3), from 85 % on clients that publish are not read and there are no new subscriptions, from 95 % on the connections are closed for which most waits; sessions stay. Retained messages, sessions with their names and Wills, and subscriptions may have a fifth each. -1: 80 % of GOMEMLIMIT if that is set, else of what the control group or the machine has. 0: off.",
		unit("bytes", orDefault{orOff{integer{32 << 20, 1 << 50}}}), func(c *Config) any { return &c.Broker.Limits.Memory }},
	{"limits.message-rate", "Most PUBLISH packets a second of one client; as many may come at once. A client that sends more is not read for a while, so that it has to wait; nothing is dropped. It takes effect at CONNECT. 0: no limit.",
		unit("messages per second", integer{0, 10_000_000}), func(c *Config) any { return &c.Broker.Limits.MessageRate }},
	{"limits.byte-rate", "Most bytes a second that are read of one client, in the same way. 0: no limit.",
		unit("bytes per second", orOff{integer{1024, 1 << 40}}), func(c *Config) any { return &c.Broker.Limits.ByteRate }},
	{"limits.sessions-per-user", "Most sessions of one user, connected or not. One more is refused with 0x97 (Quota exceeded; 3 for MQTT 3). Sessions of anonymous clients are not counted. 0: no limit but mqtt.max-sessions.",
		unit("sessions", integer{0, 100_000_000}), func(c *Config) any { return &c.Broker.Limits.SessionsPerUser }},
	{"limits.retained-messages-per-user", "Most retained messages of one user: those that were published last by the user, Wills included. One more is refused (0x97, Quota exceeded; with QoS 0 dropped; a client before MQTT 5 is disconnected); removing one, and replacing one's own, goes on. Those of anonymous clients are not counted. 0: no limit but mqtt.max-retained-messages.",
		unit("messages", integer{0, 1_000_000_000}), func(c *Config) any { return &c.Broker.Limits.RetainedMessagesPerUser }},
	{"limits.retained-bytes-per-user", "Most bytes of the retained messages of one user, in the same way: topic, payload and properties, and 64 for each message. What takes no more than the message of the same user that it replaces goes on. 0: no limit but mqtt.max-retained-bytes.",
		unit("bytes", orOff{integer{1024, 1 << 50}}), func(c *Config) any { return &c.Broker.Limits.RetainedBytesPerUser }},

	{"auth.allow-anonymous", "Clients from other machines are admitted without credentials. Clients from this machine (loopback) always are.",
		boolean{}, func(c *Config) any { return &c.Broker.AllowAnonymous }},
	{"auth.rules-file", "File of rules that say who may publish and subscribe to what; docs/security.md has its form. They come behind those of the store. Empty: none.",
		filePath{}, func(c *Config) any { return &c.Auth.RulesFile }},
	{"auth.acl-file", "acl_file of Mosquitto, which denies all that it does not allow. Its rules come last. Empty: none.",
		filePath{}, func(c *Config) any { return &c.Auth.ACLFile }},

	{"auth.password-file", "Mosquitto password file: $7$, $6$ and argon2id, as mosquitto_passwd writes them. Users of the store come before those of the same name in it. With one, a client with a wrong or unknown user name is refused, wherever it comes from; one without any is a question of auth.allow-anonymous. Empty: none.",
		filePath{}, func(c *Config) any { return &c.Login.PasswordFile }},
	{"auth.remember-password", "How long a password that was right is not compared with its hash again: a digest of it, worth nothing outside of the process, is kept in memory. Clients that reconnect are let in at once then. A change of the user ends it. 0s: off, each login is compared.",
		offOr{duration{time.Second, 24 * time.Hour}}, func(c *Config) any { return &c.Login.Remember }},
	{"auth.backoff-max", "Longest time that a user has to wait at an address after failed logins from there: from the third on 1 s, then 2, 4 and so on. Elsewhere the user does not wait, and the same wrong password again does not count. 0s: nobody waits.",
		offOr{duration{time.Second, time.Hour}}, func(c *Config) any { return &c.Login.Backoff.WaitMax }},
	{"auth.hashing.workers", "How many passwords are compared at a time, each on a processor. 0: half as many as there are processors, and at least 1.",
		unit("workers", integer{0, 256}), func(c *Config) any { return &c.Login.HashingWorkers }},
	{"auth.hashing.waiting", "Most logins that wait for their password to be compared. Those beyond it are told to come later (0x97, or 3 for clients before MQTT 5). One address has a quarter of the places at most; as many again are kept for users that logged in from the same address within a day.",
		unit("logins", integer{4, 100_000}), func(c *Config) any { return &c.Login.HashingPlaces }},
	{"auth.ban.failures", "After so many failed logins within auth.ban.window an address is banned, and its connections are closed before anything is read from them; of IPv6 the network of 64 bits. Addresses of this machine never are. 0: none is.",
		unit("failed logins", orOff{integer{3, 1_000_000}}), func(c *Config) any { return &c.Login.Backoff.BanAfter }},
	{"auth.ban.window", "The time within which auth.ban.failures count.",
		duration{time.Second, 24 * time.Hour}, func(c *Config) any { return &c.Login.Backoff.BanWindow }},
	{"auth.ban.time", "How long the first ban of an address is; each that follows within a day is twice as long, up to a day.",
		duration{time.Second, 30 * 24 * time.Hour}, func(c *Config) any { return &c.Login.Backoff.BanTime }},
	{"auth.ban.exempt", "Addresses and networks that are not banned, as the gateway of containers or a proxy, from where everybody seems to come. Empty: only those of this machine.",
		prefixes{}, func(c *Config) any { return &c.Login.Backoff.Exempt }},

	{"auth.jwt.key-file", "File with the public keys that JSON Web Tokens are signed with: PEM (PUBLIC KEY, RSA PUBLIC KEY or CERTIFICATE, one or more) or a JSON Web Key Set. RSA keys are for RS256, EC keys on P-256 for ES256, Ed25519 keys for EdDSA, and for nothing else. A password that has the form of a token is taken for one. Empty: there is none.",
		filePath{}, func(c *Config) any { return &c.Tokens.KeyFile }},
	{"auth.jwt.secret-file", "File with the secret of HS256, 32 bytes or more, without the white space around it. Empty: there is none, and HS256 is not accepted.",
		filePath{}, func(c *Config) any { return &c.Tokens.SecretFile }},
	{"auth.jwt.jwks-url", "Where a JSON Web Key Set with more public keys is fetched, at the start and again: https, or http to this machine. While it cannot be, the old keys stay. Empty: nowhere.",
		webURL{}, func(c *Config) any { return &c.Tokens.KeysURL }},
	{"auth.jwt.jwks-ca-file", "PEM file with the authorities that auth.jwt.jwks-url is trusted by. Empty: those of the system.",
		filePath{}, func(c *Config) any { return &c.Tokens.CAFile }},
	{"auth.jwt.jwks-refresh", "Time from one fetch of auth.jwt.jwks-url to the next. For a token with an unknown key identifier there is one earlier, at most every 30 s.",
		duration{time.Second, 7 * 24 * time.Hour}, func(c *Config) any { return &c.Tokens.KeysRefresh }},
	{"auth.jwt.algorithms", "The algorithms that are accepted, as far as there are keys for them.",
		wordList(login.Algorithms), func(c *Config) any { return &c.Tokens.Algorithms }},
	{"auth.jwt.issuer", "What a token must have as iss. Empty: anything, or nothing.",
		plainText{}, func(c *Config) any { return &c.Tokens.Issuer }},
	{"auth.jwt.audience", "What a token must have as aud, or among several. Empty: anything, or nothing.",
		plainText{}, func(c *Config) any { return &c.Tokens.Audience }},
	{"auth.jwt.leeway", "How far the clock that a token was made by may be from this one.",
		duration{0, time.Hour}, func(c *Config) any { return &c.Tokens.Leeway }},
	{"auth.jwt.require-expiry", "Tokens without exp are refused. The connection ends when its token does.",
		boolean{}, func(c *Config) any { return &c.Tokens.RequireExpiry }},
	{"auth.jwt.user-claim", "The claim that has the user name.",
		plainText{required: true}, func(c *Config) any { return &c.Tokens.UserClaim }},
	{"auth.jwt.groups-claim", "The claim that has the groups, a list. Empty: none has.",
		plainText{}, func(c *Config) any { return &c.Tokens.GroupsClaim }},
	{"auth.jwt.rules-claim", "The claim that has rules, a list of lines as in a file of rules, which come before all others. Empty: none has.",
		plainText{}, func(c *Config) any { return &c.Tokens.RulesClaim }},
	{"auth.jwt.match-user", "A user name beside the token must be that of the token. Off: it does not matter.",
		boolean{}, func(c *Config) any { return &c.Tokens.MatchUser }},

	{"auth.http.url", "Where logins with a password are asked about that nobody else knows, with a POST: https, or http to this machine. If it has a key in its query, it is better kept in a file (file:/path), or in a variable (${NAME}). Empty: nowhere.",
		webURL{}, func(c *Config) any { return &c.Callback.URL }},
	{"auth.http.ca-file", "PEM file with the authorities that auth.http.url is trusted by. Empty: those of the system.",
		filePath{}, func(c *Config) any { return &c.Callback.CAFile }},
	{"auth.http.timeout", "How long a login may wait for the answer, and for its turn. It should be less than server.connect-timeout.",
		duration{10 * time.Millisecond, time.Minute}, func(c *Config) any { return &c.Callback.Timeout }},
	{"auth.http.max-concurrent", "Most logins that are asked about at a time.",
		unit("logins", integer{1, 10_000}), func(c *Config) any { return &c.Callback.Concurrency }},
	{"auth.http.cache-time", "How long an answer that lets a client in holds for exactly the same login. 0s: each is asked about.",
		duration{0, 24 * time.Hour}, func(c *Config) any { return &c.Callback.CacheTime }},
	{"auth.http.cache-deny-time", "The same for any other answer.",
		duration{0, time.Hour}, func(c *Config) any { return &c.Callback.CacheDenyTime }},
	{"auth.http.cache-size", "Most answers that are kept, of each of the two kinds.",
		unit("answers", integer{1, 1_000_000}), func(c *Config) any { return &c.Callback.CacheSize }},
	{"auth.http.breaker-failures", "After so many failures in a row auth.http.url is not asked for auth.http.breaker-pause, and then by one login at a time until one is answered. Meanwhile logins are refused as the server being unavailable.",
		unit("failures", integer{1, 1000}), func(c *Config) any { return &c.Callback.BreakerFailures }},
	{"auth.http.breaker-pause", "How long it is not asked.",
		duration{100 * time.Millisecond, time.Hour}, func(c *Config) any { return &c.Callback.BreakerPause }},

	{"storage.data-dir", "Directory of the database; created when missing.",
		directory{}, func(c *Config) any { return &c.Store.DataDir }},
	{"storage.max-size", "Largest size of the database file in bytes, its write-ahead log not counted. At this size what would be stored is refused, and what removes goes on. 0: off, the disk is the limit.",
		unit("bytes", orOff{integer{1 << 20, 1 << 50}}), func(c *Config) any { return &c.Store.MaxSize }},
	{"storage.cleanup.check-interval", "Time from one cleanup of the queues to the next; the first is at the start. A cleanup removes messages from memory and disk whose Message Expiry Interval has passed, even if their session never returns. Expired sessions and retained messages need none: they go when their time is over.",
		duration{100 * time.Millisecond, 365 * 24 * time.Hour}, func(c *Config) any { return &c.Broker.CleanupInterval }},
	{"storage.cleanup.max-message-age", "Longest time that a QoS 1 or 2 message may be queued for a session before a cleanup removes it, unless it was sent and awaits its acknowledgement. Retained messages stay. 0: no limit, nothing is removed because of its age.",
		duration{0, 10 * 365 * 24 * time.Hour}, func(c *Config) any { return &c.Broker.MaxMessageAge }},
	{"storage.cleanup.batch-size", "How many messages a cleanup looks at before it commits what it removed.",
		unit("messages", integer{1, 1_000_000}), func(c *Config) any { return &c.Broker.CleanupBatch }},
	{"storage.sqlite.cache-size", "PRAGMA cache_size: a positive number counts pages, a negative one KiB.",
		unit("pages, or KiB where negative", integer{-1 << 26, 1 << 26}), func(c *Config) any { return &c.Store.CacheSize }},
	{"storage.sqlite.temp-store", "PRAGMA temp_store: where SQLite has temporary tables and indexes.",
		oneOf("MEMORY", "FILE", "DEFAULT"), func(c *Config) any { return &c.Store.TempStore }},
	{"storage.sqlite.mmap-size", "PRAGMA mmap_size in bytes. 0: off.",
		unit("bytes", integer{0, 1 << 40}), func(c *Config) any { return &c.Store.MmapSize }},
	{"storage.sqlite.busy-timeout", "PRAGMA busy_timeout in milliseconds. 0: a lock held by another process fails at once.",
		unit("milliseconds", milliseconds{integer{0, 3_600_000}}), func(c *Config) any { return &c.Store.BusyTimeout }},
	{"storage.sqlite.synchronous", "PRAGMA synchronous. With FULL or EXTRA an acknowledged message survives a power cut; with NORMAL or OFF the last ones may be lost, and OFF may leave a damaged file.",
		oneOf("FULL", "EXTRA", "NORMAL", "OFF"), func(c *Config) any { return &c.Store.Synchronous }},
	{"storage.sqlite.journal-mode", "PRAGMA journal_mode. With DELETE the last commit may be undone by a power cut unless synchronous is EXTRA; MEMORY may leave a damaged file when the process dies during a commit.",
		oneOf("WAL", "DELETE", "TRUNCATE", "PERSIST", "MEMORY"), func(c *Config) any { return &c.Store.JournalMode }},
	{"storage.sqlite.foreign-keys", "PRAGMA foreign_keys: SQLite checks that rows which belong to others have them.",
		boolean{}, func(c *Config) any { return &c.Store.ForeignKeys }},

	{"metrics.enabled", "The HTTP listener for metrics, /health and /ready is opened.",
		boolean{}, func(c *Config) any { return &c.Metrics.Enabled }},
	{"metrics.bind", "Address of that listener.",
		address{required: true}, func(c *Config) any { return &c.Metrics.Bind }},
	{"metrics.path", "Path of the metrics in the Prometheus text format.",
		urlPath{}, func(c *Config) any { return &c.Metrics.Path }},

	{"admin.bind", "Address of the listener for the API and the page, with TLS; without it only an address of this machine, such as 127.0.0.1:9092, is taken. Who asks needs a token, or is a user with a role (`promptmq user role`). Empty: the API is on the socket in the data directory only.",
		address{}, func(c *Config) any { return &c.Admin.Bind }},
	{"admin.tls-cert", "PEM file with the certificate of that listener and those between it and a root. It is taken over when it changes. Empty: no TLS.",
		filePath{}, func(c *Config) any { return &c.Admin.TLSCert }},
	{"admin.tls-key", "PEM file with its key.",
		filePath{}, func(c *Config) any { return &c.Admin.TLSKey }},
	{"admin.tokens-file", "File with the tokens that the API takes there: lines of admin:TOKEN or viewer:TOKEN, or with sha256: and the SHA-256 of the token in place of it. Empty: none.",
		filePath{}, func(c *Config) any { return &c.Admin.TokensFile }},
}

// withoutEffect are sections that this version does not act upon.
var withoutEffect = []string{"cluster"}

// FlagsWithoutEffect begin as those of keys in withoutEffect would.
const FlagsWithoutEffect = "--cluster-"

// NoCluster is said of the keys of that section, their flags and variables.
const NoCluster = "this version has no cluster, so that the key would have no effect; remove it"
