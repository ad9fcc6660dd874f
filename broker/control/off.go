//go:build !control

package control

import (
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// In a build without the tag nothing is broken, nothing is late, and nothing
// panics on purpose. See on.go.

func Broken(Rule) bool { return false }

func BeLate(Rule) {}

func Panic(Rule) {}

func Sooner(_ Rule, d time.Duration) time.Duration { return d }

func Unless(_ Rule, n uint32) uint32 { return n }

func SystemClock(system func() time.Time) func() time.Time { return system }

func BreakPublish(*codec.Publish) {}

func BreakAck(*codec.Ack) {}
