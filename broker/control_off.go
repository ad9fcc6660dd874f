//go:build !control

package broker

import (
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// broken reports whether a rule is to be broken on purpose: never in a normal
// build, where the compiler removes what it guards. See control_on.go.
func broken(string) bool { return false }

func beLate(string)                          {}
func panicAt(string)                         {}
func unlessBroken(_ string, n uint32) uint32 { return n }
func breakPublish(*codec.Publish)            {}
func breakAck(*codec.Ack)                    {}
func (c *conn) breakParams()                 {}
func breakAliases(a *aliasNames) *aliasNames { return a }

func soonerIf(_ string, d time.Duration) time.Duration { return d }

func systemClock(system func() time.Time) func() time.Time { return system }
