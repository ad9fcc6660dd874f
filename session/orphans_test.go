package session

import (
	"slices"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// What an ended Session leaves to other members of a Shared Subscription: nothing
// that is done, and no QoS 2 message that its Client may have got.
func TestOrphans(t *testing.T) {
	state := State{Floor: 1, Sent: 2, Next: 7, Done: ranges{{3, 3}}, Released: []uint64{4}}
	for _, c := range []struct {
		qos       codec.QoS
		connected bool
		want      []uint64
	}{
		{2, false, []uint64{2, 5, 6}},
		{2, true, []uint64{5, 6}}, // the broker died: the first two undone may have been sent
		{1, false, []uint64{1, 2, 5, 6}},
		{1, true, []uint64{1, 2, 5, 6}},
	} {
		s, err := Restore(&Loaded{
			Record: Record{ID: 1, ClientID: "c", Connected: c.connected}, State: state.Append(nil), FirstSeq: 1, NextSeq: 7,
		}, Limits{WindowMessages: 10, WindowBytes: 1000, QueueMessages: 10, QueueBytes: 1000, Inflight: 2})
		if err != nil {
			t.Fatal(err)
		}
		var entries []Entry
		for seq := uint64(1); seq < 7; seq++ {
			entries = append(entries, Entry{Seq: seq, QoS: c.qos, Share: "$share/g/a", Message: &Message{Topic: "a"}})
		}
		var got []uint64
		for _, page := range [][]Entry{entries[:3], entries[3:]} {
			for _, e := range s.Orphans(page) {
				got = append(got, e.Seq)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("QoS %d, connected %v: %v, expected %v", c.qos, c.connected, got, c.want)
		}
	}
}
