package session

import (
	"slices"
	"testing"
	"time"

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
		{2, true, []uint64{2, 5, 6}}, // the State tells of all that was sent with QoS 2
		{1, false, []uint64{1, 2, 5, 6}},
		{1, true, []uint64{1, 2, 5, 6}},
	} {
		s, err := Restore(&Loaded{
			Record: Record{ID: 1, ClientID: "c", Connected: c.connected}, State: state.Append(nil), FirstSeq: 1, NextSeq: 7,
		}, &Limits{WindowMessages: 10, WindowBytes: 1000, QueueMessages: 10, QueueBytes: 1000, Inflight: 2})
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

// What may have been sent before a crash stays maybeSent over a second crash
// before the Client came back, also while it is in memory and not sent again.
func TestMaybeSentOutlivesAnotherCrash(t *testing.T) {
	limits := Limits{WindowMessages: 10, WindowBytes: 1 << 20, QueueMessages: 100, QueueBytes: 1 << 20, Inflight: 2}
	var entries []Entry
	for seq := uint64(1); seq <= 5; seq++ {
		entries = append(entries, Entry{Seq: seq, QoS: 1, Message: &Message{Topic: "t"}})
	}
	loaded := Loaded{Record: Record{ID: 1, Connected: true}, FirstSeq: 1, NextSeq: 6}
	for crash := range 3 {
		s, err := Restore(&loaded, &limits)
		if err != nil {
			t.Fatal(err)
		}
		var fx Effects
		if crash == 1 { // a connection with room for one
			s.Attach(1, 0, time.Time{}, &fx)
			s.Paged(entries, 6, time.Time{}, &fx)
			s.Detach()
		}
		if crash == 2 {
			s.Attach(5, 0, time.Time{}, &fx)
			fx.Reset()
			s.Paged(entries, 6, time.Time{}, &fx)
			for i, send := range fx.Sends {
				if dup := i < 5; send.Dup != dup {
					t.Errorf("message %d has DUP %v", i+1, send.Dup)
				}
			}
			if len(fx.Sends) != 2 {
				t.Errorf("%d messages are sent", len(fx.Sends))
			}
		}
		loaded.Record.Connected, loaded.State = false, s.AppendState(nil)
	}
}
