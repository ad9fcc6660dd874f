package mosquitto

import (
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
)

// A confListener is what the lines of one say.
type confListener struct {
	at       confLine
	lines    map[string]confLine // the last of each option
	security map[string]confLine // with per_listener_settings
	plugins  []*plugin           // with per_listener_settings
	// open says of the default listener that some line makes Mosquitto open it.
	open bool
	kind string
	port string
}

func newConfListener(at confLine) *confListener {
	return &confListener{at: at, lines: make(map[string]confLine), security: make(map[string]confLine)}
}

// opening are the options of listeners that, in front of all of them, open one on port 1883.
var opening = []string{
	"bind_address", "cafile", "capath", "certfile", "ciphers", "ciphers_tls1.3", "crlfile", "keyfile", "max_connections", "max_qos", "mount_point", "port", "protocol",
	"psk_hint", "require_certificate", "socket_domain", "tls_version", "use_identity_as_username", "use_subject_as_username", "use_username_as_clientid",
}

func (l *confListener) opened(option string) { l.open = l.open || slices.Contains(opening, option) }

func (r *confReader) begin(l confLine) {
	r.localOnly = false
	r.current = newConfListener(l)
	r.listeners = append(r.listeners, r.current)
}

// finishListeners makes entries of server.listeners.
func (r *confReader) finishListeners() {
	if r.fallback.lines["port"].option != "" || r.fallback.lines["bind_address"].option != "" {
		r.localOnly = false
	}
	all := r.listeners
	if len(all) == 0 || r.fallback.open || r.perListener && (r.fallback.security["password_file"].option != "" || len(r.fallback.plugins) > 0) {
		all = append([]*confListener{r.fallback}, all...)
	} else {
		for _, lines := range []map[string]confLine{r.fallback.lines, r.fallback.security} {
			for _, name := range slices.Sorted(maps.Keys(lines)) {
				r.add(lines[name], LeftOut, "it is in front of all listeners, and about none of them")
			}
		}
	}
	for _, l := range all {
		if l.at.option == "" {
			l.at = confLine{file: r.main, option: "listener", value: "1883"}
		}
		r.finishListener(l)
	}
	r.highest(all, "max_qos", "mqtt.max-qos", 2)
	r.highest(all, "max_topic_alias", "mqtt.topic-alias-maximum", 10)
	r.finishSecurity(all)
}

// An entry is one of server.listeners that is made.
type entry struct {
	r      *confReader
	values []Value
}

func (e *entry) set(at confLine, key, text string) {
	e.values = append(e.values, Value{at.placed(), key, text})
}

// take is set with a Finding.
func (e *entry) take(at confLine, key, text string) {
	e.set(at, key, text)
	e.r.add(at, Taken, "server.listeners: %s: %s", key, text)
}

func (r *confReader) finishListener(l *confListener) {
	if l.lines["protocol"].value == "http_api" {
		r.add(l.lines["protocol"], LeftOut, "the API and the page of PromptMQ are on admin.bind, off unless it is set")
		r.add(l.at, LeftOut, "it is no listener for MQTT")
		return
	}
	e := &entry{r: r}
	address, unix := r.address(l)
	if address == "" {
		return
	}
	l.kind = r.kind(l, unix)
	e.set(l.at, "kind", l.kind)
	e.set(l.at, "address", address)
	e.set(l.at, "name", r.name(l))
	if unix {
		r.add(l.at, Changed, "server.listeners: kind: unix, for the user of the broker alone (mode: 0600)")
	} else {
		r.add(l.at, Taken, "server.listeners: kind: %s, address: %s", l.kind, address)
	}
	for _, name := range []string{"port", "bind_address", "socket_domain"} {
		if at, said := l.lines[name]; said {
			r.add(at, Taken, "%s", optionOf(name).here)
		}
	}
	r.tls(l, e)
	r.web(l, e)
	if at, said := l.lines["max_connections"]; said {
		if n, err := strconv.Atoi(at.value); err != nil {
			r.add(at, Refused, "it must be a number")
		} else {
			e.take(at, "max-connections", strconv.Itoa(max(n, 0)))
		}
	}
	e.values = append(e.values, r.anonymousOf(l))
	r.conf.Listeners = append(r.conf.Listeners, e.values)
}

// address is where a listener listens; unix: it is the path of a socket. "": it was refused.
func (r *confReader) address(l *confListener) (address string, unix bool) {
	port, host, _ := strings.Cut(l.at.value, " ")
	of := l.at
	host = strings.TrimSpace(host)
	if l == r.fallback {
		if at, said := l.lines["port"]; said {
			port, of = at.value, at
		}
		host = l.lines["bind_address"].value
		if r.localOnly {
			host = "127.0.0.1"
			r.conf.Report.Add(r.main, 0, "listener", Changed, "there is none: 127.0.0.1:1883, for clients on this machine (Mosquitto 2 is on [::1] too; before 2.0 it was on all addresses)")
		}
	}
	n, err := strconv.Atoi(port)
	switch domain := l.lines["socket_domain"]; {
	case err != nil || n < 0 || n > 65535:
		r.add(of, Refused, "there is no port of that number")
		return "", false
	case n == 0 && host == "":
		r.add(of, Refused, "port 0 is a Unix socket, and there is no path behind it")
		return "", false
	case n == 0:
		l.port = "unix"
		return r.path(host), true
	case domain.value == "ipv4" && host == "":
		host = "0.0.0.0"
	case domain.value == "ipv6" && host == "":
		r.add(domain, Refused, "without an address it would be IPv4 too: write the address of the machine behind the port")
	case domain.value != "" && domain.value != "ipv4" && domain.value != "ipv6":
		r.add(domain, Refused, "it must be ipv4 or ipv6")
	}
	l.port = strconv.Itoa(n)
	return net.JoinHostPort(host, l.port), false
}

func (r *confReader) kind(l *confListener, unix bool) string {
	at, said := l.lines["protocol"]
	web := at.value == "websockets"
	if said && !web && at.value != "mqtt" {
		r.add(at, Refused, "it must be mqtt or websockets")
	} else if said {
		r.add(at, Taken, "%s", optionOf(at.option).here)
	}
	_, encrypted := l.lines["certfile"]
	switch {
	case unix && (web || encrypted):
		r.add(l.at, Refused, "a Unix socket has no WebSocket and no TLS")
		return "unix"
	case unix:
		return "unix"
	case web && encrypted:
		return "wss"
	case web:
		return "ws"
	case encrypted:
		return "tls"
	}
	return "tcp"
}

// name is what the listener is called in log lines.
func (r *confReader) name(l *confListener) string {
	name := l.kind + "-" + l.port
	if l.kind == "unix" {
		name = l.kind
	}
	n := 1
	for _, entry := range r.conf.Listeners {
		for _, v := range entry {
			if v.Path == "name" && (v.Text == name || strings.HasPrefix(v.Text, name+".")) {
				n++
			}
		}
	}
	if n > 1 {
		name = fmt.Sprintf("%s.%d", name, n)
	}
	return name
}

// tls takes what has a meaning with TLS only.
func (r *confReader) tls(l *confListener, e *entry) {
	encrypted := l.kind == "tls" || l.kind == "wss"
	if !encrypted {
		for _, name := range []string{"cafile", "keyfile", "crlfile", "tls_version", "require_certificate", "use_identity_as_username"} {
			at, said := l.lines[name]
			switch {
			case !said:
			case name == "cafile" || name == "keyfile" || name == "tls_version" || sameValue(at.value, "false"):
				r.add(at, LeftOut, "it has no effect without certfile")
			default:
				r.add(at, Refused, "without certfile there is no TLS, and nobody could show a certificate")
			}
		}
		return
	}
	if l.lines["keyfile"].option == "" {
		r.add(l.lines["certfile"], Refused, "there is no keyfile beside it")
		return
	}
	r.keep(e, l.lines["certfile"], "cert-file")
	r.keep(e, l.lines["keyfile"], "key-file")
	if at, said := l.lines["tls_version"]; said {
		version, known := map[string]string{"tlsv1": "1.2", "tlsv1.0": "1.2", "tlsv1.1": "1.2", "tlsv1.2": "1.2", "tlsv1.3": "1.3"}[at.value]
		switch {
		case !known:
			r.add(at, Refused, "it must be tlsv1.3, tlsv1.2 or tlsv1.1")
		case strings.HasSuffix(at.value, version):
			e.take(at, "min-tls-version", version)
		default:
			e.set(at, "min-tls-version", version)
			r.add(at, Changed, "server.listeners: min-tls-version: 1.2; older ones are not spoken")
		}
	}
	r.clientCertificates(l, e)
}

// clientCertificates takes what is about those.
func (r *confReader) clientCertificates(l *confListener, e *entry) {
	at, said := l.lines["require_certificate"]
	required, ok := false, true
	if said {
		if required, ok = r.boolean(at); !ok {
			return
		}
	}
	ca, named := l.lines["cafile"]
	if identity, said := l.lines["use_identity_as_username"]; said {
		switch yes, ok := r.boolean(identity); {
		case !ok:
		case !yes:
			r.add(identity, Taken, "it is so here anyway")
		case !required:
			r.add(identity, Refused, "no client is asked for a certificate, so Mosquitto lets none in: set require_certificate")
		default:
			r.conf.byCertificate = true
			e.take(identity, "user-from", "cn")
		}
	}
	crl, revokes := l.lines["crlfile"]
	switch {
	case required && !named:
		r.add(at, Refused, "there is no cafile, so no certificate would be good")
	case required:
		e.take(at, "client-cert", "required")
		r.keep(e, ca, "client-ca-file")
		if revokes {
			r.keep(e, crl, "crl-file")
		}
		return
	case said:
		r.add(at, Taken, "it is so here anyway")
	}
	for _, l := range []confLine{ca, crl} {
		if l.option != "" {
			r.add(l, LeftOut, "clients are not asked for certificates: it has no effect without require_certificate")
		}
	}
}

// keep takes a file that stays where it is.
func (r *confReader) keep(e *entry, at confLine, key string) {
	path := r.path(at.value)
	e.set(at, key, path)
	if f, err := os.Open(path); err != nil {
		r.add(at, Changed, "server.listeners: %s: %s; it cannot be read here now (%v)", key, path, reasonOf(err))
	} else {
		_ = f.Close() // only opened
		r.add(at, Taken, "server.listeners: %s: %s; it stays there, and the user of the broker has to be able to read it", key, path)
	}
}

// web takes what has a meaning for WebSocket only.
func (r *confReader) web(l *confListener, e *entry) {
	at, said := l.lines["websockets_origin"]
	switch web := l.kind == "ws" || l.kind == "wss"; {
	case web && said:
		e.take(at, "origins", strings.Join(strings.Fields(at.value), ","))
	case said:
		r.add(at, LeftOut, "it has no effect without protocol websockets")
	case web:
		e.set(l.at, "origins", "same")
		r.add(l.at, Changed, "server.listeners: origins: same; pages of other hosts, which Mosquitto lets in, have to be named there")
	}
}

// highest takes an option of listeners that is one for all here.
func (r *confReader) highest(all []*confListener, option, path string, unsaid int64) {
	most, said := int64(-1), confLine{}
	values := make(map[int64]bool)
	for _, l := range all {
		n, at := unsaid, l.lines[option]
		if at.option != "" {
			value, ok := r.integer(at)
			if !ok {
				return
			}
			n, said = value, at
		}
		values[n] = true
		most = max(most, n)
	}
	if said.option == "" {
		return
	}
	r.conf.Settings = append(r.conf.Settings, Value{said.placed(), path, strconv.FormatInt(most, 10)})
	for _, l := range all {
		if at := l.lines[option]; at.option != "" && len(values) > 1 {
			r.add(at, Changed, "%s: %d, the highest of all listeners, for all of them", path, most)
		} else if at.option != "" {
			r.add(at, Taken, "%s: %d", path, most)
		}
	}
}
