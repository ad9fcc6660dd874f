package main

import (
	"sync/atomic"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/login"
	"github.com/x0a1b/promptmq/config"
)

// ruleFiles has the rules of auth.rules-file and, behind them, those of auth.acl-file.
type ruleFiles struct {
	rules atomic.Pointer[[]access.Rule]
	keys  []string // under which they were
}

// list returns them in the order in which they are asked.
func (f *ruleFiles) list() []access.Rule {
	if rules := f.rules.Load(); rules != nil {
		return *rules
	}
	return nil
}

// reload is the part of a reload that reads the files. opens says that with no rules in files
// there would be none at all where there are some now: a key that is lost must not open
// everything, as little as a file that is. changed is called when the rules have been taken
// over.
func (f *ruleFiles) reload(opens func() bool, changed func()) part {
	return func(next *config.Config) (func(), config.Errors) {
		rules, faults := readRules(next)
		var keys []string
		for _, file := range filesOfRules(next) {
			keys = append(keys, file.key)
		}
		if len(keys) == 0 && opens() {
			for _, key := range f.keys {
				faults = append(faults, next.Missing(key, "is no longer set, and without it there is no rule left: everybody who is let in might do everything. "+
					"If that is meant, name a file with the rule \"allow everyone all topic #\", or restart"))
			}
		}
		return func() {
			f.keys = keys
			f.rules.Store(&rules)
			changed()
		}, faults
	}
}

// A fileOfRules is one that a configuration names.
type fileOfRules struct {
	key, name string
	parse     func(name string, data []byte) ([]access.Rule, error)
}

func filesOfRules(c *config.Config) (files []fileOfRules) {
	if c.Auth.RulesFile != "" {
		files = append(files, fileOfRules{"auth.rules-file", c.Auth.RulesFile, access.ParseRules})
	}
	if c.Auth.ACLFile != "" { // it denies all that no rule is about
		files = append(files, fileOfRules{"auth.acl-file", c.Auth.ACLFile, access.ParseMosquitto})
	}
	return files
}

// readRules reads the files that a configuration names.
func readRules(c *config.Config) (rules []access.Rule, faults config.Errors) {
	for _, file := range filesOfRules(c) {
		name := config.Absolute(file.name)
		text, err := login.ReadWhole(name, access.RulesFileBytes)
		if err != nil {
			faults = append(faults, c.Fault(file.key, err.Error()))
			continue
		}
		list, err := file.parse(name, text)
		if err != nil {
			faults = append(faults, faultIn(name, file.key, err))
			continue
		}
		rules = append(rules, list...)
	}
	return rules, faults
}
