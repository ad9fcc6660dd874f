//go:build invariants

package broker

const invariantsChecked = true
