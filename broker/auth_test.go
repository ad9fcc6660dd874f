package broker_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/codec"
)

// A riddler has one Authentication Method, "riddle": it asks until it is answered "done
// USER". To "wait" it says nothing before it is given up or let go.
type riddler struct {
	authority
	waits  chan struct{}
	admits func(who *access.Identity) // may change who is let in; nil: nothing does
}

func (r riddler) Exchange(method string, _ *access.Attempt) access.Exchange {
	if method != "riddle" {
		return nil
	}
	return &riddle{riddler: r}
}

type riddle struct{ riddler }

func (r *riddle) Next(ctx context.Context, data []byte) ([]byte, *access.Identity, error) {
	user, done := bytes.CutPrefix(data, []byte("done "))
	switch {
	case done:
		who := &access.Identity{User: string(user), Method: access.BySCRAM}
		if r.admits != nil {
			r.admits(who)
		}
		return []byte("right"), who, nil
	case string(data) == "wrong":
		return nil, nil, &access.Refusal{Reason: codec.BadUserNameOrPassword, Cause: "test", Detail: "secret"}
	case string(data) == "down":
		return nil, nil, &access.Refusal{Reason: codec.ServerUnavailable, Cause: "test", Detail: "secret"}
	case string(data) == "wait":
		select {
		case <-ctx.Done():
			return nil, nil, &access.Refusal{Reason: codec.ServerUnavailable, Cause: "test", Detail: "secret"}
		case <-r.waits:
		}
	}
	return append([]byte("why "), data...), nil, nil
}

func withRiddles(o *broker.Options) { o.Authenticator = riddler{} }

// by gives a CONNECT an Authentication Method and data.
func by(method, data string, changes ...func(*codec.Connect)) func(*codec.Connect) {
	return func(c *codec.Connect) {
		c.HasAuthenticationMethod, c.AuthenticationMethod = true, codec.View(method)
		c.HasAuthenticationData, c.AuthenticationData = data != "", codec.View(data)
		for _, change := range changes {
			change(c)
		}
	}
}

// begin sends a CONNECT and waits for nothing.
func (p *peer) begin(id string, change func(*codec.Connect)) {
	p.t.Helper()
	c := codec.Connect{ClientID: codec.View(id), CleanStart: true, ReceiveMaximum: 65535, RequestProblemInformation: true}
	change(&c)
	p.write(codec.AppendConnect(nil, &c, p.v))
}

func (p *peer) auth(reason codec.ReasonCode, method, data string) {
	p.t.Helper()
	p.write(codec.AppendAuth(nil, &codec.Auth{
		Reason: reason, HasAuthenticationMethod: true, AuthenticationMethod: codec.View(method), HasAuthenticationData: true, AuthenticationData: codec.View(data),
	}, p.v))
}

// asked checks that the next packet is an AUTH.
func (p *peer) asked(reason codec.ReasonCode, data string) {
	p.t.Helper()
	var a codec.Auth
	p.expect(codec.TypeAuth, func(f codec.Frame) error { return a.Decode(f, p.v) })
	if a.Reason != reason || string(a.AuthenticationMethod) != "riddle" || string(a.AuthenticationData) != data {
		p.t.Errorf("AUTH %v by %q with %q, expected %v with %q", a.Reason, a.AuthenticationMethod, a.AuthenticationData, reason, data)
	}
}

// admitted checks that the next packet is a CONNACK that names the method.
func (p *peer) admitted() codec.Connack {
	p.t.Helper()
	var ack codec.Connack
	p.expect(codec.TypeConnack, func(f codec.Frame) error { return ack.Decode(f, p.v) })
	if ack.Reason != codec.Success || string(ack.AuthenticationMethod) != "riddle" || string(ack.AuthenticationData) != "right" {
		p.t.Fatalf("CONNACK %v by %q with %q", ack.Reason, ack.AuthenticationMethod, ack.AuthenticationData)
	}
	return ack
}

// riddled connects by the method, in three steps.
func (f *fixture) riddled(id, user string, changes ...func(*codec.Connect)) *peer {
	f.t.Helper()
	p := f.dialAs(codec.Version5)
	p.begin(id, by("riddle", "one", changes...))
	p.asked(codec.ContinueAuthentication, "why one")
	p.auth(codec.ContinueAuthentication, "riddle", "two")
	p.asked(codec.ContinueAuthentication, "why two")
	p.auth(codec.ContinueAuthentication, "riddle", "done "+user)
	p.admitted()
	return p
}

func TestEnhancedAuthentication(t *testing.T) { timeless(t, testEnhancedAuthentication) }

func testEnhancedAuthentication(t *testing.T) {
	f := newFixtureWith(t, withRiddles)
	p := f.riddled("c", "ann", func(c *codec.Connect) {
		c.HasWill, c.Will = true, codec.Will{Topic: codec.View("will"), Payload: codec.View("gone")}
	})
	watcher := f.riddled("w", "bob")
	watcher.subscribeOne("will", 0)
	p.drop()
	if got := watcher.receive(); string(got.Payload) != "gone" {
		t.Errorf("the Will of the CONNECT before AUTH is %q", got.Payload)
	}
	// The Session is ann's.
	_, ack := f.connectAs(codec.Version5, "c", as("eve"))
	if ack.Reason != codec.Success { // the Session of c ended with its connection
		t.Errorf("%v", ack.Reason)
	}
	one := f.dialAs(codec.Version5)
	one.begin("", by("riddle", "done ann"))
	if ack := one.admitted(); !ack.HasAssignedClientID {
		t.Error("no Client Identifier is assigned")
	}
}

// What ends an authentication before CONNACK, and how. Nothing else happens.
func TestEnhancedRefused(t *testing.T) { timeless(t, testEnhancedRefused) }

func testEnhancedRefused(t *testing.T) {
	f := newFixtureWith(t, withRiddles)
	owner := f.riddled("c", "ann")
	owner.subscribeOne("t", 0)
	publish, err := codec.AppendPublish(nil, &codec.Publish{Topic: codec.View("t"), Payload: codec.View("x")}, codec.Version5)
	if err != nil {
		t.Fatal(err)
	}
	for what, test := range map[string]struct {
		begin func(*codec.Connect)
		then  func(p *peer)
		want  codec.ReasonCode
	}{
		"an unknown method":      {by("SCRAM-SHA-1", "one"), nil, codec.BadAuthenticationMethod},
		"a wrong first answer":   {by("riddle", "wrong"), nil, codec.BadUserNameOrPassword},
		"a Server that is down":  {by("riddle", "down"), nil, codec.ServerUnavailable},
		"a wrong answer":         {by("riddle", "one"), func(p *peer) { p.auth(codec.ContinueAuthentication, "riddle", "wrong") }, codec.BadUserNameOrPassword},
		"another method":         {by("riddle", "one"), func(p *peer) { p.auth(codec.ContinueAuthentication, "Riddle", "done ann") }, codec.ProtocolError},
		"a re-authentication":    {by("riddle", "one"), func(p *peer) { p.auth(codec.ReAuthenticate, "riddle", "done ann") }, codec.ProtocolError},
		"success by the Client":  {by("riddle", "one"), func(p *peer) { p.auth(codec.Success, "riddle", "done ann") }, codec.ProtocolError},
		"PUBLISH":                {by("riddle", "one"), func(p *peer) { p.write(publish, nil) }, codec.ProtocolError},
		"PINGREQ":                {by("riddle", "one"), func(p *peer) { p.write([]byte{0xC0, 0}, nil) }, codec.ProtocolError},
		"a second CONNECT":       {by("riddle", "one"), func(p *peer) { p.begin("c", by("riddle", "done ann")) }, codec.ProtocolError},
		"no answer":              {by("riddle", "one"), func(*peer) {}, codec.NotAuthorized},
		"an exchange that waits": {by("riddle", "one"), func(p *peer) { p.auth(codec.ContinueAuthentication, "riddle", "wait") }, codec.ServerUnavailable},
		"too much data": {by("riddle", "one"), func(p *peer) {
			p.auth(codec.ContinueAuthentication, "riddle", strings.Repeat("a", 16<<10+1))
		}, codec.NotAuthorized},
		"many steps": {by("riddle", "one"), func(p *peer) {
			for range 7 {
				p.auth(codec.ContinueAuthentication, "riddle", "on")
				p.asked(codec.ContinueAuthentication, "why on")
			}
			p.auth(codec.ContinueAuthentication, "riddle", "done ann")
		}, codec.NotAuthorized},
		"an AUTH that the Client does not take": {by("riddle", strings.Repeat("a", 100), func(c *codec.Connect) { c.MaximumPacketSize = 50 }), nil, codec.PacketTooLarge},
		"DISCONNECT":                            {by("riddle", "one"), func(p *peer) { p.write([]byte{0xE0, 0}, nil) }, codec.Success},
	} {
		p := f.dialAs(codec.Version5)
		p.begin("c", test.begin)
		if test.then != nil {
			p.asked(codec.ContinueAuthentication, "why one")
			test.then(p)
		}
		began := time.Now()
		p.closed(test.want, what)
		if took := time.Since(began); took > broker.DefaultOptions().ConnectTimeout+time.Second {
			t.Errorf("%s: closed after %v", what, took)
		}
	}
	owner.quiet() // nobody has taken the Session, or published
	if f.journal.text() == "" || strings.Contains(f.journal.text(), "done ann") {
		t.Error("the log is empty, or has Authentication Data")
	}
	f.stop()
}

// Each step has the connect timeout to itself.
func TestEnhancedStepsHaveTime(t *testing.T) { timeless(t, testEnhancedStepsHaveTime) }

func testEnhancedStepsHaveTime(t *testing.T) {
	f := newFixtureWith(t, withRiddles)
	p := f.dialAs(codec.Version5)
	limit := broker.DefaultOptions().ConnectTimeout
	time.Sleep(limit - time.Millisecond)
	p.begin("c", by("riddle", "on", func(c *codec.Connect) { c.KeepAliveSeconds = 1 }))
	for range 3 {
		p.asked(codec.ContinueAuthentication, "why on")
		time.Sleep(limit - time.Millisecond)
		p.auth(codec.ContinueAuthentication, "riddle", "on")
	}
	p.asked(codec.ContinueAuthentication, "why on")
	p.auth(codec.ContinueAuthentication, "riddle", "done ann")
	p.admitted()
	p.closed(codec.KeepAliveTimeout)
}

func TestReauthentication(t *testing.T) { timeless(t, testReauthentication) }

func testReauthentication(t *testing.T) {
	waits := make(chan struct{})
	f := newFixtureWith(t, func(o *broker.Options) { o.Authenticator = riddler{waits: waits} })
	p := f.riddled("c", "ann")
	p.subscribeOne("t", 1)
	other := f.riddled("o", "bob")
	p.auth(codec.ReAuthenticate, "riddle", "one")
	p.asked(codec.ContinueAuthentication, "why one")
	// The connection goes on between the steps, and is written to during one.
	p.publish1(1, "other", "x")
	other.publish1(1, "t", "a")
	p.ack(codec.TypePuback, p.receive().PacketID)
	p.auth(codec.ContinueAuthentication, "riddle", "wait")
	synctest.Wait()
	other.publish1(2, "t", "b")
	if got := p.receive(); string(got.Payload) != "b" {
		t.Errorf("%q", got.Payload)
	}
	waits <- struct{}{}
	p.asked(codec.ContinueAuthentication, "why wait")
	p.auth(codec.ContinueAuthentication, "riddle", "done ann")
	p.asked(codec.Success, "right")
	p.publish1(2, "other", "y")

	for what, test := range map[string]struct {
		do   func(p *peer)
		want codec.ReasonCode
	}{
		"another method": {func(p *peer) { p.auth(codec.ReAuthenticate, "other", "done ann") }, codec.ProtocolError},
		"another user":   {func(p *peer) { p.auth(codec.ReAuthenticate, "riddle", "done eve") }, codec.NotAuthorized},
		"nobody":         {func(p *peer) { p.auth(codec.ReAuthenticate, "riddle", "done ") }, codec.NotAuthorized},
		"wrong":          {func(p *peer) { p.auth(codec.ReAuthenticate, "riddle", "wrong") }, codec.NotAuthorized},
		"down":           {func(p *peer) { p.auth(codec.ReAuthenticate, "riddle", "down") }, codec.NotAuthorized},
		"one that waits": {func(p *peer) { p.auth(codec.ReAuthenticate, "riddle", "wait") }, codec.NotAuthorized},
		"no exchange":    {func(p *peer) { p.auth(codec.ContinueAuthentication, "riddle", "done ann") }, codec.ProtocolError},
		"success":        {func(p *peer) { p.auth(codec.Success, "riddle", "done ann") }, codec.ProtocolError},
		"two at once": {func(p *peer) {
			p.auth(codec.ReAuthenticate, "riddle", "one")
			p.asked(codec.ContinueAuthentication, "why one")
			p.auth(codec.ReAuthenticate, "riddle", "done ann")
		}, codec.ProtocolError},
		"a flood": {func(p *peer) {
			for range 10 {
				p.auth(codec.ReAuthenticate, "riddle", "done ann")
				p.asked(codec.Success, "right")
			}
			p.auth(codec.ReAuthenticate, "riddle", "done ann")
		}, codec.MessageRateTooHigh},
	} {
		p := f.riddled("r", "ann")
		test.do(p)
		p.closed(test.want, what)
	}
	slow := f.riddled("slow", "ann")
	for range 30 {
		slow.auth(codec.ReAuthenticate, "riddle", "done ann")
		slow.asked(codec.Success, "right")
		time.Sleep(time.Second)
	}
	without := f.connectV5("without", as("ann"))
	without.auth(codec.ReAuthenticate, "riddle", "done ann")
	without.closed(codec.ProtocolError)
	f.stop()
}

// A re-authentication is by a new Identity: it lasts as long as that, and may do what that
// may.
func TestReauthenticationIdentity(t *testing.T) { timeless(t, testReauthenticationIdentity) }

func testReauthenticationIdentity(t *testing.T) {
	var until time.Time
	denied := ""
	f := newFixtureWith(t, func(o *broker.Options) {
		o.Authenticator = riddler{admits: func(who *access.Identity) {
			who.Until = until
			if denied != "" {
				who.Rules = []access.Rule{
					{Deny: true, Actions: access.Publish | access.Receive, Filter: denied},
					{Actions: access.Publish | access.Receive | access.Subscribe, Filter: "#", MaxQoS: 2},
				}
			}
		}}
	})
	again := func(p *peer) {
		t.Helper()
		p.auth(codec.ReAuthenticate, "riddle", "done ann")
		p.asked(codec.Success, "right")
	}
	until = time.Now().Add(10 * time.Second)
	p, short := f.riddled("c", "ann"), f.riddled("short", "ann")
	until = time.Now().Add(20 * time.Second)
	again(p)
	time.Sleep(11 * time.Second)
	short.closed(codec.MaximumConnectTime)
	for id := range uint16(3) { // the route is remembered
		if reason := p.publish1(id+1, "a", "x"); reason >= 0x80 {
			t.Fatalf("%v", reason)
		}
	}
	p.subscribeOne("r/+", 0)
	other := f.riddled("other", "bob")
	denied, until = "a", time.Time{}
	again(p)
	if reason := p.publish1(4, "a", "x"); reason != codec.NotAuthorized {
		t.Errorf("a publication that the new Identity may not make: %v", reason)
	}
	denied = "r/1"
	again(p)
	other.publish1(1, "r/1", "x")
	other.publish1(2, "r/2", "x")
	if got := p.receive(); string(got.Topic) != "r/2" {
		t.Errorf("a message to %s that the new Identity may not receive", got.Topic)
	}
	time.Sleep(time.Hour) // its Identity has no end any more
	if reason := p.publish1(6, "a", "y"); reason >= 0x80 {
		t.Errorf("%v", reason)
	}
	f.stop()
}
