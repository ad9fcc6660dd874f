// Package config turns a YAML file, environment variables and flags into the
// options of the broker, the store, the metrics listener and the log.
//
// keys.go is the one table: a row gives a setting its path in the file, what
// is allowed, its help text and the field it fills. Flag and variable names
// follow from the path, defaults from the options of the packages that use
// them. The command line, the checks, `promptmq config print` and
// docs/configuration.md all read that table.
//
// A flag wins over a variable, a variable over the file, the file over the
// default. Nothing is opened or started here, and nothing is accepted that
// would have no effect.
package config
