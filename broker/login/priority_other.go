//go:build !unix

package login

// lowestPriority lets others run first: not on this system.
func lowestPriority() {}
