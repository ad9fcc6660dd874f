package config

import (
	"crypto/tls"
	"slices"
	"strings"
	"time"

	"github.com/x0a1b/promptmq/broker/link"
)

// listenerKey is one key of an entry of server.listeners.
type listenerKey struct {
	name  string
	help  string
	kind  kind
	of    []string // the kinds of listeners that have it
	field func(*link.ListenerConfig) any
}

var (
	listenerKinds = []string{link.KindTCP, link.KindTLS, link.KindWS, link.KindWSS, link.KindUnix}
	tlsKinds      = []string{link.KindTLS, link.KindWSS}
	webKinds      = []string{link.KindWS, link.KindWSS}
	networkKinds  = []string{link.KindTCP, link.KindTLS, link.KindWS, link.KindWSS}
)

// listenerKeys are in the order in which they are printed. kind is the first: it says
// which of the others an entry may have.
var listenerKeys = []listenerKey{
	{"kind", "MQTT over TCP, TLS, WebSocket, WebSocket with TLS, or a Unix socket. Required.",
		oneOf(listenerKinds...), listenerKinds, func(l *link.ListenerConfig) any { return &l.Kind }},
	{"address", "Where it listens: host:port, or the path of the socket. Required.",
		listenerAddress{}, listenerKinds, func(l *link.ListenerConfig) any { return &l.Address }},
	{"name", "What log lines and metrics call it. Without one it is called as its kind.",
		listenerName{}, listenerKinds, func(l *link.ListenerConfig) any { return &l.Name }},
	{"max-connections", "Most network connections that it has at a time, within mqtt.max-connections. 0: as many as that allows.",
		unit("connections", orOff{integer{1, 10_000_000}}), listenerKinds, func(l *link.ListenerConfig) any { return &l.MaxConnections }},
	{"anonymous", "Who may connect without credentials. no: nobody. yes: everybody. default: everybody if auth.allow-anonymous is true, else who comes from this machine and through no proxy.",
		choice[link.Anonymous]{[]string{"default", "no", "yes"}, []link.Anonymous{link.AnonymousDefault, link.AnonymousNever, link.AnonymousAlways}},
		listenerKinds, func(l *link.ListenerConfig) any { return &l.Anonymous }},

	{"cert-file", "PEM file with the certificate, and the intermediate ones behind it. Required.",
		filePath{}, tlsKinds, func(l *link.ListenerConfig) any { return &l.TLS.CertFile }},
	{"key-file", "PEM file with its private key. Required.",
		filePath{}, tlsKinds, func(l *link.ListenerConfig) any { return &l.TLS.KeyFile }},
	{"client-cert", "Whether clients show a certificate. optional: one that is shown must be good. required: who has none is refused.",
		choice[link.ClientCert]{[]string{"none", "optional", "required"}, []link.ClientCert{link.ClientCertNone, link.ClientCertOptional, link.ClientCertRequired}},
		tlsKinds, func(l *link.ListenerConfig) any { return &l.TLS.ClientCert }},
	{"client-ca-file", "PEM file with the authorities that sign the certificates of clients. Needed with client-cert, and only then.",
		filePath{}, tlsKinds, func(l *link.ListenerConfig) any { return &l.TLS.ClientCAFile }},
	{"crl-file", "PEM file with the revocation lists of those authorities. Empty: nothing is revoked.",
		filePath{}, tlsKinds, func(l *link.ListenerConfig) any { return &l.TLS.CRLFile }},
	{"user-from", "Which part of a client's certificate is its user name: the common name (cn) or the serial number of the subject, or the first subject alternative name of a kind. none: the certificate only opens the connection.",
		choice[link.CertificateName]{
			[]string{"none", "cn", "serial-number", "san-dns", "san-email", "san-uri"},
			[]link.CertificateName{link.NameNone, link.NameCN, link.NameSerial, link.NameDNS, link.NameEmail, link.NameURI}},
		tlsKinds, func(l *link.ListenerConfig) any { return &l.TLS.UserFrom }},
	{"min-tls-version", "Oldest version of TLS that clients may use.",
		choice[uint16]{[]string{"1.2", "1.3"}, []uint16{tls.VersionTLS12, tls.VersionTLS13}},
		tlsKinds, func(l *link.ListenerConfig) any { return &l.TLS.MinVersion }},
	{"handshake-timeout", "How long the handshake of TLS may take.",
		duration{10 * time.Millisecond, time.Hour}, tlsKinds, func(l *link.ListenerConfig) any { return &l.TLS.HandshakeTimeout }},

	{"origins", "Which web pages may connect, as in server.ws-origins.",
		webOrigins{}, webKinds, func(l *link.ListenerConfig) any { return &l.Origins }},
	{"path", "The one path of HTTP at which it answers. Empty: at each.",
		webPath{}, webKinds, func(l *link.ListenerConfig) any { return &l.Path }},
	{"subprotocols", "Which sub-protocols of WebSocket are accepted, the best first.",
		wordList{"mqtt", "mqttv3.1"}, webKinds, func(l *link.ListenerConfig) any { return &l.Subprotocols }},
	{"ping-interval", "After which silence the broker sends a ping of WebSocket: proxies cut connections that are quiet, most of them after 60 s. 0s: never.",
		offOr{duration{time.Second, time.Hour}}, webKinds, func(l *link.ListenerConfig) any { return &l.PingInterval }},

	{"proxy-protocol", "Every connection begins with a header of the PROXY protocol, version 1 or 2, that says where the client is.",
		boolean{}, networkKinds, func(l *link.ListenerConfig) any { return &l.ProxyProtocol }},
	{"forwarded-for", "The header X-Forwarded-For of a request says where the client is.",
		boolean{}, webKinds, func(l *link.ListenerConfig) any { return &l.ForwardedFor }},
	{"trusted-proxies", "From where proxy-protocol or forwarded-for is believed. Needed with either, and only then.",
		prefixes{}, networkKinds, func(l *link.ListenerConfig) any { return &l.TrustedProxies }},

	{"mode", "Which users of this machine may connect: the mode of the socket.",
		octal{}, []string{link.KindUnix}, func(l *link.ListenerConfig) any { return &l.Mode }},
}

// defaultListener is an entry that says nothing, with TLS whatever its kind will be.
func defaultListener() *link.ListenerConfig {
	return &link.ListenerConfig{
		TLS: &link.TLSConfig{
			UserFrom: link.NameNone, MinVersion: tls.VersionTLS12, HandshakeTimeout: 10 * time.Second,
		},
		Origins: link.SameOrigin, Subprotocols: []string{"mqtt", "mqttv3.1"}, PingInterval: 50 * time.Second,
		Mode: 0o600,
	}
}

// fit leaves out what a listener of its kind does not have.
func fit(l *link.ListenerConfig) {
	if !slices.Contains(tlsKinds, l.Kind) {
		l.TLS = nil
	}
	if !slices.Contains(webKinds, l.Kind) {
		l.Origins, l.Subprotocols, l.PingInterval = "", nil, 0
	}
	if l.Kind != link.KindUnix {
		l.Mode = 0
	}
}

func listenerKeyOf(name string) *listenerKey {
	i := slices.IndexFunc(listenerKeys, func(k listenerKey) bool { return k.name == name })
	if i < 0 {
		return nil
	}
	return &listenerKeys[i]
}

// listenerKeyNames are those of a kind; "": of all.
func listenerKeyNames(kind string) []string {
	var names []string
	for _, k := range listenerKeys {
		if kind == "" || slices.Contains(k.of, kind) {
			names = append(names, k.name)
		}
	}
	return names
}

// listenerList is the kind of server.listeners. How an entry of it is read is in
// listeners.go.
type listenerList struct{}

func (listenerList) parse(field any, text string) error {
	list, errs := parseListeners(text, Origin{})
	if len(errs) > 0 {
		return errs
	}
	*field.(*[]link.ListenerConfig) = configsOf(list)
	return nil
}

// format writes the list on one line.
func (listenerList) format(field any) string {
	list := *field.(*[]link.ListenerConfig)
	entries := make([]string, len(list))
	for i := range list {
		var pairs []string
		eachListenerKey(&list[i], func(k *listenerKey, value string) { pairs = append(pairs, k.name+": "+value) })
		entries[i] = "{" + strings.Join(pairs, ", ") + "}"
	}
	return "[" + strings.Join(entries, ", ") + "]"
}

func (listenerList) scalar() scalar { return listScalar }
func (listenerList) allowed() string {
	return `a list of mappings, each with kind and address, such as [{kind: tls, address: ":8883", cert-file: "cert.pem", key-file: "key.pem"}]; [] is none`
}

// eachListenerKey calls do for every key that a listener has, with its value as in YAML.
func eachListenerKey(l *link.ListenerConfig, do func(k *listenerKey, value string)) {
	for i := range listenerKeys {
		k := &listenerKeys[i]
		if slices.Contains(k.of, l.Kind) {
			do(k, yamlValue(k.kind, k.kind.format(k.field(l))))
		}
	}
}
