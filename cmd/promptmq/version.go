package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// linkedVersion is set by the linker: -X main.linkedVersion=v1.2.3
var linkedVersion string

// version is the linked version, else what the Go toolchain recorded.
func version() string {
	if linkedVersion != "" {
		return linkedVersion
	}
	if build, ok := debug.ReadBuildInfo(); ok && build.Main.Version != "" {
		return build.Main.Version
	}
	return "unknown"
}

type versionCommand struct{}

// Run implements the command.
func (versionCommand) Run() error {
	_, err := fmt.Printf("promptmq %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
