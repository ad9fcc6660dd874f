package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/x0a1b/promptmq/broker/link"
)

const listenersPath = "server.listeners"

// listenerEntry is one entry of server.listeners, and where it stood.
type listenerEntry struct {
	config  link.ListenerConfig
	path    string // of the entry
	at      Origin
	origins map[string]Origin // of the keys that were given
	// references are the values that stand elsewhere as they were written, by key.
	references map[string]string
}

// origin is where a key of the entry stood, or else the entry.
func (e *listenerEntry) origin(name string) Origin {
	if o, given := e.origins[name]; given {
		return o
	}
	return e.at
}

func configsOf(entries []*listenerEntry) []link.ListenerConfig {
	var list []link.ListenerConfig
	for _, e := range entries {
		list = append(list, e.config)
	}
	return list
}

// setListeners reads the list from a flag or a variable.
func (c *Config) setListeners(text string, from Origin) Errors {
	entries, errs := parseListeners(text, from)
	if len(errs) == 0 {
		c.takeListeners(entries, from)
	}
	return errs
}

func (c *Config) takeListeners(entries []*listenerEntry, from Origin) {
	c.listeners, c.Broker.Listeners = entries, configsOf(entries)
	c.origins[listenersPath] = from
}

// parseListeners reads the list from the text of a flag or a variable, in YAML.
func parseListeners(text string, from Origin) ([]*listenerEntry, Errors) {
	if len(text) > fileBytesMax {
		return nil, Errors{{Origin: from, Key: listenersPath, Text: fmt.Sprintf("is longer than the %d bytes that are allowed", fileBytesMax)}}
	}
	tree, err := parser.ParseBytes([]byte(text), 0)
	if err != nil {
		fault := syntaxError(from.Name, err)
		fault.Key = listenersPath
		return nil, Errors{fault}
	}
	if len(tree.Docs) != 1 || tree.Docs[0].Body == nil {
		return nil, Errors{{Origin: from, Key: listenersPath, Text: "must be " + listenerList{}.allowed()}}
	}
	f := fileReader{name: from.Name}
	entries := f.listeners(tree.Docs[0].Body)
	return entries, f.errs
}

// listeners reads the list; what is wrong with it is in f.errs.
func (f *fileReader) listeners(n ast.Node) []*listenerEntry {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		f.fail(n, listenersPath, "is %s; it must be %s", writtenAs(n), listenerList{}.allowed())
		return nil
	}
	var entries []*listenerEntry
	for i, item := range list.Values {
		if e := f.listener(item, fmt.Sprintf("%s[%d]", listenersPath, i)); e != nil {
			entries = append(entries, e)
		}
	}
	return entries
}

// listener reads one entry; nil: it is none.
func (f *fileReader) listener(n ast.Node, path string) *listenerEntry {
	values, ok := entriesOf(n)
	if !ok || len(values) == 0 {
		f.fail(n, path, "must hold keys (%s), not a value", strings.Join(listenerKeyNames(""), ", "))
		return nil
	}
	e := &listenerEntry{config: *defaultListener(), path: path, at: f.at(values[0]), origins: make(map[string]Origin), references: make(map[string]string)}
	e.config.Key = path + ".address"
	faults := len(f.errs)
	for _, value := range values {
		f.listenerValue(e, value)
	}
	if len(f.errs) == faults { // what is not right in itself is not compared
		f.checkListener(e)
	}
	fit(&e.config)
	return e
}

// listenerValue reads one key of an entry.
func (f *fileReader) listenerValue(e *listenerEntry, value *ast.MappingValueNode) {
	name, ok := value.Key.(*ast.StringNode)
	if !ok {
		f.fail(value.Key, e.path, "%s is not a key; one of %s is expected", value.Key.GetToken().Value, strings.Join(listenerKeyNames(""), ", "))
		return
	}
	path := e.path + "." + name.Value
	k := listenerKeyOf(name.Value)
	if k == nil {
		f.fail(value.Key, path, "%s", unknownListenerKey(name.Value))
		return
	}
	text, expanded, ok := f.read(value.Value, k.kind, path)
	if !ok {
		return
	}
	from := f.at(value.Value)
	e.origins[k.name] = from
	if err := parseValue(k.kind, k.field(&e.config), text, expanded, from, path); err != nil {
		f.errs = append(f.errs, err)
	}
	if text != expanded {
		e.references[k.name] = text
	}
}

func unknownListenerKey(name string) string {
	names := listenerKeyNames("")
	if near := nearest(name, names); near != "" {
		return "unknown key; did you mean " + near + "?"
	}
	return "unknown key; here are allowed " + strings.Join(names, ", ")
}

// checkListener finds what is missing in an entry, and what does not go with the rest.
func (f *fileReader) checkListener(e *listenerEntry) {
	l := &e.config
	fail := func(name, text string, args ...any) {
		f.errs = append(f.errs, &Error{Origin: e.origin(name), Key: e.path + "." + name, Text: fmt.Sprintf(text, args...)})
	}
	for _, name := range []string{"kind", "address"} {
		if _, given := e.origins[name]; !given {
			fail(name, "is missing; it must be %s", listenerKeyOf(name).kind.allowed())
		}
	}
	if l.Kind == "" {
		return
	}
	for _, k := range listenerKeys {
		if _, given := e.origins[k.name]; given && !slices.Contains(k.of, l.Kind) {
			fail(k.name, "a listener of the kind %s has no such key; it has %s", l.Kind, strings.Join(listenerKeyNames(l.Kind), ", "))
		}
	}
	if l.Name == "" {
		l.Name = l.Kind
	}
	if _, given := e.origins["address"]; given {
		var kind kind = address{required: true}
		if l.Kind == link.KindUnix {
			kind = socketPath{}
		}
		written, isReference := e.references["address"]
		switch err := kind.parse(&l.Address, l.Address); {
		case err != nil && isReference:
			fail("address", "%s", notAllowed(written, kind))
		case err != nil:
			fail("address", "%v", err)
		}
	}
	if slices.Contains(tlsKinds, l.Kind) {
		checkTLS(l.TLS, fail)
	}
	proxied := l.ProxyProtocol || l.ForwardedFor
	switch {
	case l.ProxyProtocol && l.ForwardedFor:
		fail("forwarded-for", "goes not with proxy-protocol: one of them says where a client is")
	case proxied && len(l.TrustedProxies) == 0:
		fail("trusted-proxies", "is missing: without it nobody's word is taken for where a client is; it must be %s", prefixes{}.allowed())
	case !proxied && len(l.TrustedProxies) > 0:
		fail("trusted-proxies", "has no effect without proxy-protocol or forwarded-for; set one of them, or remove it")
	}
}

// CheckFiles reads the files that listeners name, and returns what is wrong with them.
func (c *Config) CheckFiles() Errors {
	var errs Errors
	for _, e := range c.listeners {
		err := e.config.CheckFiles()
		if err == nil {
			continue
		}
		fault := &Error{Origin: e.at, Key: e.path, Text: err.Error()}
		for _, name := range []string{"cert-file", "key-file", "client-ca-file", "crl-file"} {
			k := listenerKeyOf(name)
			if file := k.kind.format(k.field(&e.config)); file != "" && strings.Contains(fault.Text, file) {
				fault.Origin, fault.Key = e.origin(name), e.path+"."+name
				break
			}
		}
		errs = append(errs, fault)
	}
	return errs
}

func checkTLS(t *link.TLSConfig, fail func(name, text string, args ...any)) {
	if t.CertFile == "" {
		fail("cert-file", "is missing; it must be the path of a PEM file: `promptmq cert self-signed` makes one")
	}
	if t.KeyFile == "" {
		fail("key-file", "is missing; it must be the path of a PEM file: `promptmq cert self-signed` makes one")
	}
	asks := t.ClientCert != link.ClientCertNone
	if asks && t.ClientCAFile == "" {
		fail("client-ca-file", "is missing: it says which certificates of clients are good; it must be the path of a PEM file")
	}
	if !asks && t.ClientCAFile != "" {
		fail("client-ca-file", "has no effect while client-cert is none; set that to optional or required, or remove this")
	}
	if !asks && t.CRLFile != "" {
		fail("crl-file", "has no effect while client-cert is none; set that to optional or required, or remove this")
	}
	if !asks && t.UserFrom != link.NameNone {
		fail("user-from", "has no effect while client-cert is none; set that to optional or required, or remove this")
	}
}

// crossCheckListeners compares the entries with each other and with the other listeners.
func (c *Config) crossCheckListeners() Errors {
	var errs Errors
	fail := func(e *listenerEntry, name, text string, args ...any) {
		errs = append(errs, &Error{Origin: e.origin(name), Key: e.path + "." + name, Text: fmt.Sprintf(text, args...)})
	}
	others := []struct{ key, address string }{{"server.bind", c.Broker.Bind}, {"server.ws-bind", c.Broker.WSBind}}
	if c.Metrics.Enabled {
		others = append(others, struct{ key, address string }{"metrics.bind", c.Metrics.Bind})
	}
	others = append(others, struct{ key, address string }{"admin.bind", c.Admin.Bind})
	for i, e := range c.listeners {
		for _, other := range others {
			if e.config.Kind != link.KindUnix && sameSocket(e.config.Address, other.address) {
				fail(e, "address", "is the address of %s too", other.key)
			}
		}
		for _, before := range c.listeners[:i] {
			if before.config.Name == e.config.Name {
				fail(e, "name", "%q is the name of %s too; give each a name of its own", e.config.Name, before.path)
			}
			if sameListener(&before.config, &e.config) {
				fail(e, "address", "is the address of %s too", before.path)
			}
		}
	}
	return errs
}

func sameListener(a, b *link.ListenerConfig) bool {
	unixA, unixB := a.Kind == link.KindUnix, b.Kind == link.KindUnix
	if unixA || unixB {
		return unixA && unixB && filepath.Clean(a.Address) == filepath.Clean(b.Address)
	}
	return sameSocket(a.Address, b.Address)
}
