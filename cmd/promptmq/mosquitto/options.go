package mosquitto

// An option is one of mosquitto.conf, of any version.
type option struct {
	name    string // with a * at its end: all that begin so
	outcome Outcome
	here    string // the key that it becomes, or why it does not, or not as it was
	unless  string // a value with which it says what is so here anyway: it is taken then
	scope   scope
	take    func(*confReader, confLine) // for what is taken or changed; it adds the Findings
}

// A scope says what a line belongs to.
type scope uint8

const (
	general  scope = iota
	listener       // the listener line before it, or else the default listener
	security       // with per_listener_settings as a listener's, else everything
	plugins        // in the order of the lines
	bridge
)

const (
	noBridges  = "there are no bridges yet: nothing is forwarded to or fetched from other brokers"
	noPSK      = "there are no pre-shared keys: give the listener a certificate (promptmq cert self-signed)"
	ofTheUnit  = "it is a matter of the systemd unit or whoever starts the broker"
	ofTheLog   = "the log goes to standard error, which systemd keeps; log.format says how"
	everyWrite = "each acknowledged message is on disk already: there is nothing to save from time to time"
)

// options are all that are known, by name.
var options = []option{
	{name: "accept_protocol_versions", outcome: LeftOut, scope: listener, here: "clients of MQTT 3.1, 3.1.1 and 5 are accepted on every listener"},
	{name: "acl_file", outcome: Taken, scope: security, here: "rules of the store (promptmq acl)"},
	{name: "address", outcome: LeftOut, scope: bridge, here: noBridges},
	{name: "addresses", outcome: LeftOut, scope: bridge, here: noBridges},
	{name: "allow_anonymous", outcome: Taken, scope: security, here: "server.listeners: anonymous"},
	{name: "allow_duplicate_messages", outcome: LeftOut, here: "a message that several subscriptions of a client match comes once"},
	{name: "allow_zero_length_clientid", outcome: LeftOut, scope: security, unless: "true", here: "clients without an identifier are accepted, and given one"},
	{name: "auth_opt_*", outcome: Taken, scope: plugins, here: "as plugin_opt_*"},
	{name: "auth_plugin", outcome: Taken, scope: plugins, here: "as plugin"},
	{name: "auth_plugin_deny_special_chars", outcome: LeftOut, scope: plugins, here: "names with + or # are text, and never widen a rule"},
	{name: "auto_id_prefix", outcome: LeftOut, scope: security, here: "identifiers that the broker gives have no prefix"},
	{name: "autosave_interval", outcome: LeftOut, here: everyWrite},
	{name: "autosave_on_changes", outcome: LeftOut, here: everyWrite},
	{name: "bind_address", outcome: Taken, scope: listener, here: "server.listeners: address"},
	{name: "bind_interface", outcome: Refused, scope: listener, here: "a listener cannot be bound to an interface: write the address of the interface behind the port"},
	{name: "bridge_*", outcome: LeftOut, scope: bridge, here: noBridges},
	{name: "cafile", outcome: Taken, scope: listener, here: "server.listeners: client-ca-file, with require_certificate"},
	{name: "capath", outcome: Refused, scope: listener, here: "authorities are in one file: put them there (cat DIR/*.pem > ca.pem), and name it as cafile"},
	{name: "certfile", outcome: Taken, scope: listener, here: "server.listeners: cert-file"},
	{name: "check_retain_source", outcome: LeftOut, here: "a retained message is for whoever may receive it, whatever its publisher may do by now"},
	{name: "ciphers", outcome: LeftOut, scope: listener, here: "the cipher suites are those of Go, without the weak ones"},
	{name: "ciphers_tls1.3", outcome: LeftOut, scope: listener, here: "the cipher suites are those of Go, without the weak ones"},
	{name: "cleansession", outcome: LeftOut, scope: bridge, here: noBridges},
	{name: "clientid", outcome: LeftOut, scope: bridge, here: noBridges},
	{name: "clientid_prefixes", outcome: Refused, scope: security, here: "client identifiers are not restricted: a session belongs to the user that made it. Give the clients user names and rules"},
	{name: "connection", outcome: LeftOut, scope: bridge, here: noBridges},
	{name: "connection_messages", outcome: LeftOut, here: "log.level says what is logged"},
	{name: "crlfile", outcome: Taken, scope: listener, here: "server.listeners: crl-file, with require_certificate"},
	{name: "dhparamfile", outcome: LeftOut, scope: listener, here: "keys are agreed on with elliptic curves alone"},
	{name: "disable_client_cert_date_checks", outcome: LeftOut, scope: listener, unless: "false", here: "the dates of certificates are always checked"},
	{name: "enable_control_api", outcome: LeftOut, unless: "false", here: "the broker is administered with promptmq, its API and its page, not over $CONTROL"},
	{name: "ffdc_output", outcome: LeftOut, here: "there is no such output"},
	{name: "global_max_clients", outcome: Taken, here: "mqtt.max-sessions", take: number("mqtt.max-sessions", 1, 100_000_000)},
	{name: "global_max_connections", outcome: Taken, here: "mqtt.max-connections", take: number("mqtt.max-connections", 1, 10_000_000)},
	{name: "global_plugin", outcome: Taken, scope: plugins, here: "as plugin"},
	{name: "http_dir", outcome: LeftOut, scope: listener, here: "no files are served"},
	{name: "idle_timeout", outcome: LeftOut, scope: bridge, here: noBridges},
	{name: "include_dir", outcome: Taken, here: "the files *.conf in it are read, in order"},
	{name: "keepalive_interval", outcome: LeftOut, scope: bridge, here: noBridges},
	{name: "keyfile", outcome: Taken, scope: listener, here: "server.listeners: key-file"},
	{name: "listener", outcome: Taken, here: "server.listeners"},
	{name: "listener_allow_anonymous", outcome: Taken, scope: listener, here: "server.listeners: anonymous"},
	{name: "listener_auto_id_prefix", outcome: LeftOut, scope: listener, here: "identifiers that the broker gives have no prefix"},
	{name: "local_*", outcome: LeftOut, scope: bridge, here: noBridges},
	{name: "log_dest", outcome: LeftOut, here: ofTheLog},
	{name: "log_facility", outcome: LeftOut, here: ofTheLog},
	{name: "log_timestamp", outcome: LeftOut, here: ofTheLog},
	{name: "log_timestamp_format", outcome: LeftOut, here: ofTheLog},
	{name: "log_type", outcome: Changed, here: "log.level", take: (*confReader).logType},
	{name: "max_connections", outcome: Taken, scope: listener, here: "server.listeners: max-connections"},
	{name: "max_inflight_bytes", outcome: LeftOut, unless: "0", here: "messages under way are counted, not their bytes: mqtt.max-inflight"},
	{name: "max_inflight_messages", outcome: Taken, here: "mqtt.max-inflight; 0 is 65535", take: number("mqtt.max-inflight", 65535, 65535)},
	{name: "max_keepalive", outcome: Taken, here: "mqtt.keep-alive", take: number("mqtt.keep-alive", 0, 65535)},
	{name: "max_packet_size", outcome: Taken, here: "mqtt.max-packet-size", take: number("mqtt.max-packet-size", packetBytesMax, packetBytesMax)},
	{name: "max_qos", outcome: Taken, scope: listener, here: "mqtt.max-qos; the highest, if listeners differ"},
	{name: "max_queued_bytes", outcome: Taken, here: "mqtt.max-queued-bytes, mqtt.queue-policy: drop-newest; 0 is no limit", take: queue("mqtt.max-queued-bytes", 1<<50)},
	{name: "max_queued_messages", outcome: Taken, here: "mqtt.max-queued-messages, mqtt.queue-policy: drop-newest; 0 is no limit", take: queue("mqtt.max-queued-messages", 1_000_000_000)},
	{name: "max_topic_alias", outcome: Taken, scope: listener, here: "mqtt.topic-alias-maximum; the highest, if listeners differ"},
	{name: "max_topic_alias_broker", outcome: LeftOut, scope: listener, here: "mqtt.topic-alias-maximum holds in both directions"},
	{name: "memory_limit", outcome: Taken, here: "limits.memory; 0 is off", take: number("limits.memory", 0, 1<<50)},
	{name: "message_size_limit", outcome: Changed, here: "mqtt.max-packet-size, with room for the longest topic: there the payload alone is counted", take: (*confReader).messageSize},
	{name: "mount_point", outcome: Refused, scope: listener, here: "a listener cannot be given a part of the topics: give its clients user names and rules"},
	{name: "notification_topic", outcome: LeftOut, scope: bridge, here: noBridges},
	{name: "notifications", outcome: LeftOut, scope: bridge, here: noBridges},
	{name: "notifications_local_only", outcome: LeftOut, scope: bridge, here: noBridges},
	{name: "packet_buffer_size", outcome: LeftOut, here: "server.read-buffer and server.write-buffer have their defaults"},
	{name: "packet_max_size", outcome: Taken, here: "mqtt.max-packet-size", take: number("mqtt.max-packet-size", packetBytesMax, packetBytesMax)},
	{name: "password", outcome: LeftOut, scope: bridge, here: noBridges},
	{name: "password_file", outcome: Taken, scope: security, here: "users of the store (promptmq user)"},
	{name: "per_listener_settings", outcome: Taken, here: "users and rules are those of the whole broker: taken if they are the same for all listeners, refused if not"},
	{name: "persistence", outcome: Taken, unless: "true", here: "what is stored is moved; false is left out: sessions and retained messages are always kept"},
	{name: "persistence_file", outcome: Taken, here: "the file with the state"},
	{name: "persistence_location", outcome: Taken, here: "where the file with the state is"},
	{name: "persistent_client_expiration", outcome: Taken, here: "mqtt.max-session-expiry", take: (*confReader).expiration},
	{name: "pid_file", outcome: LeftOut, here: ofTheUnit},
	{name: "plugin", outcome: Taken, scope: plugins, here: "dynamic security becomes users, groups and rules of the store; persist-sqlite is where the state is; others are refused"},
	{name: "plugin_load", outcome: Taken, scope: plugins, here: "as plugin"},
	{name: "plugin_opt_*", outcome: Taken, scope: plugins, here: "config_file, db_file, password_file and acl_file of the plugins above"},
	{name: "plugin_use", outcome: Taken, scope: plugins, here: "as plugin"},
	{name: "port", outcome: Taken, scope: listener, here: "server.listeners: address"},
	{name: "protocol", outcome: Taken, scope: listener, here: "server.listeners: kind; http_api is left out"},
	{name: "proxy_protocol_v2", outcome: Refused, scope: listener, unless: "false", here: "whose word is taken for where a client is has to be said: set proxy-protocol and trusted-proxies of the listener by hand after the import of the rest"},
	{name: "proxy_protocol_v2_require_tls", outcome: Refused, scope: listener, unless: "false", here: "whether the client used TLS to the proxy is not asked"},
	{name: "psk_file", outcome: Refused, scope: security, here: noPSK},
	{name: "psk_hint", outcome: Refused, scope: listener, here: noPSK},
	{name: "queue_qos0_messages", outcome: LeftOut, unless: "false", here: "messages of QoS 0 are not queued for who is away"},
	{name: "remote_*", outcome: LeftOut, scope: bridge, here: noBridges},
	{name: "require_certificate", outcome: Taken, scope: listener, here: "server.listeners: client-cert"},
	{name: "restart_timeout", outcome: LeftOut, scope: bridge, here: noBridges},
	{name: "retain_available", outcome: Taken, here: "mqtt.retain-available", take: boolean("mqtt.retain-available")},
	{name: "retain_expiry_interval", outcome: LeftOut, unless: "0", here: "a retained message stays until its Message Expiry Interval, if it has one; promptmq retained delete removes it"},
	{name: "retained_persistence", outcome: LeftOut, unless: "true", here: "retained messages are always kept"},
	{name: "retry_interval", outcome: LeftOut, here: "messages are sent again when a client comes back, as MQTT says"},
	{name: "round_robin", outcome: LeftOut, scope: bridge, here: noBridges},
	{name: "set_tcp_nodelay", outcome: LeftOut, unless: "true", here: "it is always so"},
	{name: "socket_domain", outcome: Taken, scope: listener, here: "server.listeners: address; ipv6 without an address is refused"},
	{name: "start_type", outcome: LeftOut, scope: bridge, here: noBridges},
	{name: "store_clean_interval", outcome: LeftOut, here: "what is not needed is removed at once"},
	{name: "sys_interval", outcome: Taken, here: "mqtt.sys-interval; 0 is none", take: (*confReader).sysInterval},
	{name: "threshold", outcome: LeftOut, scope: bridge, here: noBridges},
	{name: "tls_engine", outcome: Refused, scope: listener, here: "keys are in PEM files"},
	{name: "tls_engine_kpass_sha1", outcome: Refused, scope: listener, here: "keys are in PEM files"},
	{name: "tls_keyform", outcome: Refused, scope: listener, unless: "pem", here: "keys are in PEM files"},
	{name: "tls_keylog", outcome: LeftOut, scope: listener, here: "the secrets of connections are not written down"},
	{name: "tls_version", outcome: Taken, scope: listener, here: "server.listeners: min-tls-version; below tlsv1.2 it is 1.2"},
	{name: "topic", outcome: LeftOut, scope: bridge, here: noBridges},
	{name: "trace_level", outcome: LeftOut, here: "promptmq trace shows what a client does"},
	{name: "try_private", outcome: LeftOut, scope: bridge, here: noBridges},
	{name: "upgrade_outgoing_qos", outcome: LeftOut, unless: "false", here: "a message is delivered with the QoS that it was published with, or that of the subscription if that is lower"},
	{name: "use_identity_as_username", outcome: Taken, scope: listener, here: "server.listeners: user-from: cn"},
	{name: "use_subject_as_username", outcome: Refused, scope: listener, unless: "false", here: "the whole subject is no user name: use_identity_as_username takes its common name, and rules would name that"},
	{name: "use_username_as_clientid", outcome: Refused, scope: listener, unless: "false", here: "the client identifier is what the client says: write %u where rules have %c, and remove this line"},
	{name: "user", outcome: LeftOut, here: ofTheUnit},
	{name: "username", outcome: LeftOut, scope: bridge, here: noBridges},
	{name: "websockets_headers_size", outcome: LeftOut, here: "the headers of a request have up to 8 KiB"},
	{name: "websockets_log_level", outcome: LeftOut, here: "log.level says what is logged"},
	{name: "websockets_origin", outcome: Taken, scope: listener, here: "server.listeners: origins"},
}

// packetBytesMax is the largest packet that MQTT has.
const packetBytesMax = 268_435_455
