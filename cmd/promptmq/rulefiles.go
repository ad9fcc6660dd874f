package main

import (
	"sync/atomic"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/config"
)

// ruleFiles has the rules of auth.rules-file and, behind them, those of auth.acl-file.
type ruleFiles struct{ rules atomic.Pointer[[]access.Rule] }

// list returns them in the order in which they are asked.
func (f *ruleFiles) list() []access.Rule {
	if rules := f.rules.Load(); rules != nil {
		return *rules
	}
	return nil
}

// reload is the part of a reload that reads the files. changed is called when their rules
// have been taken over.
func (f *ruleFiles) reload(changed func()) part {
	return func(next *config.Config) (func(), config.Errors) {
		rules, faults := readRules(next)
		return func() {
			f.rules.Store(&rules)
			changed()
		}, faults
	}
}

// readRules reads the files that a configuration names.
func readRules(c *config.Config) (rules []access.Rule, faults config.Errors) {
	for _, file := range []struct {
		key, name string
		parse     func(name string, data []byte) ([]access.Rule, error)
	}{
		{"auth.rules-file", c.Auth.RulesFile, access.ParseRules},
		{"auth.acl-file", c.Auth.ACLFile, access.ParseMosquitto}, // it denies all that no rule is about
	} {
		if file.name == "" {
			continue
		}
		name := config.Absolute(file.name)
		text, err := readWhole(name, access.RulesFileBytes)
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
