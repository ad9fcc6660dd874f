package link

import (
	"testing"
	"time"
)

// TestSilences: who is acknowledged at once.
func TestSilences(t *testing.T) {
	const ms = int64(time.Millisecond)
	type read struct {
		after             int64 // the one before
		asked, unfinished bool
	}
	puback, publish, half := read{ms, false, false}, read{after: 40 * ms, asked: true}, read{ms, false, true}
	for name, c := range map[string]struct {
		round []read
		want  bool
	}{
		"Nagle":                           {[]read{puback, publish}, true},
		"Nagle, two writes for a packet":  {[]read{half, publish}, true},
		"Nagle, far away":                 {[]read{puback, {180 * ms, true, false}}, true},
		"TCP_NODELAY":                     {[]read{puback, {ms, true, false}}, false},
		"ten messages a second":           {[]read{puback, {400 * ms, true, false}}, false},
		"nothing but PUBLISH":             {[]read{publish}, false},
		"nothing but PUBACK":              {[]read{{40 * ms, false, false}}, false},
		"PUBACK and PUBLISH in one piece": {[]read{publish, publish}, false},
		"PINGREQ after PUBACK, each time at once but for now and then": {[]read{puback, publish, puback, {ms, true, false}}, false},
	} {
		var s silences
		now, got := 1000*int64(time.Second), false
		for range 10 {
			for _, r := range c.round {
				last := now
				now += r.after
				got = s.heard(&ReadState{Now: now, Before: last, Asked: r.asked, Unfinished: r.unfinished}) || got
			}
		}
		if got != c.want {
			t.Errorf("%s: acknowledged at once: %v", name, got)
		}
	}
	// It ends when it is no longer seen to be needed.
	var s silences
	now := 1000 * int64(time.Second)
	step := func(d int64, asked bool) bool {
		last := now
		now += d
		return s.heard(&ReadState{Now: now, Before: last, Asked: asked})
	}
	for range silencesMin {
		step(ms, false)
		step(40*ms, true)
	}
	for range 4 {
		if !step(ms, false) {
			t.Fatal("not acknowledged at once")
		}
		step(ms, true)
	}
	now += (hurrySeconds + 2) * int64(time.Second)
	if step(ms, false) {
		t.Error("still acknowledged at once")
	}
}
