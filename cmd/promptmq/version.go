package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
)

// release is the version of this program. Packages and archives have it from here.
const release = "0.2.0"

// linkedCommit is set by the linker: -X main.linkedCommit=0123456789ab
var linkedCommit string

func version() string { return release }

// commit is the linked commit, else what the Go toolchain recorded of the work tree that it
// built. A module that was installed by its version has none.
func commit() string {
	if linkedCommit != "" {
		return linkedCommit
	}
	build, _ := debug.ReadBuildInfo() // nil: it was built without
	if build == nil {
		return ""
	}
	recorded := make(map[string]string)
	for _, s := range build.Settings {
		recorded[s.Key] = s.Value
	}
	of := recorded["vcs.revision"]
	of = of[:min(len(of), 12)]
	if of != "" && recorded["vcs.modified"] == "true" {
		of += "-modified"
	}
	return of
}

type versionCommand struct{}

// Run implements the command.
func (versionCommand) Run() error {
	_, err := fmt.Printf("promptmq %s (commit %s) %s %s/%s\n", version(), cmp.Or(commit(), "not known"), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
