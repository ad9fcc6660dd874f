package inspect

import (
	"fmt"
	"maps"
	"slices"
)

// dropWords say what a reason means.
var dropWords = map[string]struct {
	attention bool
	what, do  string
}{
	"expired":           {false, "their Message Expiry Interval had passed before the client took them", "this is what the publisher asked for"},
	"too_large":         {true, "larger than the client takes (Maximum Packet Size)", "let the client take larger packets, or publish smaller ones"},
	"slow_consumer":     {true, "QoS 0, and the client reads too slowly", "publish with QoS 1 if they must arrive, or see why the client is slow: promptmq clients show ID"},
	"offline_qos0":      {false, "QoS 0, and the client was not connected", "publish and subscribe with QoS 1 if they must arrive"},
	"no_member":         {true, "no member of a shared subscription could take them", "see promptmq subscriptions list --search '$share/': is a worker connected?"},
	"queue_full_newest": {true, "the queue was full, and these came last", "see who does not fetch them: promptmq clients list --sort queued --order desc"},
	"queue_full_oldest": {true, "the queue was full, and these were the oldest in it", "see who does not fetch them: promptmq clients list --sort queued --order desc"},
	"too_old":           {false, "queued for longer than storage.cleanup.max-message-age", "raise that if the client may be away for longer"},
	"session_ended":     {false, "the session ended before they were delivered", "a client that wants them asks for a session that outlives its connection"},
	"unsubscribed":      {false, "the client had unsubscribed meanwhile", "nothing needs to be done"},
	"denied":            {false, "a rule denies the client to receive them", "ask why: promptmq acl explain --client ID receive TOPIC"},
}

// judgeDrops says what was dropped since the numbers before.
func judgeDrops(s *Seen) (found []Finding) {
	for _, reason := range slices.Sorted(maps.Keys(s.Now.Dropped)) {
		n := s.Now.Dropped[reason]
		if n -= min(n, s.Before.Dropped[reason]); n == 0 {
			continue
		}
		words := dropWords[reason]
		if words.what == "" {
			words.what, words.do = reason, "see promptmq_messages_dropped_total"
		}
		found = append(found, Finding{
			Attention: words.attention, Do: words.do,
			What: fmt.Sprintf("%s dropped: %s%s", countOf(n, "message was", "messages were"), words.what, s.example(reason)),
		})
	}
	return found
}

// example is the last of these drops, if it is not long ago.
func (s *Seen) example(reason string) string {
	for _, d := range s.Drops {
		if d.Reason == reason && s.Now.At.Sub(d.At) < dropsNamedAfter {
			return fmt.Sprintf("; the last was for %q on %q", d.Client, d.Topic)
		}
	}
	return ""
}

// judgeRefusals says what was refused since the numbers before.
func judgeRefusals(s *Seen) (found []Finding) {
	const rules = "the log says whose and why; a rule explains itself: promptmq acl explain"
	for _, kind := range []struct {
		now, before map[string]uint64
		one, many   string
		do          string
	}{
		{s.Now.Refused, s.Before.Refused, "connection was", "connections were",
			"the log says who and why; promptmq bans list has the addresses that are kept out for a while"},
		{s.Now.MessagesRefused, s.Before.MessagesRefused, "message was", "messages were", rules},
		{s.Now.FiltersRefused, s.Before.FiltersRefused, "topic filter was", "topic filters were", rules},
	} {
		for _, reason := range slices.Sorted(maps.Keys(kind.now)) {
			n, do := kind.now[reason], kind.do
			if kind.one == "connection was" && reason == "Connection rate exceeded" {
				do = "too many logins failed: the log says whose, and from where (code back-off). A user waits there for seconds, up to auth.backoff-max, and then the right password will do; an address that is banned is in promptmq bans list"
			}
			if n -= min(n, kind.before[reason]); n > 0 {
				found = append(found, note(do, "%s refused: %s", countOf(n, kind.one, kind.many), reason))
			}
		}
	}
	return found
}
