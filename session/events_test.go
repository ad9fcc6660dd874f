package session

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// rowsText is what an event writes beside the queue, a word for each row.
func rowsText(fx *Effects) string {
	r := fx.Rows
	if r == nil {
		if fx.State {
			return "state"
		}
		return ""
	}
	words := []string{[]string{"lazily", "soon", "must"}[r.Urgency]}
	if c := r.Record; c != nil {
		word := fmt.Sprintf("record:v%d/%ds", c.Version, c.ExpirySeconds)
		if c.Connected {
			word += "/connected"
		}
		if !c.ExpiresAt.IsZero() {
			word += fmt.Sprintf("/ends%+d", c.ExpiresAt.Sub(start)/time.Second)
		}
		words = append(words, word)
	}
	switch {
	case !r.HasWill:
	case r.Will == nil:
		words = append(words, "-will")
	case r.Will.DueAt.IsZero():
		words = append(words, "will:"+r.Will.Message.Topic)
	default:
		words = append(words, fmt.Sprintf("will:%s/due%+d", r.Will.Message.Topic, r.Will.DueAt.Sub(start)/time.Second))
	}
	for _, s := range r.Subscriptions {
		if s.Subscription == nil {
			words = append(words, "-sub:"+s.Filter)
		} else {
			words = append(words, fmt.Sprintf("sub:%s/%d", s.Filter, s.Subscription.QoS))
		}
	}
	for _, o := range r.Owed {
		words = append(words, fmt.Sprintf("owed:%s/%d-%d/%t", o.Filter, o.After, o.UpTo, o.First))
	}
	if r.State != nil {
		words = append(words, fmt.Sprintf("remains:%d", r.Floor))
	}
	if r.Ended {
		words = append(words, "ended")
	}
	if fx.State {
		words = append(words, "state")
	}
	return strings.Join(words, " ")
}

func will(topic string, delaySeconds uint32) *Will {
	return &Will{Message: &Message{Topic: topic}, DelaySeconds: delaySeconds}
}

// A life is a Session whose events are checked one after the other.
type life struct {
	t *testing.T
	s *Session
}

func newLife(t *testing.T, durable bool) *life {
	return &life{t, New(7, "c", "u", durable, &simLimits)}
}

// does checks what an event writes.
func (l *life) does(name, want string, event func(*Effects)) {
	l.t.Helper()
	var fx Effects
	event(&fx)
	if got := rowsText(&fx); got != want {
		l.t.Errorf("%s: %q, expected %q", name, got, want)
	}
}

// open is a CONNECT of v5 with this Session Expiry Interval.
func (l *life) open(want string, expirySeconds uint32, w *Will) {
	l.t.Helper()
	l.does("open", want, func(fx *Effects) {
		l.s.Open(Opening{Version: codec.Version5, ExpirySeconds: expirySeconds, Will: w, KeepWill: true}, start, fx)
	})
}

func (l *life) closes(want string, voidWill, stopping bool, check func(Closed)) {
	l.t.Helper()
	l.does("close", want, func(fx *Effects) { check(l.s.Close(voidWill, stopping, start, fx)) })
}

func (l *life) check(ok bool, what string) {
	l.t.Helper()
	if !ok {
		l.t.Error("not as expected: ", what)
	}
}

// alive checks a Session that goes on without a connection.
func (l *life) alive(willTopic string) func(Closed) {
	return func(c Closed) {
		l.t.Helper()
		l.check(!c.Ended && !c.Spilled && c.ExpiresAt.Equal(start.Add(time.Minute)), fmt.Sprintf("%+v", c))
		l.check((c.Will != nil) == (willTopic != "") && (c.Will == nil || c.Will.Message.Topic == willTopic), "the Will")
	}
}

// gone checks a Session that has ended.
func (l *life) gone(willTopic string) func(Closed) {
	return func(c Closed) {
		l.t.Helper()
		l.check(c.Ended && !c.Spilled, fmt.Sprintf("%+v", c))
		l.check((c.Will != nil) == (willTopic != "") && (c.Will == nil || c.Will.Message.Topic == willTopic), "the Will")
	}
}

func TestOpenAndClose(t *testing.T) {
	l := newLife(t, true)
	l.open("must record:v5/60s/connected", 60, nil)
	l.closes("soon record:v5/60s/ends+60 state", false, false, l.alive(""))
	l.open("must record:v5/60s/connected will:w", 60, will("w", 5)) // resumed
	l.closes("soon record:v5/60s/ends+60 will:w/due+5 state", false, false, l.alive(""))
	l.open("must record:v5/60s/connected -will", 60, nil) // [MQTT-3.1.3-9]
	l.closes("soon record:v5/60s/ends+60 state", true, false, l.alive(""))

	l.open("must record:v5/60s/connected will:w", 60, will("w", 0))
	l.closes("soon record:v5/60s/ends+60 -will state", false, false, l.alive("w"))
	l.open("must record:v5/60s/connected will:w", 60, will("w", 0))
	l.closes("soon record:v5/60s/ends+60 -will state", true, false, l.alive("")) // [MQTT-3.1.2-10]
	l.open("must record:v5/60s/connected will:w", 60, will("w", 0))
	l.closes("soon record:v5/60s/ends+60 will:w/due+0 state", false, true, l.alive("")) // the Server stops

	l.open("must record:v5/4294967295s/connected will:w", NeverExpires, will("w", 9))
	l.closes("soon record:v5/4294967295s will:w/due+9 state", false, false, func(c Closed) {})
	l.does("expiry", "", func(*Effects) { l.s.SetExpiry(0) })
	l.closes("soon ended", false, false, l.gone("w"))
}

func TestCloseOfNeverExpiring(t *testing.T) {
	l := newLife(t, true)
	l.open("must record:v5/4294967295s/connected", NeverExpires, nil)
	l.closes("soon record:v5/4294967295s state", false, false, func(c Closed) { l.check(c.ExpiresAt.IsZero() && !c.Ended, "it never expires") })
}

// TestCloseOfVolatile: of a Session that is not Durable at most its Will is written, and
// nobody waits for it.
func TestCloseOfVolatile(t *testing.T) {
	l := newLife(t, false)
	l.open("", 0, nil)
	l.does("subscribe", "", func(fx *Effects) { l.s.Subscribe(&Subscription{Filter: "a"}, fx) })
	l.does("owe", "", func(fx *Effects) { l.s.Owe("a", Owed{UpTo: 3}, fx) })
	l.does("will", "", func(fx *Effects) { l.s.SetWill(will("w", 0), fx) })
	l.closes("", false, false, l.gone("w"))

	l = newLife(t, false)
	l.open("lazily record:v5/0s/connected will:w", 0, will("w", 7))
	l.closes("lazily ended", true, false, l.gone(""))

	l = newLife(t, false)
	l.does("open", "", func(fx *Effects) { l.s.Open(Opening{Will: will("w", 0)}, start, fx) }) // there was no room for it
	l.closes("", false, false, l.gone("w"))
}

func TestKeptWill(t *testing.T) {
	loaded := Loaded{Record: Record{ID: 3, ClientID: "c", Connected: true}, Will: will("w", 5)}
	if !loaded.HoldsKeptWill() {
		t.Error("it is no kept Will")
	}
	l := &life{t, RestoreKeptWill(&loaded, &simLimits)}
	l.does("end", "lazily ended", func(fx *Effects) { l.gone("w")(l.s.End(start, fx)) })
	for name, change := range map[string]func(*Loaded){
		"a Session goes on": func(l *Loaded) { l.Record.ExpirySeconds = 1 },
		"it was closed":     func(l *Loaded) { l.Record.Connected = false },
		"no Will":           func(l *Loaded) { l.Will = nil },
		"subscriptions":     func(l *Loaded) { l.Subscriptions = make([]Subscription, 1) },
		"a State":           func(l *Loaded) { l.State = []byte{1} },
		"a queue":           func(l *Loaded) { l.NextSeq = 2 },
	} {
		other := loaded
		if change(&other); other.HoldsKeptWill() {
			t.Errorf("%s: it is a kept Will", name)
		}
	}
}

func TestTakeDueWill(t *testing.T) {
	l := newLife(t, true)
	take := func(after time.Duration, fx *Effects) bool { return l.s.TakeDueWill(start.Add(after), fx) != nil }
	l.open("must record:v5/60s/connected will:w", 60, will("w", 5))
	l.does("connected", "", func(fx *Effects) { l.check(!take(time.Hour, fx), "a Will is due of a Client that is connected") })
	l.closes("soon record:v5/60s/ends+60 will:w/due+5 state", false, false, l.alive(""))
	l.does("early", "", func(fx *Effects) { l.check(!take(5*time.Second-1, fx), "too early") })
	l.does("due", "soon -will", func(fx *Effects) { l.check(take(5*time.Second, fx), "due") })
	l.does("again", "", func(fx *Effects) { l.check(!take(time.Hour, fx), "twice") })
}

func TestSubscriptions(t *testing.T) {
	l := newLife(t, true)
	subscribe := func(want string, replaced bool, sub Subscription) {
		t.Helper()
		l.does("subscribe", want, func(fx *Effects) { l.check(l.s.Subscribe(&sub, fx) == replaced, "replaced") })
	}
	subscribe("must sub:a/1", false, Subscription{Filter: "a", QoS: 1})
	l.check(!l.s.HasShared(), "no Shared Subscription")
	subscribe("must sub:$share/g/a/2", false, Subscription{Filter: "$share/g/a", QoS: 2})
	l.check(l.s.HasShared() && l.s.SubscriptionCount() == 2, "a Shared Subscription, of two")
	subscribe("must sub:a/0", true, Subscription{Filter: "a"})
	l.check(l.s.Subscription("a").QoS == 0 && l.s.Subscription("A") == nil, "the newer one")

	l.does("unsubscribe", "", func(fx *Effects) { l.check(!l.s.Unsubscribe("A", fx), "[MQTT-3.10.4-1]") })
	l.does("unsubscribe", "must -sub:a", func(fx *Effects) { l.check(l.s.Unsubscribe("a", fx), "found") })
	l.does("owe", "lazily owed:$share/g/a/0-9/true", func(fx *Effects) { l.s.Owe("$share/g/a", Owed{UpTo: 9}, fx) })
	l.does("unsubscribe", "must -sub:$share/g/a owed:$share/g/a/0-0/false", func(fx *Effects) { l.s.Unsubscribe("$share/g/a", fx) })
	l.check(l.s.SubscriptionCount() == 0 && !l.s.Owes("$share/g/a"), "nothing is left")
}

func TestOwed(t *testing.T) {
	l := newLife(t, true)
	owe := func(want string, o Owed) {
		t.Helper()
		l.does("owe", want, func(fx *Effects) { l.s.Owe("a", o, fx) })
	}
	l.does("disown", "", func(fx *Effects) { l.s.Disown("a", fx) })
	owe("lazily owed:a/0-9/true", Owed{UpTo: 9})
	owe("lazily owed:a/3-9/false", Owed{3, 9})
	l.check(l.s.Owes("a"), "owed")
	l.does("disown", "lazily owed:a/0-0/false", func(fx *Effects) { l.s.Disown("a", fx) })
	owe("lazily owed:a/0-12/true", Owed{UpTo: 12})

	s, err := Restore(&Loaded{
		Record: Record{ID: 1}, Subscriptions: []Subscription{{Filter: "a"}},
		Owed: map[string]Owed{"a": {3, 9}, "lost": {UpTo: 9}},
	}, &simLimits)
	if err != nil {
		t.Fatal(err)
	}
	l.s = s
	l.check(s.Owes("a") && !s.Owes("lost"), "what was stored, of subscriptions that there are")
	owe("lazily owed:a/4-9/false", Owed{4, 9})
}

func TestResume(t *testing.T) {
	for name, c := range map[string]struct {
		record  Record
		will    *Will
		max     uint32
		want    string
		expires time.Duration // after start; 0: never
	}{
		"as it was":         {Record{ExpirySeconds: 60, ExpiresAt: start.Add(time.Second)}, will("w", 5), NeverExpires, "", time.Second},
		"never expires":     {Record{ExpirySeconds: NeverExpires}, nil, NeverExpires, "", 0},
		"crash":             {Record{ExpirySeconds: 60, Connected: true}, will("w", 5), NeverExpires, "must record:v0/60s/ends+60 will:w/due+5 state", time.Minute},
		"crash, no will":    {Record{ExpirySeconds: NeverExpires, Connected: true}, nil, NeverExpires, "must record:v0/4294967295s state", 0},
		"shorter":           {Record{ExpirySeconds: 60, ExpiresAt: start.Add(time.Second)}, nil, 30, "must record:v0/30s/ends+30", 30 * time.Second},
		"never, now limit":  {Record{ExpirySeconds: NeverExpires}, nil, 30, "must record:v0/30s/ends+30", 30 * time.Second},
		"ends too late":     {Record{ExpirySeconds: 30, ExpiresAt: start.Add(time.Hour)}, nil, 30, "must record:v0/30s/ends+30", 30 * time.Second},
		"crash and shorter": {Record{ExpirySeconds: 60, Connected: true}, nil, 30, "must record:v0/30s/ends+30 state", 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Restore(&Loaded{Record: c.record, Will: c.will}, &simLimits)
			if err != nil {
				t.Fatal(err)
			}
			l := &life{t, s}
			l.does("resume", c.want, func(fx *Effects) {
				expires := s.Resume(&c.record, c.max, start, fx)
				l.check(expires.IsZero() == (c.expires == 0) && (c.expires == 0 || expires.Equal(start.Add(c.expires))), expires.String())
			})
		})
	}
}

// TestEndSpilled: a Session that ends with messages of Shared Subscriptions on disk only
// stays there, as one whose time is over, until they are handed on.
func TestEndSpilled(t *testing.T) {
	restore := func(filter string) *life {
		s, err := Restore(&Loaded{
			Record: Record{ID: 1, Connected: true, ExpirySeconds: 60}, Subscriptions: []Subscription{{Filter: filter}},
			Will: will("w", 0), FirstSeq: 4, NextSeq: 9,
		}, &simLimits)
		if err != nil {
			t.Fatal(err)
		}
		return &life{t, s}
	}
	l := restore("a")
	l.does("end", "soon ended", func(fx *Effects) { l.gone("w")(l.s.End(start, fx)) })

	l = restore("$share/g/a")
	l.does("end", "soon record:v0/0s/ends+0 -will remains:4", func(fx *Effects) {
		c := l.s.End(start, fx)
		l.check(c.Ended && c.Spilled && c.Will != nil, fmt.Sprintf("%+v", c))
	})
	l.does("handed on", "lazily remains:6", func(fx *Effects) { l.s.HandedOn(6, false, fx) })
	l.does("handed on", "lazily remains:9 ended", func(fx *Effects) { l.s.HandedOn(9, true, fx) })
}

// TestMerge: what events of one commit group change becomes one row for each key, and
// what comes and goes in it is not written.
func TestMerge(t *testing.T) {
	s := New(1, "c", "", true, &simLimits)
	var fx Effects
	merge := func(w *Writes, events ...func(*Effects)) *Writes {
		for _, event := range events {
			fx.Reset()
			event(&fx)
			w.Merge(fx.Rows)
		}
		return w
	}
	owe := func(o Owed) func(*Effects) { return func(fx *Effects) { s.Owe("a", o, fx) } }
	disown := func(fx *Effects) { s.Disown("a", fx) }
	sub := &Subscription{Filter: "a"}
	w := merge(new(Writes),
		func(fx *Effects) { s.Open(Opening{ExpirySeconds: 60, Will: will("w", 5)}, start, fx) },
		func(fx *Effects) { s.Subscribe(&Subscription{Filter: "b"}, fx) },
		func(fx *Effects) { s.Subscribe(sub, fx) },
		func(fx *Effects) { s.Unsubscribe("b", fx) },
		owe(Owed{UpTo: 9}), owe(Owed{3, 9}),
		func(fx *Effects) { s.Close(true, false, start, fx) },
	)
	if w.Record == nil || w.Record.Connected || !w.HasWill || w.Will != nil || len(w.Subscriptions) != 2 || w.Subscriptions["a"] != sub ||
		w.Subscriptions["b"] != nil || w.Owed["a"] != (Owed{3, 9}) || w.Ended {
		t.Errorf("%+v", w)
	}
	merge(w, disown)
	if len(w.Owed) != 0 {
		t.Errorf("owed, and not any more: %v", w.Owed)
	}
	merge(w, owe(Owed{4, 9}))
	w = merge(new(Writes), disown) // in another group
	if o, ok := w.Owed["a"]; !ok || o != (Owed{}) {
		t.Errorf("the removal of what is stored: %v", w.Owed)
	}
	if merge(w, owe(Owed{UpTo: 12}), disown); w.Owed["a"] != (Owed{}) || len(w.Owed) != 1 {
		t.Errorf("the removal of what is stored after another came and went: %v", w.Owed)
	}
	merge(w, func(fx *Effects) { s.HandedOn(5, false, fx) }, func(fx *Effects) { s.End(start, fx) })
	if !w.Ended || w.Floor != 5 || w.State == nil {
		t.Errorf("%+v", w)
	}
}

// TestEffectsReset: an Effects that is used again has nothing of the event before, and
// keeps memory for Rows only where many follow each other.
func TestEffectsReset(t *testing.T) {
	s := New(1, "c", "", true, &simLimits)
	var fx Effects
	s.Subscribe(&Subscription{Filter: "a"}, &fx)
	if fx.Reset(); fx.Rows != nil || fx.spare != nil {
		t.Errorf("%+v", fx)
	}
	var seen []*Rows
	for i := range uint64(3) {
		s.Owe("a", Owed{i, 9}, &fx)
		seen = append(seen, fx.Rows)
		if fx.Reset(); fx.Rows != nil {
			t.Errorf("%+v", fx.Rows)
		}
	}
	if len(slices.Compact(seen)) != 1 {
		t.Error("each event has memory of its own")
	}
	s.Subscribe(&Subscription{Filter: "b"}, &fx)
	if text := rowsText(&fx); text != "must sub:b/0" {
		t.Error(text)
	}
	s.Owe("b", Owed{0, 9}, &fx)
	fx.Reset()
	if n := testing.AllocsPerRun(100, func() { s.Owe("b", Owed{1, 9}, &fx); fx.Reset() }); n > 0 {
		t.Errorf("%v allocations for what is owed", n)
	}
}
