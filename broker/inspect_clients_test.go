package broker_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/codec"
)

// listed returns all Clients that the filter lets through, in one part.
func (f *fixture) listed(filter inspect.ClientFilter) []inspect.Client {
	f.t.Helper()
	page, err := f.b.Clients(f.t.Context(), filter, inspect.Window{Limit: 1000})
	if err != nil || page.Next != "" || page.Total != len(page.Items) {
		f.t.Fatalf("%d of %d clients, next %q, %v", len(page.Items), page.Total, page.Next, err)
	}
	return page.Items
}

// paged returns the identifiers of all of them, gathered part by part.
func (f *fixture) paged(rng *rand.Rand, filter inspect.ClientFilter) (ids []string) {
	f.t.Helper()
	for cursor := ""; ; {
		limit := 1 + rng.IntN(9)
		page, err := f.b.Clients(f.t.Context(), filter, inspect.Window{Cursor: cursor, Limit: limit})
		if err != nil || len(page.Items) > limit || len(page.Items) < limit && page.Next != "" {
			f.t.Fatalf("%d clients, at most %d; next %q, %v", len(page.Items), limit, page.Next, err)
		}
		for _, row := range page.Items {
			ids = append(ids, row.ID)
		}
		if cursor = page.Next; cursor == "" {
			return ids
		}
	}
}

// TestClientsPaged compares the list of Clients, by each column, with a plain sort of all of
// it; its parts have random sizes.
func TestClientsPaged(t *testing.T) { timeless(t, testClientsPaged) }

func testClientsPaged(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	f := newFixtureWith(t, withUsers)
	for i := range 70 {
		version := []codec.Version{codec.Version31, codec.Version311, codec.Version5}[rng.IntN(3)]
		p, _ := f.connectAs(version, fmt.Sprintf("Client %d", rng.IntN(1000)+1000*i), func(c *codec.Connect) {
			as([]string{"anna", "bob", "carl"}[rng.IntN(3)])(c)
			c.KeepAliveSeconds = uint16(rng.IntN(3) * 60)
			c.CleanStart = rng.IntN(2) == 0
			c.HasSessionExpiry, c.SessionExpirySeconds = true, []uint32{0, 60, 3600}[rng.IntN(3)]
			if c.HasWill = rng.IntN(3) == 0; c.HasWill {
				c.Will.Topic = codec.View("will")
			}
		})
		for n := range rng.IntN(4) {
			p.subscribeOne(fmt.Sprintf("t/%d", n), 1)
		}
		if rng.IntN(3) == 0 {
			p.drop()
		}
		time.Sleep(time.Duration(rng.IntN(2000)) * time.Millisecond)
	}
	publisher := f.connectV5("publisher", as("anna"))
	for i := range 20 {
		publisher.publish1(1, fmt.Sprintf("t/%d", rng.IntN(3)), strings.Repeat("x", i))
	}
	synctest.Wait()
	all := f.listed(inspect.ClientFilter{})
	if len(all) < 40 {
		t.Fatalf("only %d clients", len(all))
	}
	fields := reflect.VisibleFields(reflect.TypeFor[inspect.Client]())
	for _, field := range fields {
		column, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		for _, descending := range []bool{false, true} {
			want := slices.SortedFunc(slices.Values(all), func(a, b inspect.Client) int {
				order := cmp.Or(compareValues(reflect.ValueOf(a).FieldByIndex(field.Index), reflect.ValueOf(b).FieldByIndex(field.Index)), strings.Compare(a.ID, b.ID))
				if descending {
					return -order
				}
				return order
			})
			var ids []string
			for _, row := range want {
				ids = append(ids, row.ID)
			}
			if got := f.paged(rng, inspect.ClientFilter{Sort: column, Descending: descending}); !slices.Equal(got, ids) {
				t.Errorf("by %s, descending %v:\n%q, expected\n%q", column, descending, got, ids)
			}
		}
	}
}

// compareValues orders what a column may have.
func compareValues(a, b reflect.Value) int {
	switch {
	case a.CanInt():
		return cmp.Compare(a.Int(), b.Int())
	case a.CanUint():
		return cmp.Compare(a.Uint(), b.Uint())
	case a.Kind() == reflect.String:
		return strings.Compare(a.String(), b.String())
	case a.Kind() == reflect.Bool:
		return cmp.Compare(fmt.Sprint(a.Bool()), fmt.Sprint(b.Bool()))
	}
	return a.Interface().(time.Time).Compare(b.Interface().(time.Time))
}

// TestClientsFiltered: each filter lets through what it says, and a search finds parts of
// identifiers and users in upper and lower case.
func TestClientsFiltered(t *testing.T) { timeless(t, testClientsFiltered) }

func testClientsFiltered(t *testing.T) {
	f := newFixtureWith(t, withUsers)
	f.connectV5("Pump-1", as("anna"))
	gone := f.connectV5("pump-2", func(c *codec.Connect) { as("Bob")(c); lasting(c) })
	gone.drop()
	f.connectV5("valve", func(c *codec.Connect) { as("anna")(c); lasting(c) })
	time.Sleep(time.Minute)
	yes, no := true, false
	for name, test := range map[string]struct {
		filter inspect.ClientFilter
		want   []string
	}{
		"all":              {inspect.ClientFilter{}, []string{"Pump-1", "pump-2", "valve"}},
		"search":           {inspect.ClientFilter{Search: "PUMP"}, []string{"Pump-1", "pump-2"}},
		"search of a user": {inspect.ClientFilter{Search: "boB"}, []string{"pump-2"}},
		"user":             {inspect.ClientFilter{User: "anna"}, []string{"Pump-1", "valve"}},
		"user, exactly":    {inspect.ClientFilter{User: "bob"}, nil},
		"connected":        {inspect.ClientFilter{Connected: &yes}, []string{"Pump-1", "valve"}},
		"not connected":    {inspect.ClientFilter{Connected: &no}, []string{"pump-2"}},
		"durable":          {inspect.ClientFilter{Durable: &yes}, []string{"pump-2", "valve"}},
		"not durable":      {inspect.ClientFilter{Durable: &no}, []string{"Pump-1"}},
		"listener":         {inspect.ClientFilter{Listener: "none"}, []string{"Pump-1", "valve"}},
		"idle":             {inspect.ClientFilter{IdleFor: time.Minute}, []string{"pump-2"}},
		"not idle so long": {inspect.ClientFilter{IdleFor: 2 * time.Minute}, nil},
		"descending":       {inspect.ClientFilter{Descending: true}, []string{"valve", "pump-2", "Pump-1"}},
	} {
		var got []string
		for _, row := range f.listed(test.filter) {
			got = append(got, row.ID)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, expected %q", name, got, test.want)
		}
	}
}

// TestClientsRefuses: a cursor of another list, or none at all, and a column that is not
// there, are errors; who no longer waits is told.
func TestClientsRefuses(t *testing.T) { timeless(t, testClientsRefuses) }

func testClientsRefuses(t *testing.T) {
	f := newFixtureWith(t)
	for i := range 3 {
		f.connectV5(fmt.Sprint(i), nil)
	}
	page, err := f.b.Clients(t.Context(), inspect.ClientFilter{}, inspect.Window{Limit: 1})
	if err != nil || page.Next == "" {
		t.Fatalf("next %q, %v", page.Next, err)
	}
	for _, filter := range []inspect.ClientFilter{{Sort: "user"}, {Descending: true}} {
		if _, err := f.b.Clients(t.Context(), filter, inspect.Window{Cursor: page.Next}); !errors.Is(err, inspect.ErrBadCursor) {
			t.Errorf("%+v with the cursor of another order: %v", filter, err)
		}
	}
	if _, err := f.b.Subscriptions(t.Context(), inspect.SubscriptionFilter{}, inspect.Window{Cursor: page.Next}); !errors.Is(err, inspect.ErrBadCursor) {
		t.Errorf("subscriptions with a cursor of clients: %v", err)
	}
	for _, cursor := range []string{"?", "AAAA", page.Next[1:], page.Next[:len(page.Next)-2], page.Next + "AA"} {
		if _, err := f.b.Clients(t.Context(), inspect.ClientFilter{}, inspect.Window{Cursor: cursor}); !errors.Is(err, inspect.ErrBadCursor) {
			t.Errorf("the cursor %q: %v", cursor, err)
		}
	}
	var invalid *inspect.Invalid
	if _, err := f.b.Clients(t.Context(), inspect.ClientFilter{Sort: "password"}, inspect.Window{}); !errors.As(err, &invalid) || invalid.Field != "sort" {
		t.Errorf("sorted by what is not there: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.b.Clients(ctx, inspect.ClientFilter{}, inspect.Window{}); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits: %v", err)
	}
}

// TestClientDetail shows what is known of a Client, connected and not.
func TestClientDetail(t *testing.T) { timeless(t, testClientDetail) }

func testClientDetail(t *testing.T) {
	f := newFixtureWith(t, withUsers)
	if _, err := f.b.Client("c"); !errors.Is(err, inspect.ErrNotFound) {
		t.Errorf("of nobody: %v", err)
	}
	p := f.connectV5("c", func(c *codec.Connect) {
		as("anna")(c)
		lasting(c)
		c.KeepAliveSeconds, c.ReceiveMaximum, c.MaximumPacketSize = 30, 2, 1000
		c.HasWill, c.Will.Topic = true, codec.View("gone")
	})
	p.subscribed(codec.Subscription{Filter: codec.View("b"), QoS: 2, NoLocal: true}, codec.Subscription{Filter: codec.View("a"), QoS: 1, RetainHandling: 2})
	other := f.connectV5("other", as("bob"))
	for i := range 5 {
		other.publish1(uint16(i+1), "a", "12345")
	}
	d, err := f.b.Client("c")
	if err != nil {
		t.Fatal(err)
	}
	if !d.Connected || d.User != "anna" || d.Protocol != "5.0" || d.KeepAlive != 30 || !d.Durable || d.ExpiryInterval != 3600 ||
		!d.ExpiresAt.IsZero() || d.ReceiveMaximum != 2 || d.PacketBytesMax != 1000 || d.WillTopic != "gone" || !d.HasWill {
		t.Errorf("%+v", d)
	}
	if d.Queued != 5 || d.InFlight != 2 || d.QueuedBytes < 25 {
		t.Errorf("%d queued with %d bytes, %d in flight", d.Queued, d.QueuedBytes, d.InFlight)
	}
	want := []inspect.Subscription{{Client: "c", Filter: "a", QoS: 1, RetainHandling: 2}, {Client: "c", Filter: "b", QoS: 2, NoLocal: true}}
	if !slices.Equal(d.Subscribed, want) {
		t.Errorf("%+v, expected %+v", d.Subscribed, want)
	}
	p.drop()
	d, err = f.b.Client("c")
	if err != nil {
		t.Fatal(err)
	}
	if in := time.Until(d.ExpiresAt); d.Connected || d.User != "anna" || d.Address != "" || d.InFlight != 0 || d.Queued != 5 || in < time.Hour-time.Second || in > time.Hour+time.Second {
		t.Errorf("not connected: %+v", d)
	}
	if text, err := json.Marshal(d); err != nil || strings.Contains(string(text), "null") {
		t.Errorf("%s, %v", text, err)
	}
}

// TestAdministrativeDisconnect: a Client of version 5 is told why, its Will is published, and
// its Session stays.
func TestAdministrativeDisconnect(t *testing.T) { timeless(t, testAdministrativeDisconnect) }

func testAdministrativeDisconnect(t *testing.T) {
	f := newFixtureWith(t)
	watcher := f.connectV5("watcher", nil)
	watcher.subscribeOne("gone/#", 1)
	if err := f.b.Disconnect("nobody", ""); !errors.Is(err, inspect.ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
	for _, v := range []codec.Version{codec.Version5, codec.Version311} {
		id := "c" + v.String()
		p, _ := f.connectAs(v, id, func(c *codec.Connect) {
			lasting(c)
			c.CleanStart = v == codec.Version5
			c.HasWill, c.Will.Topic = true, codec.View("gone/"+id)
		})
		if err := f.b.Disconnect(id, "maintenance"); err != nil {
			t.Fatal(err)
		}
		var d codec.Disconnect
		if v == codec.Version5 {
			p.expect(codec.TypeDisconnect, func(f codec.Frame) error { return d.Decode(f, v) })
			if d.Reason != codec.AdministrativeAction || string(d.ReasonString) != "maintenance" {
				t.Errorf("DISCONNECT %v %q", d.Reason, d.ReasonString)
			}
		}
		p.closed(codec.Success)
		if m := watcher.receive(); string(m.Topic) != "gone/"+id {
			t.Errorf("the Will is %q", m.Topic)
		}
		if d, err := f.b.Client(id); err != nil || d.Connected {
			t.Errorf("%+v, %v: the Session is to stay", d, err)
		}
		if err := f.b.Disconnect(id, ""); !errors.Is(err, inspect.ErrNotConnected) {
			t.Errorf("who is not connected: %v", err)
		}
	}
}

// EachClient has the Clients that the list has, with the same rows, each once.
func TestEachClient(t *testing.T) {
	timeless(t, func(t *testing.T) {
		f := newFixtureWith(t)
		for i := range 5 {
			f.connectV5(fmt.Sprint("c", i), lasting)
		}
		page, err := f.b.Clients(context.Background(), inspect.ClientFilter{}, inspect.Window{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		rows := make(map[string]inspect.Client)
		if err := f.b.EachClient(context.Background(), func(c *inspect.Client) {
			if _, twice := rows[c.ID]; twice {
				t.Errorf("%s twice", c.ID)
			}
			rows[c.ID] = *c
		}); err != nil {
			t.Fatal(err)
		}
		for _, c := range page.Items {
			if rows[c.ID] != c {
				t.Errorf("%+v, expected %+v", rows[c.ID], c)
			}
		}
		if len(rows) != 5 {
			t.Errorf("%d rows", len(rows))
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := f.b.EachClient(ctx, func(*inspect.Client) { t.Error("called") }); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
