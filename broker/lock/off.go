//go:build !invariants

package lock

import "sync"

// A Mutex is a sync.Mutex with a place in the order.
type Mutex[P Place] = sync.Mutex

// A RWMutex is a sync.RWMutex with a place in the order.
type RWMutex[P Place] = sync.RWMutex

// NoneHeld panics, in a build with -tags invariants, if the goroutine holds any of the
// mutexes: it is called by what waits.
func NoneHeld() {}
