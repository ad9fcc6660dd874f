package broker_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/codec"
)

// authority is an Authenticator: everybody is who they say, with the password "right".
type authority struct {
	ask func(ctx context.Context, a *access.Attempt) (*access.Identity, error) // nil: as above
}

func (s authority) Authenticate(ctx context.Context, a *access.Attempt) (*access.Identity, error) {
	switch {
	case s.ask != nil:
		return s.ask(ctx, a)
	case !a.HasUser && a.MayBeNobody:
		return &access.Identity{Method: access.ByNobody}, nil
	case string(a.Password) != "right":
		return nil, &access.Refusal{Reason: codec.BadUserNameOrPassword, Cause: "password", Detail: "it is wrong"}
	}
	return &access.Identity{User: a.User, Method: access.ByPassword}, nil
}

func (authority) Exchange(string, *access.Attempt) access.Exchange { return nil }

func (authority) Banned(netip.Addr) bool { return false }

func withUsers(o *broker.Options) { o.Authenticator = authority{} }

// as gives a CONNECT a user name and the right password.
func as(user string, changes ...func(*codec.Connect)) func(*codec.Connect) {
	return func(c *codec.Connect) {
		c.HasUserName, c.UserName, c.HasPassword, c.Password = true, codec.View(user), true, codec.View("right")
		for _, change := range changes {
			change(c)
		}
	}
}

func wrongPassword(c *codec.Connect) { c.HasPassword, c.Password = true, codec.View("wrong") }

// TestRefusedIdentity: what CONNACK says of each Reason Code, in each version; and the
// Client hears nothing of the operator's detail.
func TestRefusedIdentity(t *testing.T) { timeless(t, testRefusedIdentity) }

func testRefusedIdentity(t *testing.T) {
	var reason codec.ReasonCode
	f := newFixtureWith(t, func(o *broker.Options) {
		o.Authenticator = authority{func(context.Context, *access.Attempt) (*access.Identity, error) {
			if reason == codec.Success { // neither yes nor no
				return nil, errors.New("secret")
			}
			return nil, &access.Refusal{Reason: reason, Cause: "test", Detail: "secret"}
		}}
	})
	for want, older := range map[codec.ReasonCode]codec.ReasonCode{
		codec.BadUserNameOrPassword: codec.BadUserNameOrPassword,
		codec.NotAuthorized:         codec.NotAuthorized, codec.Banned: codec.NotAuthorized,
		codec.ServerUnavailable: codec.ServerUnavailable, codec.ServerBusy: codec.ServerUnavailable,
		codec.QuotaExceeded: codec.ServerUnavailable, codec.ConnectionRateExceeded: codec.ServerUnavailable,
		codec.Success: codec.ServerUnavailable,
	} {
		reason = want
		for _, v := range []codec.Version{codec.Version31, codec.Version311, codec.Version5} {
			_, ack := f.connectAs(v, "c", as("user"))
			answer := older
			if v == codec.Version5 {
				if answer = want; want == codec.Success {
					answer = codec.UnspecifiedError
				}
			}
			if ack.Reason != answer || string(ack.ReasonString) == "" != (v != codec.Version5) || string(ack.ReasonString) == "secret" {
				t.Errorf("%v to a Client of %v: CONNACK %v %q, expected %v", want, v, ack.Reason, ack.ReasonString, answer)
			}
		}
	}
	if got := f.linesOf("connection closed")[0].text("why"); got != "secret" {
		t.Errorf("the log says %q of why", got)
	}
}

// TestRefusedChangesNothing: 1,000 refused CONNECT packets with the Client Identifiers of
// others leave everything as it was.
func TestRefusedChangesNothing(t *testing.T) { timeless(t, testRefusedChangesNothing) }

func testRefusedChangesNothing(t *testing.T) {
	f := newFixtureWith(t, withUsers)
	watcher := f.connectV5("watcher", as("owner"))
	watcher.subscribeOne("will", 1)
	watcher.subscribeOne("t", 1)
	will := func(c *codec.Connect) {
		c.HasWill, c.Will = true, codec.Will{Topic: codec.View("will"), Payload: codec.View("gone"), DelaySeconds: 60}
	}
	there := f.connectV5("there", as("owner", lasting, will))
	there.subscribeOne("other", 1)
	passing := f.connectV5("passing", as("owner", will))
	absent := f.connectV5("absent", as("owner", lasting))
	absent.subscribeOne("t", 2)
	absent.drop()
	watcher.publish(1, 1, "t", "x") // which waits for "absent", too
	watcher.ack(codec.TypePuback, watcher.receive().PacketID)
	watcher.expect(codec.TypePuback)
	synctest.Wait()
	f.commitAll()
	before := f.everything()
	const attempts = 1000
	for i := range attempts {
		id := []string{"there", "passing", "absent", "new", ""}[i%5]
		change, want := as("owner", wrongPassword), codec.BadUserNameOrPassword
		if i%2 == 0 && i%5 < 3 {
			change, want = as("another"), codec.NotAuthorized
		}
		if i%3 == 0 {
			change = both(change, lasting)
		}
		if i%7 == 0 {
			change = both(change, resumed)
		}
		if i%11 == 0 {
			change = both(change, will)
		}
		_, ack := f.connectAs(codec.Version5, id, change)
		if ack.Reason != want {
			t.Fatalf("attempt %d: CONNACK %v, expected %v", i, ack.Reason, want)
		}
	}
	synctest.Wait()
	if after := f.everything(); after != before {
		t.Errorf("something has changed; before:\n%s\nafter:\n%s", before, after)
	}
	for _, p := range []*peer{watcher, there, passing} {
		p.quiet()
	}
	if _, ack := f.connectAs(codec.Version5, "absent", as("owner", resumed)); !ack.SessionPresent {
		t.Error("the Session of the absent Client is gone")
	}
}

func both(a, b func(*codec.Connect)) func(*codec.Connect) {
	return func(c *codec.Connect) { a(c); b(c) }
}

// commitAll waits until nothing is left to be written.
func (f *fixture) commitAll() {
	f.t.Helper()
	eventually(f.t, "all is written", func() bool { return f.metric("promptmq_store_open_entries") == 0 })
	time.Sleep(time.Minute) // of virtual time: what is to be written some time
	synctest.Wait()
}

// everything says what is on disk, by its hash, and what the broker has in memory.
func (f *fixture) everything() string {
	f.t.Helper()
	f.store.disk.Lock()
	dir := f.copyDisk()
	f.store.disk.Unlock()
	disk := sha256.New()
	for _, name := range []string{"promptmq.db", "promptmq.db-wal"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			f.t.Fatal(err)
		}
		disk.Write(b)
	}
	s := fmt.Sprintf("disk %x\n", disk.Sum(nil))
	for _, name := range []string{
		"promptmq_sessions", "promptmq_sessions_connected", "promptmq_subscriptions", "promptmq_retained_messages", "promptmq_session_takeovers_total",
		"promptmq_queued_messages", "promptmq_expiries_pending",
	} {
		s += fmt.Sprintln(name, f.metric(name))
	}
	return s + f.b.ClientsForTest()
}

// TestSlowAuthenticator: while one CONNECT waits for what it is to be told, others are
// served, what follows it in the same read waits, and the connect timeout ends the wait.
func TestSlowAuthenticator(t *testing.T) { timeless(t, testSlowAuthenticator) }

func testSlowAuthenticator(t *testing.T) {
	release := make(chan struct{})
	f := newFixtureWith(t, func(o *broker.Options) {
		o.ConnectTimeout = 5 * time.Second
		o.Authenticator = authority{func(ctx context.Context, a *access.Attempt) (*access.Identity, error) {
			if a.User == "slow" {
				select {
				case <-release:
				case <-ctx.Done():
					return nil, &access.Refusal{Reason: codec.ServerUnavailable, Cause: "late", Detail: ctx.Err().Error()}
				}
			}
			return &access.Identity{User: a.User, Method: access.ByPassword}, nil
		}}
	})
	watcher := f.connectV5("watcher", as("quick"))
	watcher.subscribeOne("t", 1)
	slow := f.dialAs(codec.Version5)
	packet := codec.Connect{ClientID: codec.View("slow"), CleanStart: true, ReceiveMaximum: 65535}
	as("slow")(&packet)
	b, err := codec.AppendConnect(nil, &packet, codec.Version5)
	if err != nil {
		t.Fatal(err)
	}
	slow.write(codec.AppendPublish(b, &codec.Publish{QoS: 1, PacketID: 1, Topic: codec.View("t"), Payload: codec.View("after")}, codec.Version5))
	synctest.Wait()
	watcher.publish(0, 0, "t", "meanwhile")
	if m := watcher.receive(); string(m.Payload) != "meanwhile" {
		t.Errorf("got %q", m.Payload)
	}
	close(release)
	if m := watcher.receive(); string(m.Payload) != "after" {
		t.Errorf("got %q", m.Payload)
	}
	slow.expect(codec.TypeConnack)
	slow.expect(codec.TypePuback)

	release = make(chan struct{})
	began := time.Now()
	_, ack := f.connectAs(codec.Version5, "late", as("slow"))
	if took := time.Since(began); ack.Reason != codec.ServerUnavailable || took > 6*time.Second {
		t.Errorf("CONNACK %v after %v", ack.Reason, took)
	}
	gone := f.dialAs(codec.Version5)
	gone.write(codec.AppendConnect(nil, &packet, codec.Version5))
	synctest.Wait()
	began = time.Now()
	f.stop() // the wait ends, and nothing waits for it
	if took := time.Since(began); took > time.Second {
		t.Errorf("the stop took %v", took)
	}
}

// TestSessionOwner: a Session is for the user that made it, also after a restart.
func TestSessionOwner(t *testing.T) { timeless(t, testSessionOwner) }

func testSessionOwner(t *testing.T) {
	f := newFixtureWith(t, withUsers)
	expect := func(who, id string, change func(*codec.Connect), want codec.ReasonCode, present bool) *peer {
		t.Helper()
		p, ack := f.connectAs(codec.Version5, id, change)
		if ack.Reason != want || ack.SessionPresent != present {
			t.Fatalf("%s: CONNACK %v, Session Present %v, expected %v, %v", who, ack.Reason, ack.SessionPresent, want, present)
		}
		return p
	}
	anna := expect("anna", "a", as("anna", lasting), codec.Success, false)
	expect("ben", "a", as("ben", lasting), codec.NotAuthorized, false)
	expect("ben, resuming", "a", as("ben", resumed), codec.NotAuthorized, false)
	expect("nobody", "a", lasting, codec.NotAuthorized, false)
	anna.quiet()
	expect("nobody", "n", lasting, codec.Success, false).drop()
	expect("ben takes nobody's", "n", as("ben", resumed), codec.Success, true).drop()
	expect("it is his", "n", as("anna", resumed), codec.NotAuthorized, false)
	f.kill()
	f.restart()
	expect("ben, after a restart", "a", as("ben", resumed), codec.NotAuthorized, false)
	expect("anna, after a restart", "a", as("anna", resumed), codec.Success, true)
	expect("anna", "n", as("anna"), codec.NotAuthorized, false)
	expect("ben", "n", as("ben", resumed), codec.Success, true)

	// A Session that ends with the connection is its user's as long.
	expect("anna", "short", as("anna"), codec.Success, false).drop()
	expect("ben", "short", as("ben"), codec.Success, false)
}

// TestKeptWillOwner: the Will that a process has left is not another user's to remove.
func TestKeptWillOwner(t *testing.T) { timeless(t, testKeptWillOwner) }

func testKeptWillOwner(t *testing.T) {
	f := newFixtureWith(t, withUsers)
	f.connectV5("c", as("anna", func(c *codec.Connect) {
		c.HasWill, c.Will = true, codec.Will{Topic: codec.View("will"), Payload: codec.View("gone")}
	}))
	f.commitAll()
	f.kill()
	f.restart()
	watcher := f.connectV5("watcher", as("anna"))
	watcher.subscribeOne("will", 0)
	if _, ack := f.connectAs(codec.Version5, "c", as("ben")); ack.Reason != codec.NotAuthorized {
		t.Errorf("CONNACK %v", ack.Reason)
	}
	if m := watcher.receive(); string(m.Payload) != "gone" {
		t.Errorf("got %q", m.Payload)
	}
}
