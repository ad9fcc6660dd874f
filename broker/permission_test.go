package broker_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/codec"
)

// may makes a Policy that allows all to the users, and to others nothing.
func may(users ...string) *access.Policy {
	rules := []access.Rule{{User: "no such user", Actions: access.Publish, Filter: "no"}}
	for _, u := range users {
		rules = append(rules, access.Rule{User: u, Actions: access.Publish | access.Receive | access.Subscribe, Filter: "#", MaxQoS: 2})
	}
	return access.NewPolicy(rules)
}

// TestDeniedPublish: a v5 Client is told, one of 3.1.1 is answered as always, nobody loses the
// connection, nothing comes of the message, and each is counted.
func TestDeniedPublish(t *testing.T) { timeless(t, testDeniedPublish) }

func testDeniedPublish(t *testing.T) {
	f := newFixtureWith(t, withUsers)
	watcher := f.connectV5("watcher", as("watcher"))
	watcher.subscribeOne("#", 2)
	f.b.SetPolicy(may("watcher"))
	for v, want := range map[codec.Version]codec.ReasonCode{codec.Version5: codec.NotAuthorized, codec.Version311: codec.Success} {
		p, _ := f.connectAs(v, "c", as("anna"))
		for range 3 { // the second and third time by what is remembered, if it were
			p.publish(0, 0, "t", "x")
			if got := p.publish1(1, "t", "x"); got != want {
				t.Errorf("%v: PUBACK %v, expected %v", v, got, want)
			}
			if got := p.publish2(2, "t", "x", false); got != want {
				t.Errorf("%v: PUBREC %v, expected %v", v, got, want)
			}
			if v == codec.Version311 {
				p.release(2)
			}
			p.sendPublish(codec.Publish{Topic: codec.View("t"), Payload: codec.View("x"), Retain: true})
		}
		if got := p.subscribeOne("t", 1); got != map[codec.Version]codec.ReasonCode{codec.Version5: 0x87, codec.Version311: 0x80}[v] {
			t.Errorf("%v: SUBACK %v", v, got)
		}
		p.quiet()
	}
	watcher.quiet()
	if n := f.metric(`promptmq_messages_refused_total{reason="Not authorized"}`); n != 24 {
		t.Errorf("%v were counted, expected 24", n)
	}
	if n := f.metric("promptmq_retained_messages"); n != 0 {
		t.Errorf("%v are retained", n)
	}
}

// TestRevokedBeforePubrel: a QoS 2 message was published with PUBLISH: what is denied after
// that releases its Packet Identifier and publishes nothing again.
func TestRevokedBeforePubrel(t *testing.T) { timeless(t, testRevokedBeforePubrel) }

func testRevokedBeforePubrel(t *testing.T) {
	f := newFixtureWith(t, withUsers)
	watcher := f.connectV5("watcher", as("watcher"))
	watcher.subscribeOne("t", 0)
	p := f.connectV5("c", as("anna", lasting))
	if got := p.publish2(1, "t", "first", false); got != codec.Success {
		t.Fatal(got)
	}
	watcher.receive()
	p.drop()
	f.b.SetPolicy(may("watcher"))
	p = f.connectV5("c", as("anna", resumed))
	if got := p.publish2(1, "t", "first", true); got != codec.Success { // it has come before
		t.Errorf("PUBREC %v for what was accepted", got)
	}
	if got := p.publish2(2, "t", "second", false); got != codec.NotAuthorized {
		t.Errorf("PUBREC %v", got)
	}
	p.release(1)
	f.b.SetPolicy(nil)
	for id := range uint16(2) { // both identifiers are free
		if got := p.publish2(1+id, "t", "third", false); got != codec.Success {
			t.Errorf("PUBREC %v", got)
		}
		watcher.receive()
	}
	watcher.quiet()
}

// TestIdentityEnds: the connection ends with the Identity, and its Will is published.
func TestIdentityEnds(t *testing.T) { timeless(t, testIdentityEnds) }

func testIdentityEnds(t *testing.T) {
	f := newFixtureWith(t, func(o *broker.Options) {
		o.Authenticator = authority{func(_ context.Context, a *access.Attempt) (*access.Identity, error) {
			id := &access.Identity{User: a.User, Method: access.ByToken}
			if a.User == "token" {
				id.Until = time.Now().Add(time.Minute)
			}
			return id, nil
		}}
	})
	watcher := f.connectV5("watcher", as("other"))
	watcher.subscribeOne("will", 0)
	p := f.connectV5("c", as("token", func(c *codec.Connect) { c.HasWill, c.Will.Topic = true, codec.View("will") }))
	time.Sleep(59 * time.Second)
	p.quiet()
	began := time.Now()
	p.closed(codec.MaximumConnectTime)
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("closed after %v more", d)
	}
	watcher.receive()
	p = f.connectV5("c", as("token")) // and leaves before the end
	p.leave(nil)
	time.Sleep(2 * time.Minute)
	if n := f.metric(`promptmq_identities_ended_total{reason="Maximum connect time"}`); n != 1 {
		t.Errorf("%v identities ended", n)
	}
}

// TestRevoke: the connections of a user end, also one whose CONNECT was authenticated before
// and is under way; others stay.
func TestRevoke(t *testing.T) { timeless(t, testRevoke) }

func testRevoke(t *testing.T) {
	f := newFixtureWith(t, withUsers)
	first, second := f.connectV5("1", as("anna")), f.connectV5("2", as("anna", lasting))
	other := f.connectV5("3", as("ben"))
	answered := make(chan struct{})
	f.b.SetAuthenticator(authority{func(context.Context, *access.Attempt) (*access.Identity, error) {
		<-answered
		return &access.Identity{User: "anna", Method: access.ByPassword}, nil
	}})
	late := f.dialAs(codec.Version5)
	late.sendConnect("2")
	synctest.Wait()
	if n := f.b.Revoke("anna"); n != 2 {
		t.Errorf("%d connections ended, expected 2", n)
	}
	first.closed(codec.NotAuthorized)
	second.closed(codec.NotAuthorized)
	close(answered)
	late.closed(codec.NotAuthorized)
	other.quiet()
	f.b.SetAuthenticator(authority{})
	f.connectV5("2", as("anna", resumed)) // who is let in afterwards is
}

// TestOwnRules: the rules of an Identity hold also while there is no Policy, and after one was
// taken away.
func TestOwnRules(t *testing.T) { timeless(t, testOwnRules) }

func testOwnRules(t *testing.T) {
	f := newFixtureWith(t, func(o *broker.Options) {
		o.Authenticator = authority{func(_ context.Context, a *access.Attempt) (*access.Identity, error) {
			return &access.Identity{User: a.User, Method: access.ByToken, Rules: []access.Rule{{Actions: access.Publish, Filter: "mine", MaxQoS: 1}}}, nil
		}}
	})
	p := f.connectV5("c", as("token"))
	for _, change := range []func(){func() {}, func() { f.b.SetPolicy(may("other")) }, func() { f.b.SetPolicy(nil) }} {
		change()
		for topic, want := range map[string]codec.ReasonCode{"mine": codec.Success, "other": codec.NotAuthorized} {
			if got := p.publish1(1, topic, "x"); got != want {
				t.Errorf("PUBACK %v for %q, expected %v", got, topic, want)
			}
		}
	}
}
