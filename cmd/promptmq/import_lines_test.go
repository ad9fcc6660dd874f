package main

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/cmd/promptmq/mosquitto"
	"github.com/x0a1b/promptmq/store"
)

// A toldState is a State of Go values.
type toldState struct {
	sessions []*mosquitto.Session
	retained []*mosquitto.Message
}

func (toldState) Format() string { return "told" }
func (toldState) Close() error   { return nil }

func each[T any](list []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, one := range list {
			if !yield(one, nil) {
				return
			}
		}
	}
}

func (s toldState) Sessions() iter.Seq2[*mosquitto.Session, error] { return each(s.sessions) }
func (s toldState) Retained() iter.Seq2[*mosquitto.Message, error] { return each(s.retained) }

// TestStateImportLines: what is not taken as it is.
func TestStateImportLines(t *testing.T) {
	t.Parallel()
	now := time.Unix(2_000_000_000, 0).UTC()
	past := now.Add(-time.Second)
	message := func(topic string, expires time.Time) *mosquitto.Message {
		return &mosquitto.Message{Topic: topic, QoS: 2, Payload: []byte("x"), ExpiresAt: expires}
	}
	queued := func(step mosquitto.Step, id uint16, qos byte, m *mosquitto.Message) *mosquitto.Queued {
		return &mosquitto.Queued{Step: step, PacketID: id, QoS: qos, Message: func() (*mosquitto.Message, error) { return m, nil }}
	}
	session := func(id string, expiry uint32, at time.Time, subs []mosquitto.Subscription, queue ...*mosquitto.Queued) *mosquitto.Session {
		return &mosquitto.Session{
			ClientID: id, ExpirySeconds: expiry, ExpiresAt: at, Subscriptions: subs,
			Queue: func() iter.Seq2[*mosquitto.Queued, error] { return each(queue) },
		}
	}
	from := toldState{
		sessions: []*mosquitto.Session{
			session("over", 60, past, nil),
			session("short", 0, time.Time{}, nil),
			session("", 60, now, nil),
			session("connected", 60, time.Time{}, []mosquitto.Subscription{{Filter: "a/#/b", QoS: 1}, {Filter: "$share/g/in", QoS: 1, ID: 9}},
				queued(mosquitto.Waiting, 0, 0, message("zero", time.Time{})),
				queued(mosquitto.Waiting, 0, 1, message("old", past)),
				queued(mosquitto.Waiting, 0, 1, message("wild/+", time.Time{})),
				queued(mosquitto.Waiting, 0, 1, message("waits", time.Time{})),
				queued(mosquitto.Sent, 3, 1, message("sent", past)),
				queued(mosquitto.Sent, 3, 1, message("twice", time.Time{})),
				queued(mosquitto.Passed, 4, 2, message("passed", time.Time{}))),
			session("sender", mosquitto.NeverExpires, time.Time{}, []mosquitto.Subscription{{Filter: "$share/g/in", QoS: 1}, {Filter: "in", QoS: 1, NoLocal: true}},
				queued(mosquitto.Received, 5, 2, message("in", time.Time{}))),
			session("local.bridge", mosquitto.NeverExpires, time.Time{}, []mosquitto.Subscription{{Filter: "+", QoS: 0}}),
		},
		retained: []*mosquitto.Message{message("$SYS/x", time.Time{}), message("old", past), message("a\x00", time.Time{}), message("kept", time.Time{})},
	}
	limits := broker.DefaultOptions()
	limits.MaxQueuedMessages, limits.MaxSubscriptions, limits.MaxSessions, limits.MaxRetainedMessages = 1, 0, 1, 0
	i := &stateImport{from: from, file: "f", report: new(mosquitto.Report), limits: &limits, now: now}
	var lines []string
	for l, err := range i.lines {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, lineText(l))
	}
	want := []string{
		"session connected 2033-05-18 03:34:20 1 [] []", "queued sent 1 3 ", "queued waits 1 0 ", "queued in 1 0 $share/g/in",
		"session sender 0001-01-01 00:00:00 2 [5] []", "session local.bridge 0001-01-01 00:00:00 1 [] []", "retained kept",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("lines\n%q, want\n%q", lines, want)
	}
	var said strings.Builder
	for _, f := range i.report.Findings {
		fmt.Fprintf(&said, "%s: %s: %s\n", f.Outcome, f.What, f.Why)
	}
	for _, want := range []string{
		`left out: session of client "over": it expired on 2033-05-18 03:33:19 UTC`, `left out: session of client "short": it ends with its connection`,
		`left out: session of client "": its Client Identifier is empty`, `left out: subscription of client "connected" to "a/#/b"`,
		`left out: 1 message for client "connected": their QoS is 0`, `left out: 1 message for client "connected": they have expired`,
		`left out: 1 message for client "connected": topic:`, `left out: 1 message for client "connected": they were sent without a Packet Identifier`,
		"its client was connected: its 60 s begin now", "mqtt.max-queued-messages is 1", "mqtt.max-subscriptions is 0", "mqtt.max-sessions is 1",
		"mqtt.max-retained-messages is 0", "it looks like the inner session of a bridge", "left out: 1 retained message below $SYS", "left out: 1 retained message: expired",
		`left out: retained message of "a\x00"`,
	} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("nothing says %s:\n%s", want, said.String())
		}
	}
}

func lineText(l *store.Line) string {
	switch {
	case l.Session != nil:
		s := l.Session
		return fmt.Sprint("session ", s.Client, " ", s.ExpiresAt.Format(time.DateTime), " ", len(s.Subscriptions), " ", s.Received, " ", s.Released)
	case l.Queued != nil:
		q := l.Queued
		return fmt.Sprint("queued ", q.Topic, " ", q.DeliverQoS, " ", q.Sent, " ", q.Share)
	}
	return "retained " + l.Retained.Topic
}
