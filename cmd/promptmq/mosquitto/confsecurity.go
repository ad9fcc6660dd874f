package mosquitto

import (
	"cmp"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// A plugin is one that a configuration loads.
type plugin struct {
	at      confLine
	file    string // without directory and suffix
	options map[string]confLine
}

func (r *confReader) pluginLine(l confLine) {
	name := l.option
	for _, start := range []string{"plugin_opt_", "auth_opt_"} {
		if option, found := strings.CutPrefix(name, start); found && r.plugin == nil {
			r.add(l, Refused, "there is no plugin before it, so Mosquitto would not start")
			return
		} else if found {
			r.plugin.options[option] = l
			return
		}
	}
	switch name {
	case "plugin_use":
		r.add(l, Taken, "plugins are those of the whole broker")
		return
	case "auth_plugin_deny_special_chars":
		r.without(optionOf(name), l)
		return
	}
	file := l.value
	if name == "plugin_load" {
		_, file, _ = strings.Cut(l.value, " ")
	}
	file = strings.TrimSuffix(strings.TrimSuffix(filepath.Base(strings.TrimSpace(file)), ".so"), ".dll")
	r.plugin = &plugin{at: l, file: file, options: make(map[string]confLine)}
	if r.perListener && name != "global_plugin" && name != "plugin_load" {
		r.listener().plugins = append(r.listener().plugins, r.plugin)
	} else {
		r.plugins = append(r.plugins, r.plugin)
	}
}

// anonymousOf says whether a listener admits clients without credentials.
func (r *confReader) anonymousOf(l *confListener) Value {
	at, said := r.security["allow_anonymous"]
	if r.perListener {
		at, said = l.security["allow_anonymous"]
	}
	if own, there := l.lines["listener_allow_anonymous"]; there {
		at, said = own, true
	}
	v := Value{at.placed(), "anonymous", "no"}
	if !said {
		v.Place = l.at.placed()
		if r.localOnly {
			v.Text = "yes"
		}
	} else if yes, ok := r.boolean(at); ok {
		if yes {
			v.Text = "yes"
		}
		if r.perListener || at.option == "listener_allow_anonymous" {
			r.add(at, Taken, "server.listeners: anonymous: %s", v.Text)
		}
	}
	r.conf.anonymous = r.conf.anonymous || v.Text == "yes"
	return v
}

// finishSecurity finds what says who may do what, which is one thing for all listeners here.
func (r *confReader) finishSecurity(all []*confListener) {
	if at, said := r.security["allow_anonymous"]; said {
		r.add(at, Taken, "server.listeners: anonymous: %s, of each", map[bool]string{true: "yes", false: "no"}[sameValue(at.value, "true")])
	}
	passwords, rules := r.oneFor(all, "password_file"), r.oneFor(all, "acl_file")
	if passwords.option != "" {
		r.conf.Passwords = NamedFile{passwords.placed(), r.path(passwords.value)}
	}
	if rules.option != "" {
		r.conf.ACL = NamedFile{rules.placed(), r.path(rules.value)}
	}
	for _, p := range r.plugins {
		r.finishPlugin(p)
	}
	for i, l := range all {
		for _, p := range l.plugins {
			if i == 0 || !slices.ContainsFunc(all[0].plugins, p.same) {
				r.finishPlugin(p)
			} else {
				r.add(p.at, Taken, "as of the listener before")
			}
			for _, other := range all {
				if !slices.ContainsFunc(other.plugins, p.same) {
					r.add(p.at, Refused, "it holds for some listeners only, and here it would for all: run two brokers, or give all listeners the same")
					break
				}
			}
		}
	}
	conf := r.conf
	if conf.DynamicSecurity.Path != "" && (conf.Passwords.Path != "" || conf.ACL.Path != "") {
		conf.Report.Add(conf.DynamicSecurity.File, conf.DynamicSecurity.Line, "plugin", Refused, "beside password_file or acl_file: which of them decides about whom cannot be kept. Remove those")
	}
	if conf.ACL.Path != "" && conf.Passwords.Path == "" && !conf.byCertificate {
		conf.Report.Add(conf.ACL.File, conf.ACL.Line, "acl_file", Changed,
			"there is no password_file, so anybody can have any user name there; here a name without a password counts for nobody, and rules of users hold when there are users (promptmq user add)")
	}
}

func (p *plugin) same(other *plugin) bool {
	return p.file == other.file && p.options["config_file"].value == other.options["config_file"].value && p.options["db_file"].value == other.options["db_file"].value
}

// oneFor returns the line that names a file for all listeners, if one does.
func (r *confReader) oneFor(all []*confListener, option string) confLine {
	var lines []confLine
	without := false // a listener has none, and admits somebody
	for _, l := range all {
		if !r.perListener {
			break
		}
		at, said := l.security[option]
		if said {
			lines = append(lines, at)
			continue
		}
		anonymous := sameValue(cmp.Or(l.lines["listener_allow_anonymous"], l.security["allow_anonymous"]).value, "true")
		// Without a password file nobody is let in but who needs no password.
		without = without || option != "password_file" || !anonymous
	}
	if at, said := r.security[option]; said && !r.perListener {
		return at
	} else if said { // in front of per_listener_settings
		r.add(at, LeftOut, "it is in front of per_listener_settings, so it is of no listener")
	}
	if len(lines) == 0 {
		return confLine{}
	}
	for _, l := range lines {
		switch {
		case l.value != lines[0].value:
			r.add(l, Refused, "users and rules are those of the whole broker, and line %d names another file: run two brokers, or give all listeners the same file", lines[0].number)
		case without:
			r.add(l, Refused, "users and rules are those of the whole broker, and not all listeners have this file: run two brokers, or give it to all of them")
		case len(lines) < len(all):
			r.add(l, Changed, "users are those of the whole broker: a wrong password is refused where it meant nothing")
		default:
			continue // it is told with what is in it
		}
	}
	return lines[0]
}

// finishPlugin takes the plugins that are known.
func (r *confReader) finishPlugin(p *plugin) {
	used := ""
	switch name := strings.ReplaceAll(p.file, "-", "_"); {
	case strings.HasSuffix(name, "dynamic_security"):
		used = "config_file"
		r.pluginFile(p, used, &r.conf.DynamicSecurity, "users, groups and rules of the store")
	case strings.HasSuffix(name, "persist_sqlite"):
		used = "db_file"
		if _, said := p.options[used]; !said {
			r.conf.SQLite = NamedFile{p.at.placed(), r.path(filepath.Join(r.lines["persistence_location"].value, "mosquitto.sqlite3"))}
			r.add(p.at, Taken, "where the state is")
			break
		}
		r.pluginFile(p, used, &r.conf.SQLite, "where the state is")
	case strings.HasSuffix(name, "mosquitto_password_file"):
		used = "password_file"
		r.pluginFile(p, used, &r.conf.Passwords, "users of the store")
	case strings.HasSuffix(name, "mosquitto_acl_file"):
		used = "acl_file"
		r.pluginFile(p, used, &r.conf.ACL, "rules of the store")
	default:
		r.add(p.at, Refused, "what this plugin does is not known: if it has no say in who may do what, remove its lines; else see auth.http and auth.jwt")
	}
	for name, at := range p.options {
		if name != used {
			r.add(at, LeftOut, "it is of a plugin")
		}
	}
}

func (r *confReader) pluginFile(p *plugin, option string, to *NamedFile, becomes string) {
	at, said := p.options[option]
	switch {
	case !said:
		r.add(p.at, Refused, "there is no plugin_opt_%s behind it", option)
		return
	case to.Path != "" && to.Path != r.path(at.value):
		r.add(p.at, Refused, "there is another such file: %s", to.Path)
		return
	}
	*to = NamedFile{at.placed(), r.path(at.value)}
	r.add(p.at, Taken, "%s", becomes)
	r.add(at, Taken, "%s", becomes)
}

// reasonOf is an error without the path, which is told beside it.
func reasonOf(err error) error {
	var of *fs.PathError
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}
