package mosquitto

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Place is where something stands.
type Place struct {
	File string
	Line int // counted from 1; 0: the file as a whole
}

// A Value is one of a key of ours.
type Value struct {
	Place
	Path string // of the key; in an entry of server.listeners its name alone
	Text string
}

// A NamedFile is one that a configuration names.
type NamedFile struct {
	Place
	Path string // absolute; "": none is named
}

// A Conf is what a mosquitto.conf says, in our words.
type Conf struct {
	Report *Report
	// Settings and Listeners are the keys of a configuration of ours, and the entries of
	// server.listeners.
	Settings  []Value
	Listeners [][]Value
	// Passwords, ACL and DynamicSecurity say who may do what. Database is where the state is
	// in a mosquitto.db, SQLite in the store of 2.1.
	Passwords, ACL, DynamicSecurity, Database, SQLite NamedFile
	// byCertificate: there are listeners where the user name is that of a certificate.
	byCertificate bool
	anonymous     bool // there are listeners that admit Clients without credentials
}

// ReadConf reads a mosquitto.conf, and the files that it includes. Its error is about files
// that cannot be read; what is wrong in them is Refused in the Report.
func ReadConf(file string) (*Conf, error) {
	main, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	r := &confReader{
		conf: &Conf{Report: new(Report)}, main: main, localOnly: true,
		lines: make(map[string]confLine), security: make(map[string]confLine), fallback: newConfListener(confLine{}),
	}
	if err := r.file(main, 0); err != nil {
		return nil, err
	}
	r.finish()
	slices.SortStableFunc(r.conf.Report.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(slices.Index(r.files, a.Source), slices.Index(r.files, b.Source)), cmp.Compare(a.Line, b.Line))
	})
	return r.conf, nil
}

// A confReader gathers the lines, and then says what they mean.
type confReader struct {
	conf  *Conf
	main  string   // the file that is read
	files []string // with those that it includes
	level int

	perListener bool
	localOnly   bool                // neither listener nor port was said
	lines       map[string]confLine // the last of each general option
	security    map[string]confLine
	plugins     []*plugin
	plugin      *plugin // of the last line
	listeners   []*confListener
	current     *confListener // nil: fallback
	fallback    *confListener // the default listener
}

func (r *confReader) file(name string, level int) error {
	lines, err := readConfLines(name)
	if err != nil {
		return err
	}
	r.files = append(r.files, name)
	before, depth := r.current, r.level
	r.current, r.level = nil, level // an included file begins with the default listener
	for _, l := range lines {
		if err := r.line(l); err != nil {
			return err
		}
	}
	r.current, r.level = before, depth
	return nil
}

// add appends a Finding about a line.
func (r *confReader) add(l confLine, outcome Outcome, why string, args ...any) {
	r.conf.Report.Add(l.file, l.number, l.text(), outcome, why, args...)
}

// optionOf returns the one with that name, or nil.
func optionOf(name string) *option {
	for i := range options {
		if stem, open := strings.CutSuffix(options[i].name, "*"); options[i].name == name || open && strings.HasPrefix(name, stem) {
			return &options[i]
		}
	}
	return nil
}

func (r *confReader) line(l confLine) error {
	o := optionOf(l.option)
	switch {
	case o == nil:
		r.add(l, Refused, "Mosquitto has no such option%s: remove the line if it has no meaning", nearestOption(l.option))
	case l.value == "":
		r.add(l, Refused, "there is no value behind it, so Mosquitto would not start")
	case o.name == "include_dir":
		return r.include(l)
	case o.name == "listener":
		r.begin(l)
	case o.name == "per_listener_settings":
		r.perListenerSettings(l)
	case o.scope == plugins:
		r.pluginLine(l)
	case o.take == nil && (o.outcome == LeftOut || o.outcome == Refused):
		r.without(o, l)
		r.listener().opened(l.option)
	case o.scope == security:
		r.put(r.securityLines(), l)
	case o.name == "port" || o.name == "bind_address": // wherever they stand
		r.fallback.opened(l.option)
		r.put(r.fallback.lines, l)
	case o.scope == listener:
		r.listener().opened(l.option)
		r.put(r.listener().lines, l)
	default:
		r.put(r.lines, l)
	}
	return nil
}

// without says of a line why it is not taken.
func (r *confReader) without(o *option, l confLine) {
	if o.unless != "" && sameValue(o.unless, l.value) {
		r.add(l, Taken, "it is so here anyway")
		return
	}
	r.add(l, o.outcome, "%s", o.here)
}

func sameValue(a, b string) bool {
	words := map[string]string{"1": "true", "0": "false"}
	return cmp.Or(words[a], a) == cmp.Or(words[b], b)
}

// put keeps a line, of which there may be one.
func (r *confReader) put(lines map[string]confLine, l confLine) {
	if before, there := lines[l.option]; there && l.option != "log_type" {
		if slices.Contains([]string{"acl_file", "password_file", "cafile", "certfile", "keyfile", "crlfile", "persistence_location", "persistence_file"}, l.option) {
			r.add(l, Refused, "line %d says it already, so Mosquitto would not start", before.number)
			return
		}
		r.add(before, LeftOut, "line %d of %s says it anew", l.number, filepath.Base(l.file))
	} else if there {
		r.add(before, Changed, "log.level, with line %d", l.number)
		l.value = before.value + " " + l.value
	}
	lines[l.option] = l
}

// listener is the one that a line is about.
func (r *confReader) listener() *confListener {
	if r.current == nil {
		return r.fallback
	}
	return r.current
}

// securityLines are those of the listener, or of all.
func (r *confReader) securityLines() map[string]confLine {
	if r.perListener {
		return r.listener().security
	}
	return r.security
}

// include reads the files of a directory, in the order of their names.
func (r *confReader) include(l confLine) error {
	if r.level > 0 {
		r.add(l, LeftOut, "it counts in the first file only")
		return nil
	}
	dir := r.path(l.value)
	names, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("%s: include_dir: %w", l.place(), err)
	}
	n := 0
	for _, entry := range names {
		if !strings.HasSuffix(entry.Name(), ".conf") || entry.IsDir() {
			continue
		}
		n++
		if err := r.file(filepath.Join(dir, entry.Name()), r.level+1); err != nil {
			return err
		}
	}
	r.add(l, Taken, "files read: %d", n)
	return nil
}

// path is the whole path of a file that a line names: below the working directory, as for
// Mosquitto, or beside the file.
func (r *confReader) path(name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	beside := filepath.Join(filepath.Dir(r.main), name)
	here, err := filepath.Abs(name)
	if err != nil {
		return beside
	}
	if _, err := os.Lstat(here); errors.Is(err, os.ErrNotExist) {
		return beside
	}
	return here
}

func (r *confReader) perListenerSettings(l confLine) {
	if v, ok := r.boolean(l); ok {
		r.perListener = v
		r.add(l, Taken, "%s", optionOf(l.option).here)
	}
}

// finish says what the lines mean, now that all are known.
func (r *confReader) finish() {
	for _, name := range slices.Sorted(maps.Keys(r.lines)) {
		if take := optionOf(name).take; take != nil {
			take(r, r.lines[name])
		}
	}
	r.persistence()
	r.finishListeners()
	_, sized := r.lines["max_packet_size"]
	_, limited := r.lines["message_size_limit"]
	if !sized && !limited && r.lines["packet_max_size"].option == "" {
		r.conf.Report.Add(r.main, 0, "max_packet_size", Changed, "nothing is said: Mosquitto takes packets of 256 MiB, and PromptMQ of 1 MiB (mqtt.max-packet-size)")
	}
	r.conf.Settings = append(r.conf.Settings,
		Value{Place{r.main, 0}, "server.bind", ""}, Value{Place{r.main, 0}, "server.ws-bind", ""},
		Value{Place{r.main, 0}, "metrics.bind", "127.0.0.1:9090"})
}

// persistence finds where the state is.
func (r *confReader) persistence() {
	for _, name := range []string{"persistence", "persistence_location", "persistence_file"} {
		l, said := r.lines[name]
		if !said {
			continue
		}
		if on, ok := r.boolean(r.lines["persistence"]); name == "persistence" && ok {
			if !on {
				r.add(l, LeftOut, "sessions and retained messages are always kept")
				continue
			}
			r.conf.Database.Place = l.placed()
		}
		here, _, _ := strings.Cut(optionOf(name).here, ";")
		r.add(l, Taken, "%s", here)
	}
	if r.conf.Database.File != "" {
		name := cmp.Or(r.lines["persistence_file"].value, "mosquitto.db")
		r.conf.Database.Path = r.path(filepath.Join(r.lines["persistence_location"].value, name))
	}
}
