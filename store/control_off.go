//go:build !control

package store

// broken reports whether a rule is to be broken on purpose: never in a normal
// build, where the compiler removes what it guards. See control_on.go.
func broken(string) bool { return false }
