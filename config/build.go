package config

import "fmt"

// A Value is one of a key, as text, and where it came from.
type Value struct {
	Path string // of the key; of an entry of server.listeners its last part
	Text string
	From Origin
}

// Build makes a configuration of values, and of the entries of server.listeners, over the
// defaults. Its error is an Errors with every fault.
func Build(values []Value, listeners [][]Value) (*Config, error) {
	c := Default()
	var errs Errors
	for _, v := range values {
		k := keyOf(v.Path)
		if k == nil {
			errs = append(errs, &Error{Origin: v.From, Key: v.Path, Text: unknownKey(v.Path)})
			continue
		}
		errs = append(errs, c.set(k, v.Text, v.From)...)
	}
	var f fileReader
	var entries []*listenerEntry
	for i, entry := range listeners {
		entries = append(entries, f.built(entry, fmt.Sprintf("%s[%d]", listenersPath, i)))
	}
	if errs = append(errs, f.errs...); len(errs) > 0 {
		return nil, errs
	}
	if len(entries) > 0 {
		c.takeListeners(entries, entries[0].at)
	}
	if errs := c.crossCheck(); len(errs) > 0 {
		return nil, errs
	}
	return c, nil
}

// built makes an entry of server.listeners; what is wrong with it is in f.errs.
func (f *fileReader) built(values []Value, path string) *listenerEntry {
	e := &listenerEntry{config: *defaultListener(), path: path, origins: make(map[string]Origin), references: make(map[string]string)}
	e.config.Key = path + ".address"
	faults := len(f.errs)
	for _, v := range values {
		k := listenerKeyOf(v.Path)
		if k == nil {
			f.errs = append(f.errs, &Error{Origin: v.From, Key: path + "." + v.Path, Text: unknownListenerKey(v.Path)})
			continue
		}
		e.origins[k.name] = v.From
		if e.at == (Origin{}) {
			e.at = v.From
		}
		if err := parseValue(k.kind, k.field(&e.config), v.Text, v.Text, v.From, path+"."+v.Path); err != nil {
			f.errs = append(f.errs, err)
		}
	}
	if len(f.errs) == faults {
		f.checkListener(e)
	}
	fit(&e.config)
	return e
}
