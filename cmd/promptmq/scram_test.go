package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/login"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/store"
)

// withSCRAMUser starts a server that has a user with keys for SCRAM.
func withSCRAMUser(t *testing.T, name, password string) *server {
	t.Helper()
	s := start(t, "")
	s.stop()
	keys, err := access.NewSCRAMKeys([]byte(password), []byte("0123456789abcdef"), access.SCRAMIterations)
	if err != nil {
		t.Fatal(err)
	}
	o := store.DefaultOptions()
	o.DataDir = s.dataDir()
	db, err := store.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	hash := access.NewHash([]byte(password), []byte("0123456789abcdef")[:access.SaltBytes])
	if err := errors.Join(db.PutUser(&store.User{Name: name, Hash: hash.String(), Scram: keys.String()}), db.Close()); err != nil {
		t.Fatal(err)
	}
	s.restart()
	return s
}

// A prover is a Client that speaks SCRAM.
type prover struct {
	*raw
	client *scram.Client
	c      *scram.ClientConversation
}

func (s *server) prover(user, password string) *prover {
	s.t.Helper()
	p := &prover{raw: dialRaw(s.t, s.mqtt, codec.Version5)}
	p.begin(user, password)
	p.send(codec.AppendConnect(nil, &codec.Connect{
		ClientID: codec.View("c" + user), CleanStart: true, ReceiveMaximum: 65535, RequestProblemInformation: true,
		HasAuthenticationMethod: true, AuthenticationMethod: codec.View(login.SCRAMSHA256), HasAuthenticationData: true, AuthenticationData: codec.View(p.say("")),
	}, codec.Version5))
	return p
}

// begin is the first conversation; renew the next, for which the keys are made already.
func (p *prover) begin(user, password string) {
	p.t.Helper()
	var err error
	if p.client, err = scram.SHA256.NewClient(user, password, ""); err != nil {
		p.t.Fatal(err)
	}
	p.renew()
}

func (p *prover) renew() { p.c = p.client.NewConversation() }

// renewUntilLimited authenticates again and again, and returns how often it could.
func (p *prover) renewUntilLimited() (n int) {
	p.t.Helper()
	for ; n < 1000; n++ {
		p.renew()
		p.auth(codec.ReAuthenticate, p.say(""))
		f, err := p.next()
		if err != nil {
			p.t.Fatal(err)
		}
		var a codec.Auth
		if f.Type() != codec.TypeAuth {
			var d codec.Disconnect
			if err := d.Decode(f, codec.Version5); err != nil || d.Reason != codec.MessageRateTooHigh {
				p.t.Errorf("%v: %v %v", f.Type(), d.Reason, err)
			}
			return n
		}
		if err := a.Decode(f, codec.Version5); err != nil {
			p.t.Fatal(err)
		}
		p.auth(codec.ContinueAuthentication, p.say(string(a.AuthenticationData)))
		p.say(p.heard())
	}
	p.t.Errorf("%d times, and there is no limit", n)
	return n
}

func (p *prover) say(heard string) string {
	p.t.Helper()
	said, err := p.c.Step(heard)
	if err != nil {
		p.t.Fatal(err)
	}
	return said
}

func (p *prover) auth(reason codec.ReasonCode, data string) {
	p.t.Helper()
	p.send(codec.AppendAuth(nil, &codec.Auth{
		Reason: reason, HasAuthenticationMethod: true, AuthenticationMethod: codec.View(login.SCRAMSHA256), HasAuthenticationData: true, AuthenticationData: codec.View(data),
	}, codec.Version5))
}

// heard is the Authentication Data of the AUTH that comes next.
func (p *prover) heard() (data string) {
	p.t.Helper()
	p.expect(codec.TypeAuth, func(f codec.Frame) error {
		var a codec.Auth
		err := a.Decode(f, codec.Version5)
		data = string(a.AuthenticationData)
		return err
	})
	return data
}

// prove goes on until CONNACK.
func (p *prover) prove() (reason codec.ReasonCode) {
	p.t.Helper()
	p.auth(codec.ContinueAuthentication, p.say(p.heard()))
	p.expect(codec.TypeConnack, func(f codec.Frame) error {
		var ack codec.Connack
		err := ack.Decode(f, codec.Version5)
		if reason = ack.Reason; reason == codec.Success {
			p.say(string(ack.AuthenticationData)) // fails if the server has not proved anything
		}
		return err
	})
	return reason
}

// TestSCRAMBackoff: wrong proofs through the binary make their user wait, who is then refused
// before anything is told to make the next one for. TestSCRAMBackoff in package login has the
// times.
func TestSCRAMBackoff(t *testing.T) {
	t.Parallel()
	s := withSCRAMUser(t, "ann", "canary password")
	failures := 0
	for !s.refusedAtOnce() { // each wait is twice as long: in the end this machine is fast enough
		if failures++; failures > 8 {
			t.Fatal("nothing but wrong proofs, and no wait")
		}
	}
	if n := s.metric(`promptmq_logins_refused_total{cause="back-off"}`); n != 1 || failures < 3 {
		t.Errorf("%v are counted, after %d failures", n, failures)
	}
	eventually(t, "the wait is over", func() bool { return s.loginAs(codec.Version5, "ann", "canary password") == codec.Success })
	if reason := s.prover("ann", "canary password").prove(); reason != codec.Success {
		t.Errorf("after the wait: %v", reason)
	}
}

// refusedAtOnce reports whether ann is refused before a proof; else she shows a wrong one.
func (s *server) refusedAtOnce() bool {
	s.t.Helper()
	p := s.prover("ann", "canary wrong")
	f, err := p.next()
	if err != nil {
		s.t.Fatal(err)
	}
	if f.Type() == codec.TypeAuth {
		var a codec.Auth
		if err := a.Decode(f, codec.Version5); err != nil {
			s.t.Fatal(err)
		}
		p.auth(codec.ContinueAuthentication, p.say(string(a.AuthenticationData)))
		p.expect(codec.TypeConnack, func(f codec.Frame) error {
			var ack codec.Connack
			err := ack.Decode(f, codec.Version5)
			if ack.Reason != codec.NotAuthorized {
				s.t.Errorf("a wrong proof: %v", ack.Reason)
			}
			return err
		})
		return false
	}
	var ack codec.Connack
	if err := ack.Decode(f, codec.Version5); err != nil || ack.Reason != codec.ConnectionRateExceeded || ack.HasAuthenticationData {
		s.t.Errorf("while ann has to wait: %v, %q, %v", ack.Reason, ack.AuthenticationData, err)
	}
	return true
}

// Enhanced authentication through the binary, and what somebody can do who means harm. The
// suite of conformance has what the specification says.
func TestSCRAM(t *testing.T) {
	t.Parallel()
	s := withSCRAMUser(t, "ann", "canary password")
	again := s.prover("ann", "canary password")
	if reason := again.prove(); reason != codec.Success {
		t.Fatalf("the right password: %v", reason)
	}
	for what, user := range map[string]string{"a wrong password": "ann", "a user that is not there": "bob"} {
		if reason := s.prover(user, "canary wrong").prove(); reason != codec.NotAuthorized {
			t.Errorf("%s: %v", what, reason)
		}
	}
	first := strings.Split(s.prover("bob", "x").heard(), ",")[1]
	s.stop()
	s.restart()
	if after := strings.Split(s.prover("bob", "x").heard(), ",")[1]; after != first {
		t.Errorf("the salt of a user that is not there was %s before a restart, and is %s", first, after)
	}

	large := s.prover("ann", "canary password")
	large.heard()
	large.auth(codec.ContinueAuthentication, strings.Repeat("a", 65535))
	large.closed(codec.NotAuthorized)
	stale := s.prover("ann", "canary password")
	stale.heard()
	stale.auth(codec.ContinueAuthentication, "n,,n=ann,r=abc")
	stale.closed(codec.NotAuthorized)
	flood := s.prover("ann", "canary password")
	if reason := flood.prove(); reason != codec.Success {
		t.Fatalf("%v", reason)
	}
	renewed := flood.renewUntilLimited()
	if renewed < 10 {
		t.Errorf("limited after %d, not after 10 that come at once", renewed)
	}
	for name, want := range map[string]float64{
		`promptmq_logins_accepted_total{method="scram"}`:                 float64(1 + renewed),
		`promptmq_connections_refused_total{reason="Not authorized"}`:    2,
		`promptmq_protocol_errors_total{reason="Message rate too high"}`: 1,
		`promptmq_logins_refused_total{cause="bad-password"}`:            1,
	} {
		if n := s.metric(name); n != want {
			t.Errorf("%s is %v, not %v", name, n, want)
		}
	}
	for _, r := range s.log() {
		if text := r.text("why") + r.text("detail"); strings.Contains(text, "canary") || strings.Contains(text, "p=") {
			t.Errorf("the log says %v", r)
		}
	}
}
