package broker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/codec"
)

// trace begins one, and returns what reads the events until now.
func (f *fixture) trace(filter inspect.TraceFilter) (events func() []inspect.Event) {
	ctx, cancel := context.WithCancel(context.Background())
	f.t.Cleanup(cancel)
	out := make(chan inspect.Event)
	go func() {
		if err := f.b.Trace(ctx, filter, out); err != nil {
			f.t.Error(err)
		}
	}()
	synctest.Wait()
	return func() (all []inspect.Event) {
		for {
			synctest.Wait()
			select {
			case e := <-out:
				all = append(all, e)
			default:
				return all
			}
		}
	}
}

// told is the events as lines.
func told(events []inspect.Event) (lines []string) {
	for _, e := range events {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s qos %d %s %s", e.Client, e.Kind, e.Topic, e.QoS, e.Payload, e.Reason)))
	}
	return lines
}

// TestTraceKind: of what fits otherwise only events of the kind are told.
func TestTraceKind(t *testing.T) {
	timeless(t, func(t *testing.T) {
		f := newFixtureWith(t)
		events := f.trace(inspect.TraceFilter{Topic: "#", Kind: "publish"})
		f.connectV5("c", nil).subscribeOne("#", 0)
		pub := f.connectV5("other", nil)
		pub.publish1(1, "a/1", "hello")
		if got := told(events()); len(got) != 1 || got[0] != "other publish a/1 qos 1" {
			t.Errorf("%q", got)
		}
	})
}

func TestTraceClient(t *testing.T) {
	timeless(t, func(t *testing.T) {
		f := newFixtureWith(t)
		const secret = "canary-7f3a"
		events := f.trace(inspect.TraceFilter{Client: "c", PayloadBytes: 3})
		c := f.connectV5("c", func(p *codec.Connect) {
			lasting(p)
			p.HasUserName, p.UserName, p.HasPassword, p.Password = true, codec.View("anna"), true, codec.View(secret)
		})
		c.subscribeOne("a/+", 1)
		c.subscribeOne("b", 0)
		pub := f.connectV5("other", nil)
		pub.publish1(1, "a/1", "hello")
		m := c.receive()
		c.ack(codec.TypePuback, m.PacketID)
		synctest.Wait()
		pub.publish(0, 0, "b", "zero")
		c.receive()
		c.publish1(7, "$SYS/x", "no")
		c.drop()
		synctest.Wait()
		pub.publish1(2, "a/2", "later")
		all := events()
		want := []string{
			"c connect  qos 0  pipe", "c subscribe a/+ qos 1  Granted QoS 1", "c subscribe b qos 0  Success", "c deliver a/1 qos 1 hel",
			"c acknowledge  qos 0  PUBACK", "c deliver b qos 0 zer", "c publish $SYS/x qos 1 no", "c refuse $SYS/x qos 1 no Not authorized",
			"c disconnect  qos 0  lost", "c deliver a/2 qos 1 lat queued",
		}
		if got := told(all); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		text, err := json.Marshal(all)
		if err != nil || strings.Contains(string(text), secret) || !strings.Contains(string(text), "a/+") {
			t.Errorf("%v: %s", err, text)
		}
		for _, r := range f.journal.all() {
			if line, _ := json.Marshal(r); strings.Contains(string(line), secret) {
				t.Errorf("the log: %s", line)
			}
		}
	})
}

func TestTraceTopic(t *testing.T) {
	timeless(t, func(t *testing.T) {
		f := newFixtureWith(t)
		events := f.trace(inspect.TraceFilter{Topic: "a/#"})
		c := f.connectV5("c", nil)
		c.subscribeOne("a/#", 0)
		c.subscribeOne("#", 0)
		pub := f.connectV5("pub", nil)
		pub.publish(0, 0, "a/1", "x")
		pub.publish(0, 0, "b/1", "x")
		c.receive()
		c.receive()
		want := []string{"c subscribe a/# qos 0  Success", "pub publish a/1 qos 0", "c deliver a/1 qos 0"}
		if got := told(events()); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("got\n%s", strings.Join(got, "\n"))
		}
		// A reader that takes nothing holds up nobody, and is told what it has missed.
		for range 3000 {
			pub.publish(0, 0, "a/1", "x")
			c.receive()
		}
		all, shown, lost := events(), 0, 0
		pub.publish(0, 0, "a/1", "x")
		c.receive()
		for _, e := range append(all, events()...) {
			var n int
			if e.Kind != "lost" {
				shown++
			} else if _, err := fmt.Sscanf(e.Reason, "%d events", &n); err != nil {
				t.Error(err)
			}
			lost += n
		}
		if shown+lost != 2*3001 || lost == 0 {
			t.Errorf("%d shown and %d lost", shown, lost)
		}
	})
}

func TestTraceLimits(t *testing.T) {
	timeless(t, func(t *testing.T) {
		f := newFixtureWith(t)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 4)
		for range 4 {
			go func() { done <- f.b.Trace(ctx, inspect.TraceFilter{Client: "c"}, nil) }()
		}
		synctest.Wait()
		var refused *inspect.Refused
		if err := f.b.Trace(ctx, inspect.TraceFilter{Client: "c"}, nil); !errors.As(err, &refused) {
			t.Errorf("a fifth: %v", err)
		}
		f.connectV5("c", nil)
		cancel()
		for range 4 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		var invalid *inspect.Invalid
		for _, filter := range []inspect.TraceFilter{{}, {Topic: "a#"}} {
			if err := f.b.Trace(context.Background(), filter, nil); !errors.As(err, &invalid) {
				t.Errorf("%+v: %v", filter, err)
			}
		}
	})
}
