package main

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/config"
	"github.com/x0a1b/promptmq/store"
)

// here returns an error if a broker elsewhere is meant, of which a command does not work. named:
// the command is told a file, so the environment does not count.
func (p *place) here(command string, named bool) error {
	local := named || p.DataDir != ""
	if p.URL == "" && (local || os.Getenv(config.URLVariable) == "") {
		_, err := p.elsewhere(local) // nothing goes with a URL that is not there
		return err
	}
	if p.URL == "" {
		return admin.Refuse("$%s says that the broker is elsewhere, and %s works on a data directory of this machine only: run it there, or say which with --data-dir", config.URLVariable, command)
	}
	return admin.Refuse("%s works on this machine only, not through --url: run it on the machine of the broker", command)
}

// target is the whole path of a file that a command is to make, from a store in dir. With
// force one that is there may be replaced, unless it is of a store.
func target(dir, file string, force bool) (string, error) {
	path, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	for _, made := range []string{path, path + partialSuffix} {
		if err := store.CheckTarget(dir, made); errors.Is(err, store.ErrTarget) {
			return "", admin.Refuse("%v", err)
		} else if err != nil {
			return "", err
		}
	}
	if _, err := os.Lstat(path); err == nil && !force {
		return "", admin.Refuse("%s is there already: --force replaces it", path)
	}
	return path, nil
}

// putInPlace gives a file its name that is whole now, or removes it.
func putInPlace(dir, partial, path string) error {
	err := store.CheckTarget(dir, path) // much may have happened since it was asked
	if err == nil {
		err = store.PutInPlace(partial, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(partial))
	}
	return nil
}
