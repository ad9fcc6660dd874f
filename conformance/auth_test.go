package conformance

import (
	"crypto/rand"
	"errors"
	"os"

	"github.com/xdg-go/scram"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/store"
)

// Enhanced authentication: section 4.12. An Authentication Method, and a user, are agreed on
// outside of MQTT, so these tests start a PromptMQ that has one.

const (
	scramMethod   = "SCRAM-SHA-256"
	scramUser     = "conformance"
	scramPassword = "correct horse"
)

var authTests = []test{
	{"auth/scram", "4.12.0-2 4.12.0-5", "", func(t *T) {
		t.withUser()
		p := t.dial()
		p.scram(scramPassword)
		topic := t.topic()
		p.subscribe(sub(topic, 1))
		p.publish(topic, "in", 1)
		p.expect("in")
	}},
	{"auth/wrong-password", "4.12.0-4", "", func(t *T) {
		t.withUser()
		p := t.dial()
		c := p.beginScram("wrong horse")
		p.proceed(c)
		p.closed(codec.NotAuthorized, codec.BadUserNameOrPassword)
	}},
	{"auth/another-method", "4.12.0-4", "", func(t *T) {
		t.withUser()
		p := t.dial()
		c := p.beginScram(scramPassword)
		p.sendAuth(codec.ContinueAuthentication, "SCRAM-SHA-1", p.answer(c, p.await(codec.TypeAuth).auth.AuthenticationData))
		p.closed()
	}},
	{"auth/other-packet-before-connack", "4.12.0-4", "", func(t *T) {
		t.withUser()
		p := t.dial()
		p.beginScram(scramPassword)
		p.await(codec.TypeAuth)
		p.publishOnly(t.topic(), "too early", 0)
		p.closed()
	}},
	{"auth/reauthentication", "4.12.0-2 4.12.0-5", "", func(t *T) {
		t.withUser()
		p := t.dial()
		p.scram(scramPassword)
		topic := t.topic()
		p.subscribe(sub(topic, 1))
		other := t.connect()
		for range 3 {
			c := newScram(t, scramPassword)
			p.sendAuth(codec.ReAuthenticate, scramMethod, p.answer(c, nil))
			asked := p.await(codec.TypeAuth)
			other.publish(topic, "meanwhile", 1)
			p.expect("meanwhile") // the connection goes on
			if asked.auth.Reason != codec.ContinueAuthentication {
				t.Fatalf("%v is answered to a re-authentication", asked.auth.Reason)
			}
			p.sendAuth(codec.ContinueAuthentication, scramMethod, p.answer(c, asked.auth.AuthenticationData))
			done := p.await(codec.TypeAuth)
			if done.auth.Reason != codec.Success {
				t.Fatalf("a right proof is answered with %v", done.auth.Reason)
			}
			p.answer(c, done.auth.AuthenticationData)
		}
	}},
	{"auth/reauthentication-fails", "4.12.1-2", "", func(t *T) {
		t.withUser()
		p := t.dial()
		p.scram(scramPassword)
		c := newScram(t, "wrong horse")
		p.sendAuth(codec.ReAuthenticate, scramMethod, p.answer(c, nil))
		p.proceed(c)
		p.closed(codec.NotAuthorized)
		q := t.dial()
		q.scram(scramPassword)
		q.sendAuth(codec.ReAuthenticate, "another method", []byte("x"))
		q.closed()
	}},
	{"auth/small-packets", "3.15.2-2 3.15.2-3", "", func(t *T) {
		t.withUser()
		const least = 100 // the nonces of SCRAM alone take as much
		for limit, served := uint32(least), false; !served; limit += 20 {
			p := t.dial()
			c := p.beginScram(scramPassword, func(c *codec.Connect) { c.MaximumPacketSize = limit })
			got, err := p.read(soon()) // inspect fails on a packet that is too large
			switch {
			case errors.Is(err, os.ErrDeadlineExceeded) || limit > 1000:
				t.Fatalf("with a Maximum Packet Size of %d: %v, %v", limit, got, err)
			case err == nil && got.typ == codec.TypeAuth:
				served = true
				p.sendAuth(codec.ContinueAuthentication, scramMethod, p.answer(c, got.auth.AuthenticationData))
			}
		}
	}},
}

// withUser gives the test a PromptMQ with a user that SCRAM can authenticate.
func (t *T) withUser() {
	t.Helper()
	t.own("", func(dir string) error {
		keys, err := access.NewSCRAMKeys([]byte(scramPassword), []byte(rand.Text())[:access.SCRAMSaltBytes], access.SCRAMIterations)
		if err != nil {
			return err
		}
		o := store.DefaultOptions()
		o.DataDir = dir
		db, err := store.Open(o)
		if err != nil {
			return err
		}
		hash := access.NewHash([]byte(scramPassword), []byte(rand.Text())[:access.SaltBytes])
		return errors.Join(db.PutUser(&store.User{Name: scramUser, Hash: hash.String(), Scram: keys.String()}), db.Close())
	})
}

// newScram is the conversation of a Client with that password.
func newScram(t *T, password string) *scram.ClientConversation {
	t.Helper()
	client, err := scram.SHA256.NewClient(scramUser, password, "")
	if err != nil {
		t.Fatalf("%v", err)
	}
	return client.NewConversation()
}

// beginScram sends a CONNECT with the first message of a conversation.
func (p *peer) beginScram(password string, changes ...func(*codec.Connect)) *scram.ClientConversation {
	p.t.Helper()
	c := newScram(p.t, password)
	p.connect = p.t.newConnect()
	p.connect.HasAuthenticationMethod, p.connect.AuthenticationMethod = true, codec.View(scramMethod)
	p.connect.HasAuthenticationData, p.connect.AuthenticationData = true, p.answer(c, nil)
	for _, change := range changes {
		change(&p.connect)
	}
	p.append(codec.AppendConnect(nil, &p.connect, p.version))
	return c
}

// answer is what the Client says to data. It fails if the server has proved nothing.
func (p *peer) answer(c *scram.ClientConversation, data []byte) []byte {
	p.t.Helper()
	said, err := c.Step(string(data))
	if err != nil || c.Done() && !c.Valid() {
		p.t.Fatalf("the server's part of SCRAM is wrong: %q: %v", data, err)
	}
	return []byte(said)
}

// proceed answers the AUTH that comes next.
func (p *peer) proceed(c *scram.ClientConversation) {
	p.t.Helper()
	asked := p.await(codec.TypeAuth)
	p.sendAuth(codec.ContinueAuthentication, scramMethod, p.answer(c, asked.auth.AuthenticationData))
}

func (p *peer) sendAuth(reason codec.ReasonCode, method string, data []byte) {
	p.t.Helper()
	p.append(codec.AppendAuth(nil, &codec.Auth{
		Reason: reason, HasAuthenticationMethod: true, AuthenticationMethod: codec.View(method), HasAuthenticationData: true, AuthenticationData: data,
	}, p.version))
}

// scram connects.
func (p *peer) scram(password string) {
	p.t.Helper()
	c := p.beginScram(password)
	p.proceed(c)
	p.connack = p.await(codec.TypeConnack).connack
	if p.connack.Reason != 0 {
		p.t.Fatalf("the right password is answered with %v", p.connack.Reason)
	}
	if m := p.connack.AuthenticationMethod; string(m) != scramMethod {
		p.t.Errorf("CONNACK has the Authentication Method %q, CONNECT has %q", m, scramMethod) // [MQTT-4.12.0-5]
	}
	p.answer(c, p.connack.AuthenticationData)
}
