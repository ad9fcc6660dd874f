package main

import (
	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/login"
	"github.com/x0a1b/promptmq/config"
)

// passwords is the part of a configuration that says what a Chain does with passwords: the
// file of them, and the limits.
func passwords(chain *login.Chain) part {
	return func(next *config.Config) (take func(), faults config.Errors) {
		entries, fault := readPasswordFile(next)
		if fault != nil {
			return nil, config.Errors{fault}
		}
		return func() {
			chain.SetOptions(next.Login)
			if next.Login.PasswordFile == "" {
				chain.RemovePasswordFile()
			} else {
				chain.SetPasswordFile(entries)
			}
		}, nil
	}
}

// readPasswordFile reads the file that a configuration names, if it does.
func readPasswordFile(c *config.Config) ([]access.PasswordEntry, *config.Error) {
	const key = "auth.password-file"
	if c.Login.PasswordFile == "" {
		return nil, nil
	}
	name := config.Absolute(c.Login.PasswordFile)
	text, err := login.ReadWhole(name, access.PasswordFileBytes)
	if err != nil {
		return nil, c.Fault(key, err.Error())
	}
	entries, err := access.ParsePasswordFile(name, text)
	if err != nil {
		return nil, faultIn(name, key, err)
	}
	return entries, nil
}
