//go:build control

package broker

import (
	"os"
	"slices"
	"strings"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// brokenRules names the rules that this build breaks, from BREAK_RULES. Such
// a build exists only to show that the tests notice: durability tests and the
// conformance suite have controls that must fail.
var brokenRules = strings.Split(os.Getenv("BREAK_RULES"), ",")

func broken(rule string) bool { return slices.Contains(brokenRules, rule) }

// beLate takes its time if rule is among the rules. That breaks none: it shows
// whether what must come afterwards does.
func beLate(rule string) {
	if broken(rule) {
		time.Sleep(300 * time.Millisecond)
	}
}

// systemClock returns the clock of the system, or one that is a year ahead: from the
// start on, or since a second after it.
func systemClock(system func() time.Time) func() time.Time {
	const year = 365 * 24 * time.Hour
	started := time.Now()
	return func() time.Time {
		if broken("clock-set") || (broken("clock-set-later") && time.Since(started) > time.Second) {
			return system().Add(year)
		}
		return system()
	}
}

// soonerIf returns a tenth of d if rule is among the rules. That breaks none: what
// waits for d in real time need not take so long to be seen.
func soonerIf(rule string, d time.Duration) time.Duration {
	if broken(rule) {
		return d / 10
	}
	return d
}

// unlessBroken returns n, or 0 if the rule is to be broken.
func unlessBroken(rule string, n uint32) uint32 {
	if broken(rule) {
		return 0
	}
	return n
}

// breakPublish breaks rules about every PUBLISH to a Client.
func breakPublish(p *codec.Publish) {
	switch {
	case broken("dup-lost"):
		p.Dup = false
	case broken("dup-invented"):
		p.Dup = p.QoS > 0
	case broken("retain-lost"):
		p.Retain = false
	case broken("retain-invented"):
		p.Retain = true
	case broken("subscription-identifier-lost"):
		p.SubscriptionIDs = nil
	case broken("properties-lost"):
		p.Forward = codec.ForwardBytes(nil)
	case broken("packet-identifier-in-use") && p.QoS > 0:
		p.PacketID = 1
	}
}

// breakAck breaks rules about PUBACK, PUBREC, PUBREL and PUBCOMP.
func breakAck(a *codec.Ack) {
	switch {
	case broken("wrong-packet-identifier"):
		a.PacketID = a.PacketID%65535 + 1
	case broken("reason-string-unasked"):
		a.HasReasonString, a.ReasonString = true, codec.View("nobody asked")
	}
}

// breakParams breaks limits that the Client has set in CONNECT.
func (c *conn) breakParams() {
	switch {
	case broken("receive-maximum-ignored"):
		c.params.receiveMaximum = 65535
	case broken("maximum-packet-size-ignored"):
		c.params.packetBytesMax = 0
	case broken("keep-alive-ignored"):
		c.params.keepAliveSeconds = 0
	case broken("alias-invented"):
		c.params.aliasMaximum = 100
	}
}

// leaked are Topic Aliases that outlive their connection.
var leaked aliasNames

func breakAliases(a *aliasNames) *aliasNames {
	if broken("alias-not-reset") {
		return &leaked
	}
	return a
}

// panicAt panics in a place that is in the middle of something, if the rule
// "panic-in-" and its name is to be broken.
func panicAt(place string) {
	if broken("panic-in-" + place) {
		panic("asked for, in " + place)
	}
}
