package config

import (
	"path/filepath"
	"strings"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/broker/login"
	"github.com/x0a1b/promptmq/store"
)

// Config is everything an operator can set.
type Config struct {
	Log     Log
	Broker  broker.Options
	Store   store.Options
	Metrics Metrics
	Login   login.Options
	// Tokens and Callback say how Clients may log in, beside with a password that is known here.
	Tokens   login.TokenOptions
	Callback login.CallbackOptions
	Auth     Auth
	Admin    Admin
	// File is the absolute path of the YAML file that was read; empty: none.
	File string

	// origins says where each setting came from, by path.
	origins map[string]Origin
	// references are the values that stand elsewhere as they were written, by path.
	references map[string]string
	// waiting are the values that sources have by now and for which a restart is needed, by path.
	waiting   map[string]shownValue
	variables []string // that the file may refer to
	// fileText is what the file held.
	fileText []byte
	fileEnds bool // with the line fileEnd
	// listeners are those of Broker.Listeners with where they came from.
	listeners []*listenerEntry
}

// Log says what is logged and how.
type Log struct {
	Level  string // one of levelNames
	Format string // auto, json or console
}

// Auth says who may do what, beside what the store says.
type Auth struct {
	// RulesFile is a file of rules, ACLFile an acl_file of Mosquitto; "": none.
	RulesFile, ACLFile string
}

// Admin is the API over the network; without Bind it is on its socket only.
type Admin struct {
	Bind            string
	TLSCert, TLSKey string // files; "": no TLS
	TokensFile      string // "": none
}

// Metrics is the HTTP listener for scrapes and probes.
type Metrics struct {
	Enabled bool
	Bind    string
	Path    string
}

// Default returns the settings that hold when nothing is said.
func Default() *Config {
	c := &Config{
		Log:    Log{Level: "info", Format: formatAuto},
		Broker: broker.DefaultOptions(),
		Store:  store.DefaultOptions(),
		Login:  login.DefaultOptions(),
		Tokens: login.DefaultTokenOptions(), Callback: login.DefaultCallbackOptions(),
		Metrics: Metrics{Enabled: true, Bind: ":9090", Path: "/metrics"},
		origins: make(map[string]Origin), references: make(map[string]string),
	}
	c.Broker.Limits.Memory = broker.MemoryDefault
	return c
}

// Sources are the places settings are read from. A field left empty is not
// read.
type Sources struct {
	File    string   // path of a YAML file
	Environ []string // as os.Environ returns it
	// Variables are what ${NAME} in the file stands for; nil: Environ.
	Variables []string
	Flags     *Flags
	// Before is what was loaded before, if this is to take its place: a file that is but the
	// beginning of what it was is refused.
	Before *Config
}

// Load reads the sources over the defaults. Its error is an Errors with every
// fault of every source.
func Load(s Sources) (*Config, error) {
	c := Default()
	if c.variables = s.Variables; c.variables == nil {
		c.variables = s.Environ
	}
	var errs Errors
	if s.File != "" {
		c.File = Absolute(s.File)
		errs = append(errs, c.readFile(s.File, s.Before)...)
	}
	errs = append(errs, c.readEnviron(s.Environ)...)
	if s.Flags != nil {
		errs = append(errs, c.readFlags(s.Flags)...)
	}
	if len(errs) == 0 { // a faulty value was not taken over: nothing to compare
		errs = append(errs, c.crossCheck()...)
	}
	if len(errs) > 0 {
		return nil, errs
	}
	return c, nil
}

// Fault returns a fault of a key, at the place where its value stood.
func (c *Config) Fault(key, text string) *Error {
	return &Error{Origin: c.origins[key], Key: key, Text: text}
}

// Missing returns a fault of a key that is not set, or set to nothing: that of its line, or of
// the file as a whole.
func (c *Config) Missing(key, text string) *Error {
	fault := c.Fault(key, text)
	if fault.Origin == (Origin{}) {
		fault.Origin.Name = c.File
	}
	return fault
}

// Given reports whether a source has said what a key is.
func (c *Config) Given(key string) bool { return c.origins[key] != (Origin{}) }

// Variable returns the name of the environment variable of a key that there is.
func Variable(path string) string { return keyOf(path).variable() }

// Absolute returns a path for the log, where nobody knows what it is relative to.
func Absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// set parses text as the value of k and remembers where it stood.
func (c *Config) set(k *key, text string, from Origin) Errors {
	if k.path == listenersPath {
		return c.setListeners(text, from)
	}
	return c.setValue(k, text, text, from)
}

// setValue is set for a value that stands for expanded.
func (c *Config) setValue(k *key, text, expanded string, from Origin) Errors {
	if err := parseValue(k.kind, k.field(c), text, expanded, from, k.path); err != nil {
		return Errors{err}
	}
	c.origins[k.path] = from
	delete(c.references, k.path)
	if text != expanded || mayBeSecret(k.kind) && strings.HasPrefix(text, filePrefix) {
		c.references[k.path] = text
	}
	return nil
}

// text returns the value of k as set would take it.
func (c *Config) text(k *key) string {
	return k.kind.format(k.field(c))
}
