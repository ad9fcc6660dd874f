package main

import (
	"testing"
	"time"

	"github.com/x0a1b/promptmq/broker/inspect"
)

func TestEventLine(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 30, 12, 0, 1, 5e6, time.Local)
	for want, e := range map[string]inspect.Event{
		`12:00:01.005 publish     a\x1b[2J b/c qos=1 retain dup id=7 bytes=3 x\ny`: {Client: "a\x1b[2J", Kind: "publish", Topic: "b/c", QoS: 1, Retain: true, Dup: true, ID: 7, Bytes: 3, Payload: []byte("x\ny")},
		`12:00:01.005 disconnect  dev (Keep Alive \u202e)`:                         {Client: "dev", Kind: "disconnect", Reason: "Keep Alive \u202e"},
		`12:00:01.005 subscribe   dev # qos=0`:                                     {Client: "dev", Kind: "subscribe", Topic: "#"},
	} {
		e.At = at
		if got := eventLine(&e); got != want {
			t.Errorf("%s\nexpected\n%s", got, want)
		}
	}
}

// TestTraceCommand prints what a client does, until its time is over.
func TestTraceCommand(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	c := commander{t, s.dataDir()}
	p := v5Of(t, s, "dev", nil)
	done := make(chan result, 1)
	go func() {
		done <- c.withInput("", "trace", "--client", "dev", "--payload", "3", "--seconds", "5")
	}()
	for id := uint16(1); ; id++ {
		p.publish1(id, "a/\x7f", "12345")
		select {
		case r := <-done:
			has(t, r.stdout, `publish     dev a/\x7f qos=1`, "bytes=5 123")
			has(t, r.stderr, "the trace has ended")
			if r.code != 0 {
				t.Errorf("code %d\n%s", r.code, r.stderr)
			}
			c.refused("trace of what? Say --client ID, --topic FILTER or both", "trace")
			c.refused("", "trace", "--topic", "#/a")
			c.refused("--seconds is from 1 to 600, not 1000", "trace", "--topic", "#", "--seconds", "1000")
			c.refused("--payload is from 0 to 4096, not 99999", "trace", "--topic", "#", "--payload", "99999")
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}
