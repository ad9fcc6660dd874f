//go:build control

package control

import (
	"os"
	"slices"
	"strings"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

var brokenRules = strings.Split(os.Getenv("BREAK_RULES"), ",")

// Broken reports whether this process breaks the rule.
func Broken(rule Rule) bool { return slices.Contains(brokenRules, string(rule)) }

// BeLate waits if the rule is named, so that a test sees whether what must come
// afterwards does.
func BeLate(rule Rule) {
	if Broken(rule) {
		time.Sleep(300 * time.Millisecond)
	}
}

// Panic panics if the rule is named.
func Panic(rule Rule) {
	if Broken(rule) {
		panic("asked for: " + string(rule))
	}
}

// Sooner returns a tenth of d if the rule is named, so that a test need not wait as
// long for what waits in real time.
func Sooner(rule Rule, d time.Duration) time.Duration {
	if Broken(rule) {
		return d / 10
	}
	return d
}

// Unless returns n, or 0 if the rule is broken.
func Unless(rule Rule, n uint32) uint32 {
	if Broken(rule) {
		return 0
	}
	return n
}

// SystemClock returns the system's clock, or one that is a year ahead: from the
// start on, or from a second after it.
func SystemClock(system func() time.Time) func() time.Time {
	const year = 365 * 24 * time.Hour
	started := time.Now()
	return func() time.Time {
		if Broken(ClockSet) || (Broken(ClockSetLater) && time.Since(started) > time.Second) {
			return system().Add(year)
		}
		return system()
	}
}

// BreakPublish breaks rules about every PUBLISH to a Client.
func BreakPublish(p *codec.Publish) {
	switch {
	case Broken(DupLost):
		p.Dup = false
	case Broken(DupInvented):
		p.Dup = p.QoS > 0
	case Broken(RetainLost):
		p.Retain = false
	case Broken(RetainInvented):
		p.Retain = true
	case Broken(SubscriptionIdentifierLost):
		p.SubscriptionIDs = nil
	case Broken(PropertiesLost):
		p.Forward = codec.ForwardBytes(nil)
	case Broken(PacketIdentifierInUse) && p.QoS > 0:
		p.PacketID = 1
	}
}

// BreakAck breaks rules about PUBACK, PUBREC, PUBREL and PUBCOMP.
func BreakAck(a *codec.Ack) {
	switch {
	case Broken(WrongPacketIdentifier):
		a.PacketID = a.PacketID%65535 + 1
	case Broken(ReasonStringUnasked):
		a.HasReasonString, a.ReasonString = true, codec.View("nobody asked")
	}
}
