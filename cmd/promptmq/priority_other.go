//go:build !linux

package main

// stepBehind does nothing: other systems have no priority that is lowered in one way.
func stepBehind() {}
