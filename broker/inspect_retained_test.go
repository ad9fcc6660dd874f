package broker_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/broker/inspect"
)

// retain has an operator retain one message for each topic.
func (f *fixture) retain(topics ...string) {
	f.t.Helper()
	for _, topic := range topics {
		if _, err := f.b.Publish(context.Background(), inspect.Message{Topic: topic, Payload: []byte("x" + topic), QoS: 1, Retain: true}); err != nil {
			f.t.Fatal(err)
		}
	}
}

// retained pages through all that a filter matches.
func (f *fixture) retained(filter string, limit int) (topics []string) {
	f.t.Helper()
	for w := (inspect.Window{Limit: limit}); ; {
		page, err := f.b.Retained(context.Background(), filter, w)
		if err != nil || len(page.Items) > limit {
			f.t.Fatalf("%d of %d rows, %v", len(page.Items), limit, err)
		}
		for _, r := range page.Items {
			topics = append(topics, r.Topic)
		}
		if w.Cursor = page.Next; w.Cursor == "" {
			return topics
		}
	}
}

func manyTopics(n int) (topics []string) {
	for i := range n {
		topics = append(topics, fmt.Sprintf("many/%04d/%d", i, i%7))
	}
	return topics
}

func TestInspectRetained(t *testing.T) {
	f := newFixtureWith(t)
	f.retain("b/2", "$other/1", "a", "b/1", "b/1/x")
	for _, test := range []struct {
		filter string
		want   []string
	}{
		{"", []string{"$other/1", "a", "b/1", "b/1/x", "b/2"}},
		{"#", []string{"a", "b/1", "b/1/x", "b/2"}},
		{"b/+", []string{"b/1", "b/2"}},
		{"a", []string{"a"}},
		{"none/#", nil},
	} {
		for _, limit := range []int{1, 2, 5, 100} {
			if got := f.retained(test.filter, limit); !slices.Equal(got, test.want) {
				t.Errorf("%q by %d: %q", test.filter, limit, got)
			}
		}
	}
	many := manyTopics(3000)
	f.retain(many...)
	if got := f.retained("many/#", 700); !slices.Equal(got, many) {
		t.Errorf("%d of %d, or in another order", len(got), len(many))
	}
	if got := f.retained("many/+/3", 50); len(got) != 429 || !slices.IsSorted(got) {
		t.Errorf("%d", len(got))
	}
	for _, w := range []inspect.Window{{Cursor: "nonsense!"}, {Cursor: "AAAA"}} {
		if _, err := f.b.Retained(context.Background(), "", w); !errors.Is(err, inspect.ErrBadCursor) {
			t.Errorf("cursor %q: %v", w.Cursor, err)
		}
	}
	var invalid *inspect.Invalid
	if _, err := f.b.Retained(context.Background(), "a#", inspect.Window{}); !errors.As(err, &invalid) || invalid.Field != "filter" {
		t.Errorf("filter a#: %v", err)
	}
}

// TestInspectRetainedWhileChanging: a list begun while there are few matches goes on when
// there are many, and names no topic never.
func TestInspectRetainedWhileChanging(t *testing.T) {
	f := newFixtureWith(t)
	many := manyTopics(2500)
	f.retain(many[:1000]...)
	seen := make(map[string]bool)
	w := inspect.Window{Limit: 100}
	for first := true; first || w.Cursor != ""; first = false {
		page, err := f.b.Retained(context.Background(), "many/#", w)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Items {
			seen[r.Topic] = true
		}
		w.Cursor = page.Next
		if first {
			f.retain(many[1000:]...)
			f.retain(many[:500]...) // they are replaced
		}
	}
	for _, topic := range many {
		if !seen[topic] {
			t.Fatalf("%s is left out", topic)
		}
	}
}

func TestInspectRetainedMessage(t *testing.T) {
	f := newFixtureWith(t)
	want := inspect.Message{
		Topic: "a/b", Payload: []byte("text"), QoS: 1, Retain: true, ExpirySeconds: 100, ContentType: "text/plain", ResponseTopic: "r/s",
		CorrelationData: []byte{1, 2}, PayloadIsText: true, UserProperties: []inspect.UserProperty{{Name: "k", Value: "v"}, {Name: "k", Value: "w"}},
	}
	if _, err := f.b.Publish(context.Background(), want); err != nil {
		t.Fatal(err)
	}
	got, err := f.b.RetainedMessage("a/b")
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := f.b.RetainedMessage("a"); !errors.Is(err, inspect.ErrNotFound) {
		t.Errorf("a: %v", err)
	}
}

func TestInspectRetainedLevels(t *testing.T) {
	f := newFixtureWith(t)
	f.retain(append(manyTopics(2000), "a", "a/b", "/c", "a//d")...)
	levels := func(prefix string, limit int) (all []inspect.TopicLevel) {
		t.Helper()
		for w := (inspect.Window{Limit: limit}); ; {
			page, err := f.b.RetainedLevels(context.Background(), prefix, w)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, page.Items...)
			if w.Cursor = page.Next; w.Cursor == "" {
				return all
			}
		}
	}
	for _, limit := range []int{1, 2, 100} {
		want := []inspect.TopicLevel{{Name: "", Topic: "", Below: 1}, {Name: "a", Topic: "a", Retained: true, Bytes: 2, Below: 2}, {Name: "many", Topic: "many", Below: 2000}}
		got := levels("", limit)
		if len(got) == 3 && got[2].More { // it counts nodes
			got[2].Below, got[2].More = 2000, false
		}
		if !slices.Equal(got, want) {
			t.Errorf("by %d: %+v", limit, got)
		}
		if got := levels("a/", limit); !slices.Equal(got, []inspect.TopicLevel{{Name: "", Topic: "a/", Below: 1}, {Name: "b", Topic: "a/b", Retained: true, Bytes: 4}}) {
			t.Errorf("below a by %d: %+v", limit, got)
		}
		if got := levels("a//", limit); len(got) != 1 || got[0].Topic != "a//d" {
			t.Errorf("below a/ by %d: %+v", limit, got)
		}
	}
	got := levels("many/", 300)
	if len(got) != 2000 || !slices.IsSortedFunc(got, func(a, b inspect.TopicLevel) int { return cmp.Compare(a.Name, b.Name) }) {
		t.Errorf("%d levels below many", len(got))
	}
	if got := levels("none/", 10); len(got) != 0 {
		t.Errorf("below none: %+v", got)
	}
	var invalid *inspect.Invalid
	for _, prefix := range []string{"a", "+/"} {
		if _, err := f.b.RetainedLevels(context.Background(), prefix, inspect.Window{}); !errors.As(err, &invalid) || invalid.Field != "prefix" {
			t.Errorf("prefix %q: %v", prefix, err)
		}
	}
}

// TestInspectDeleteRetained: what is deleted is gone from memory and from disk when that
// returns, and a subscriber gets none of it.
func TestInspectDeleteRetained(t *testing.T) {
	f := newFixture(t)
	ctx := context.Background()
	f.retain(append(manyTopics(1500), "stays", "$own/x")...)
	for _, dry := range []bool{true, false} {
		if n, err := f.b.DeleteRetained(ctx, "many/+/3", dry); n != 214 || err != nil {
			t.Errorf("dry run %v: %d, %v", dry, n, err)
		}
	}
	if n, err := f.b.DeleteRetained(ctx, "many/#", false); n != 1500-214 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if got := f.crash().retained("", 100); !slices.Equal(got, []string{"$own/x", "stays"}) {
		t.Errorf("on disk: %q", got)
	}
	if n, err := f.b.DeleteRetained(ctx, "#", false); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	var invalid *inspect.Invalid
	if _, err := f.b.DeleteRetained(ctx, "", false); !errors.As(err, &invalid) {
		t.Errorf("without a filter: %v", err)
	}
}

func TestInspectExportRetained(t *testing.T) {
	f := newFixtureWith(t)
	many := manyTopics(2000)
	f.retain(many...)
	seen, replaced := make(map[string]string), false
	err := f.b.ExportRetained(context.Background(), "", func(m inspect.Message) error {
		if seen[m.Topic] = string(m.Payload); !replaced {
			replaced = true
			for _, topic := range many[1000:] {
				if _, err := f.b.Publish(context.Background(), inspect.Message{Topic: topic, Payload: []byte("newer"), Retain: true}); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil || len(seen) != 2000 || seen[many[0]] != "x"+many[0] || seen[many[1500]] != "newer" {
		t.Errorf("%d, %v", len(seen), err)
	}
	stop := errors.New("stop")
	if err := f.b.ExportRetained(context.Background(), "many/+/1", func(inspect.Message) error { return stop }); err != stop {
		t.Errorf("an error of who takes it: %v", err)
	}
}

func TestInspectPublish(t *testing.T) {
	f := newFixtureWith(t, func(o *broker.Options) { o.MaxRetainedMessages, o.MaxPacketSize, o.MaxQoS = 2, 1000, 1 })
	sub := f.connectV5("sub", lasting)
	sub.subscribeOne("a/#", 1)
	ctx := context.Background()
	published, err := f.b.Publish(ctx, inspect.Message{Topic: "a/b", Payload: []byte("hello"), QoS: 1, ContentType: "text/plain"})
	if err != nil || published.Matched != 1 {
		t.Errorf("%+v, %v", published, err)
	}
	if got := sub.receive(); string(got.Payload) != "hello" || got.QoS != 1 || got.Forward.Len() == 0 {
		t.Errorf("%+v", got)
	}
	for field, m := range map[string]inspect.Message{
		"topic":            {Topic: "$SYS/broker/uptime"},
		"qos":              {Topic: "a", QoS: 2},
		"payload":          {Topic: "a", Payload: make([]byte, 1000)},
		"response_topic":   {Topic: "a", ResponseTopic: "x/#"},
		"content_type":     {Topic: "a", ContentType: "\xff"},
		"user_properties":  {Topic: "a", UserProperties: make([]inspect.UserProperty, 1001)},
		"correlation_data": {Topic: "a", CorrelationData: make([]byte, 70000)},
	} {
		var invalid *inspect.Invalid
		if _, err := f.b.Publish(ctx, m); !errors.As(err, &invalid) || invalid.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	f.retain("1", "2")
	var refused *inspect.Refused
	if _, err := f.b.Publish(ctx, inspect.Message{Topic: "3", Payload: []byte("x"), Retain: true}); !errors.As(err, &refused) {
		t.Errorf("a retained message too many: %v", err)
	}
	if _, err := f.b.Publish(ctx, inspect.Message{Topic: "1", Retain: true}); err != nil {
		t.Errorf("one removed: %v", err)
	}
	if got := f.retained("", 10); !slices.Equal(got, []string{"2"}) {
		t.Errorf("%q", got)
	}
}

func TestNumbers(t *testing.T) {
	timeless(t, func(t *testing.T) {
		f := newFixtureWith(t)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go f.b.Record(ctx)
		p := f.connectV5("c", nil)
		p.subscribeOne("a", 1)
		f.connectV5("pub", nil).publish1(1, "a", "12345")
		p.receive()
		f.retain("r")
		time.Sleep(15*time.Minute + time.Second/2)
		n := f.b.Numbers()
		if n.SessionsConnected != 2 || n.Subscriptions != 1 || n.Retained != 1 || n.MessagesIn[1] != 1 || n.MessagesOut[1] != 1 || n.MessageBytesIn != 5 ||
			n.Commits == 0 || !n.Ready || n.UptimeSeconds < 900 || n.CommitP99 != 0 || n.CommitSeconds == 0 && n.Commits == 0 || n.Overload != "normal" || n.Queued != 1 {
			t.Errorf("%+v", n)
		}
		h := f.b.NumbersHistory()
		if len(h) != 600 {
			t.Fatalf("%d samples", len(h))
		}
		for i := range h[1:] {
			if d := h[i+1].At.Sub(h[i].At); d != time.Second {
				t.Fatalf("sample %d is %v after the one before", i+1, d)
			}
		}
		if age := f.b.Numbers().At.Sub(h[599].At); age > time.Second {
			t.Errorf("the last sample is %v old", age)
		}
	})
}
