package config

import (
	"crypto/tls"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/broker/link"
)

// oneOfEach has a listener of every kind, and every key.
const oneOfEach = `server:
  listeners:
    - kind: tcp
      address: 127.0.0.1:1884
      anonymous: no
      max-connections: 100
      proxy-protocol: true
      trusted-proxies: [127.0.0.1, 10.0.0.0/8, "fd00::/8"]
    - kind: tls
      name: devices
      address: ":8883"
      cert-file: cert.pem
      key-file: key.pem
      client-cert: required
      client-ca-file: ca.pem
      crl-file: crl.pem
      user-from: cn
      min-tls-version: 1.3
      handshake-timeout: 5s
    - kind: ws
      address: "127.0.0.1:8081"
      origins: [same, "*.example.com"]
      path: /mqtt
      subprotocols: [mqtt]
      ping-interval: 0s
      forwarded-for: true
      trusted-proxies: "127.0.0.1"
    - {kind: wss, address: ":8443", cert-file: c, key-file: k, anonymous: yes}
    - kind: unix
      address: /run/promptmq/mqtt.sock
      mode: 0660
`

func TestListenersRead(t *testing.T) {
	c, err := Load(Sources{File: write(t, oneOfEach)})
	if err != nil {
		t.Fatal(err)
	}
	proxies := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	both := []string{"mqtt", "mqttv3.1"}
	want := []link.ListenerConfig{
		{Name: "tcp", Kind: "tcp", Address: "127.0.0.1:1884", Key: "server.listeners[0].address", Anonymous: link.AnonymousNever,
			MaxConnections: 100, ProxyProtocol: true, TrustedProxies: proxies},
		{Name: "devices", Kind: "tls", Address: ":8883", Key: "server.listeners[1].address", TLS: &link.TLSConfig{
			CertFile: "cert.pem", KeyFile: "key.pem", ClientCAFile: "ca.pem", CRLFile: "crl.pem", ClientCert: link.ClientCertRequired,
			UserFrom: link.NameCN, MinVersion: tls.VersionTLS13, HandshakeTimeout: 5 * time.Second}},
		{Name: "ws", Kind: "ws", Address: "127.0.0.1:8081", Key: "server.listeners[2].address", ForwardedFor: true, TrustedProxies: proxies[:1],
			Path: "/mqtt", Origins: "same,*.example.com", Subprotocols: []string{"mqtt"}},
		{Name: "wss", Kind: "wss", Address: ":8443", Key: "server.listeners[3].address", Anonymous: link.AnonymousAlways, TLS: &link.TLSConfig{
			CertFile: "c", KeyFile: "k", UserFrom: link.NameNone, MinVersion: tls.VersionTLS12, HandshakeTimeout: 10 * time.Second},
			Origins: "same", Subprotocols: both, PingInterval: 50 * time.Second},
		{Name: "unix", Kind: "unix", Address: "/run/promptmq/mqtt.sock", Key: "server.listeners[4].address", Mode: 0o660},
	}
	if !reflect.DeepEqual(c.Broker.Listeners, want) {
		t.Errorf("got\n%+v\nwant\n%+v", c.Broker.Listeners, want)
	}
	// What is printed, and what is on one line, reads back to the same.
	var out strings.Builder
	if err := c.WriteYAML(&out); err != nil {
		t.Fatal(err)
	}
	line := c.text(keyOf(listenersPath))
	for name, s := range map[string]Sources{
		"printed": {File: write(t, out.String())}, "variable": {Environ: []string{"PROMPTMQ_SERVER_LISTENERS=" + line}},
	} {
		again, err := Load(s)
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out.String())
		}
		if !reflect.DeepEqual(again.Broker.Listeners, want) {
			t.Errorf("%s: got\n%+v", name, again.Broker.Listeners)
		}
	}
}

// A variable takes the place of the list of the file, and JSON is taken too.
func TestListenersFromVariable(t *testing.T) {
	c, err := Load(Sources{File: write(t, oneOfEach), Environ: []string{`PROMPTMQ_SERVER_LISTENERS=[{"kind":"tcp","address":":1","name":"a"}]`}})
	if err != nil || len(c.Broker.Listeners) != 1 || c.Broker.Listeners[0].Name != "a" {
		t.Errorf("%v, %+v", err, c)
	}
	_, err = Load(Sources{Environ: []string{`PROMPTMQ_SERVER_LISTENERS=[{"kind":"tls","adress":":1"}]`}})
	if want := "PROMPTMQ_SERVER_LISTENERS:1: server.listeners[0].adress: unknown key; did you mean address?"; err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	for _, text := range []string{"", "tcp", "{}", "[", "[1]", "[{}]", "[]]"} {
		if _, err := Load(Sources{Environ: []string{"PROMPTMQ_SERVER_LISTENERS=" + text}}); err == nil || !strings.HasPrefix(err.Error(), "PROMPTMQ_SERVER_LISTENERS") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestListenersRefused(t *testing.T) {
	tlsEntry := "{kind: tls, address: ':2', cert-file: c, key-file: k"
	for _, test := range []struct{ name, entries, want string }{
		{"no list", " tcp", "F:2: server.listeners: is a string; it must be " + listenerList{}.allowed()},
		{"nothing", "", `F:2: server.listeners: is without a value (an empty one is written ""); it must be ` + listenerList{}.allowed()},
		{"a word", "\n  - tcp", "F:3: server.listeners[0]: must hold keys (" + strings.Join(listenerKeyNames(""), ", ") + "), not a value"},
		{"an empty entry", "\n  -", "F:3: server.listeners[0]: must hold keys (" + strings.Join(listenerKeyNames(""), ", ") + "), not a value"},
		{"unknown key", "\n  - kind: tcp\n    adress: x", "F:4: server.listeners[0].adress: unknown key; did you mean address?"},
		{"unlike any", "\n  - {zzzzzzzzzzzz: 1}", "F:3: server.listeners[0].zzzzzzzzzzzz: unknown key; here are allowed " + strings.Join(listenerKeyNames(""), ", ")},
		{"kind", "\n  - {kind: tsl, address: ':2'}", `F:3: server.listeners[0].kind: "tsl" is not allowed; it must be one of tcp, tls, ws, wss, unix; did you mean tls?`},
		{"nothing but a kind", "\n  - kind: tcp", "F:3: server.listeners[0].address: is missing; it must be " + listenerAddress{}.allowed()},
		{"no kind", "\n  - address: ':2'", "F:3: server.listeners[0].kind: is missing; it must be one of tcp, tls, ws, wss, unix"},
		{"bad address", "\n  - kind: tcp\n    address: /run/x", `F:4: server.listeners[0].address: "/run/x" is not allowed; it must be ` + address{required: true}.allowed()},
		{"an abstract socket", "\n  - {kind: unix, address: '@x'}", `F:3: server.listeners[0].address: "@x" is not allowed; it must be ` + socketPath{}.allowed()},
		{"of another kind", "\n  - kind: tcp\n    address: :2\n    cert-file: c\n    mode: 0600",
			"F:5: server.listeners[0].cert-file: a listener of the kind tcp has no such key; it has kind, address, name, max-connections, anonymous, proxy-protocol, trusted-proxies\n" +
				"F:6: server.listeners[0].mode: a listener of the kind tcp has no such key; it has kind, address, name, max-connections, anonymous, proxy-protocol, trusted-proxies"},
		{"no certificate", "\n  - {kind: wss, address: ':2'}",
			"F:3: server.listeners[0].cert-file: is missing; it must be the path of a PEM file: `promptmq cert self-signed` makes one\n" +
				"F:3: server.listeners[0].key-file: is missing; it must be the path of a PEM file: `promptmq cert self-signed` makes one"},
		{"no authority", "\n  - " + tlsEntry + ", client-cert: optional}", "F:3: server.listeners[0].client-ca-file: is missing: it says which certificates of clients are good; it must be the path of a PEM file"},
		{"authority for nothing", "\n  - " + tlsEntry + ", client-ca-file: a}", "F:3: server.listeners[0].client-ca-file: has no effect while client-cert is none; set that to optional or required, or remove this"},
		{"CRL and name for nothing", "\n  - " + tlsEntry + ", crl-file: a, user-from: cn}",
			"F:3: server.listeners[0].crl-file: has no effect while client-cert is none; set that to optional or required, or remove this\n" +
				"F:3: server.listeners[0].user-from: has no effect while client-cert is none; set that to optional or required, or remove this"},
		{"version", "\n  - " + tlsEntry + ", min-tls-version: 1.1}", `F:3: server.listeners[0].min-tls-version: "1.1" is not allowed; it must be one of 1.2, 1.3`},
		{"proxy nobody trusts", "\n  - {kind: tcp, address: ':2', proxy-protocol: true}", "F:3: server.listeners[0].trusted-proxies: is missing: without it nobody's word is taken for where a client is; it must be " + prefixes{}.allowed()},
		{"trust for nothing", "\n  - {kind: tcp, address: ':2', trusted-proxies: [10.0.0.1]}", "F:3: server.listeners[0].trusted-proxies: has no effect without proxy-protocol or forwarded-for; set one of them, or remove it"},
		{"both headers", "\n  - {kind: ws, address: ':2', proxy-protocol: true, forwarded-for: true, trusted-proxies: [10.0.0.1]}", "F:3: server.listeners[0].forwarded-for: goes not with proxy-protocol: one of them says where a client is"},
		{"everybody a proxy", "\n  - {kind: tcp, address: ':2', proxy-protocol: true, trusted-proxies: [0.0.0.0/0]}",
			`F:3: server.listeners[0].trusted-proxies: "0.0.0.0/0" is not allowed; it must be ` + prefixes{}.allowed() + `; "0.0.0.0/0" is everybody, who could then claim any address`},
		{"host bits", "\n  - {kind: tcp, address: ':2', proxy-protocol: true, trusted-proxies: [10.1.0.0/8]}",
			`F:3: server.listeners[0].trusted-proxies: "10.1.0.0/8" is not allowed; it must be ` + prefixes{}.allowed() + `; "10.1.0.0/8" has bits behind its length: 10.0.0.0/8 is the network, 10.1.0.0 the address`},
		{"mode", "\n  - {kind: unix, address: s, mode: 660}", `F:3: server.listeners[0].mode: "660" is not allowed; it must be ` + octal{}.allowed()},
		{"ping", "\n  - {kind: ws, address: ':2', ping-interval: 1ms}", `F:3: server.listeners[0].ping-interval: "1ms" is not allowed; it must be ` + offOr{duration{time.Second, time.Hour}}.allowed()},
		{"sub-protocol", "\n  - {kind: ws, address: ':2', subprotocols: [mqtt, amqp]}", `F:3: server.listeners[0].subprotocols: "mqtt,amqp" is not allowed; it must be a list of some of mqtt, mqttv3.1`},
		{"a name that is taken", "\n  - {kind: tcp, address: ':2', name: mqtt}", `F:3: server.listeners[0].name: "mqtt" is not allowed; it must be ` + listenerName{}.allowed()},
		{"a bool for anonymous", "\n  - {kind: tcp, address: ':2', anonymous: false}", "F:3: server.listeners[0].anonymous: false is true or false; it must be one of default, no, yes"},
		{"names twice", "\n  - {kind: tcp, address: ':2'}\n  - {kind: tcp, address: ':3'}", `F:4: server.listeners[1].name: "tcp" is the name of server.listeners[0] too; give each a name of its own`},
		{"addresses twice", "\n  - {kind: tcp, address: ':2'}\n  - {kind: ws, address: '0.0.0.0:2'}", "F:4: server.listeners[1].address: is the address of server.listeners[0] too"},
		{"sockets twice", "\n  - {kind: unix, address: a/s}\n  - {kind: unix, address: a/./s, name: b}", "F:4: server.listeners[1].address: is the address of server.listeners[0] too"},
		{"addresses of others", "\n  - {kind: tcp, address: ':1883'}\n  - {kind: ws, address: ':8080'}\n  - {kind: ws, address: '127.0.0.1:9090', name: b}",
			"F:3: server.listeners[0].address: is the address of server.bind too\n" +
				"F:4: server.listeners[1].address: is the address of server.ws-bind too\n" +
				"F:5: server.listeners[2].address: is the address of metrics.bind too"},
		{"all faults", "\n  - {kind: tcp, address: x}\n  - {kind: tls, address: ':2', bogus: 1}\n  - {kind: unix}",
			`F:3: server.listeners[0].address: "x" is not allowed; it must be ` + address{required: true}.allowed() + "\n" +
				"F:4: server.listeners[1].bogus: unknown key; here are allowed " + strings.Join(listenerKeyNames(""), ", ") + "\n" +
				"F:5: server.listeners[2].address: is missing; it must be " + listenerAddress{}.allowed()},
	} {
		t.Run(test.name, func(t *testing.T) {
			name := write(t, "server:\n  listeners:"+test.entries+"\n")
			_, err := Load(Sources{File: name})
			if err == nil {
				t.Fatal("accepted")
			}
			if got := strings.ReplaceAll(err.Error(), name, "F"); got != test.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, test.want)
			}
		})
	}
}

func TestEachListenerKeyFillsItsOwnField(t *testing.T) {
	l := defaultListener()
	fields := make(map[any]string)
	for _, k := range listenerKeys {
		field := k.field(l)
		if other, taken := fields[field]; taken {
			t.Errorf("%s and %s fill one field", other, k.name)
		}
		fields[field] = k.name
	}
}
