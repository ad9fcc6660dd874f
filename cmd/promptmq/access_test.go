package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// byUser makes a CONNECT that of a user.
func byUser(user, password string, more ...func(*codec.Connect)) func(*codec.Connect) {
	return func(c *codec.Connect) {
		c.HasUserName, c.UserName = true, codec.View(user)
		c.HasPassword, c.Password = true, []byte(password)
		for _, change := range more {
			change(c)
		}
	}
}

// logIn connects as a user and returns the Reason Code.
func logIn(t *testing.T, s *server, user, password string) codec.ReasonCode {
	t.Helper()
	p, ack := connectRaw(t, s.mqtt, codec.Version5, "login", byUser(user, password))
	_ = p.Close()
	return ack.Reason
}

// TestUsersTakeEffect: who may log in, and stays connected, is what the last command said; a
// restart changes nothing of it.
func TestUsersTakeEffect(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	c := commander{t, s.dataDir()}
	want := func(user, password string, reason codec.ReasonCode) {
		t.Helper()
		if got := logIn(t, s, user, password); got != reason {
			t.Errorf("%s with %s: %v, expected %v", user, password, got, reason)
		}
	}
	c.add("ann", "first")
	want("ann", "first", codec.Success)
	want("ann", "other", codec.BadUserNameOrPassword)
	want("bob", "first", codec.BadUserNameOrPassword)
	open := v5Of(t, s, "open", byUser("ann", "first"))
	bystander := v5Of(t, s, "bystander", nil)
	if out := c.okWith("second", "user", "passwd", "ann", "--password-stdin", "--keep-connections"); strings.Contains(out, "ended") {
		t.Error(out)
	}
	open.quiet()
	if out := c.okWith("third", "user", "passwd", "ann", "--password-stdin"); !strings.Contains(out, "1 connections ended") {
		t.Error(out)
	}
	open.closed(codec.NotAuthorized)
	want("ann", "third", codec.Success)
	open = v5Of(t, s, "open", byUser("ann", "third"))
	c.ok("user", "disable", "ann")
	open.closed(codec.NotAuthorized)
	if logIn(t, s, "ann", "third") == codec.Success {
		t.Error("a disabled user is let in")
	}
	s.stop()
	s.restart()
	if logIn(t, s, "ann", "third") == codec.Success {
		t.Error("a disabled user is let in after a restart")
	}
	c.ok("user", "enable", "ann")
	want("ann", "third", codec.Success)
	open = v5Of(t, s, "open", byUser("ann", "third"))
	c.ok("user", "delete", "ann", "--last")
	open.closed(codec.NotAuthorized)
	_ = bystander.Close()
	s.kill()
	c.add("ann", "fourth")
	s.restart()
	want("ann", "fourth", codec.Success)
	want("ann", "third", codec.BadUserNameOrPassword)
	s.stop()
}

// TestRulesTakeEffect: a rule counts from the next publish, delivery and SUBSCRIBE on, for
// those who are connected too; and explain says what the broker does.
func TestRulesTakeEffect(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	c := commander{t, s.dataDir()}
	c.add("ann", "secret", "--group", "readers")
	sub := v5Of(t, s, "sub", byUser("ann", "secret"))
	sub.subscribeOne("a/#", 1)
	pub := v5Of(t, s, "pub", nil)
	publish := func(want codec.ReasonCode, topic string) {
		t.Helper()
		if got := pub.publish1(1, topic, "m"); got != want {
			t.Errorf("publish to %s: %v, expected %v", topic, got, want)
		}
	}
	publish(codec.Success, "a/b")
	received := func() {
		t.Helper()
		p := sub.receive()
		sub.sendAck(codec.TypePuback, p.PacketID)
	}
	received()
	c.ok("acl", "add", "allow group readers read topic a/b")
	publish(codec.NotAuthorized, "a/b")
	c.ok("acl", "add", "allow nobody publish topic a/#")
	publish(codec.Success, "a/b")
	received()
	publish(codec.Success, "a/c") // goes to nobody
	sub.quiet()
	c.ok("acl", "add", "--at", "1", "deny user ann receive topic a/b")
	publish(codec.Success, "a/b")
	sub.quiet()
	for question, want := range map[string]string{
		"--user ann --client sub receive a/b": "denied: ", "--user ann --client sub subscribe a/b": "allowed: ",
		"--client pub publish a/b": "allowed: ", "--client pub publish b": "denied: ",
	} {
		if out := c.ok(append([]string{"acl", "explain"}, strings.Fields(question)...)...); !strings.HasPrefix(out, want) {
			t.Errorf("%s: %s", question, out)
		}
	}
	c.ok("acl", "remove", "1")
	publish(codec.Success, "a/b")
	received()
	c.ok("user", "groups", "ann")
	sub.closed(codec.NotAuthorized)
	s.stop()
}

// TestReloadCommand: it says what is taken over and what needs a restart, and a broken file
// changes nothing.
func TestReloadCommand(t *testing.T) {
	t.Parallel()
	s := start(t, "log:\n  level: info\n")
	c := commander{t, s.dataDir()}
	file := filepath.Join(s.dir, "promptmq.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("log:\n  level: warn\nmqtt:\n  max-inflight: 10\n")
	if out := c.ok("reload"); !strings.Contains(out, "changed: log.level") || !strings.Contains(out, "needs a restart: mqtt.max-inflight") {
		t.Error(out)
	}
	write("log:\n  level: loud\n")
	c.refused(file+":2", "reload")
	c.refused("log.level", "reload")
	write("log:\n  level: info\n")
	c.ok("reload")
	s.stop()
	c.fails(exitFailure, "no broker runs on "+s.dataDir(), "reload")
}

// otherAddress is one of this machine, and not loopback.
func otherAddress(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			return n.IP.String()
		}
	}
	t.Skip("this machine has no address but loopback")
	return ""
}

// TestBanCommands: an address from which too many logins failed is listed, and lifted.
func TestBanCommands(t *testing.T) {
	t.Parallel()
	address := otherAddress(t)
	s := start(t, "", "--server-bind", address+":0")
	c := commander{t, s.dataDir()}
	c.add("ann", "secret")
	if out := c.ok("ban", "list"); out != "ADDRESS  UNTIL\n" {
		t.Error(out)
	}
	c.refused(address+" is not banned", "ban", "lift", address)
	c.refused("is no IP address", "bans", "remove", "ann")
	for i := 0; !strings.Contains(c.ok("ban", "list", "--json"), `"address": "`+address+`"`); i++ {
		if i > 100 {
			t.Fatal("not banned")
		}
		logIn(t, s, fmt.Sprint("user", i), "guess")
	}
	s.turnedAway(s.mqtt, "")
	c.ok("ban", "lift", address)
	if r := logIn(t, s, "ann", "secret"); r != codec.Success {
		t.Errorf("after the ban was lifted: %v", r)
	}
	s.stop()
}

// turnedAway expects that a connection is closed before anything is read of it but a header of
// the PROXY protocol, since its address is banned.
func (s *server) turnedAway(addr, header string) {
	s.t.Helper()
	const counter = `promptmq_connections_refused_total{reason="banned address"}`
	before := s.counted(counter)
	nc := dialTCP(s.t, addr)
	defer nc.Close()
	_, _ = io.WriteString(nc, header)
	if got, err := io.ReadAll(nc); len(got) > 0 || err != nil && isTimeout(err) {
		s.t.Errorf("a banned address: % x, %v", got, err)
	}
	if got := s.counted(counter) - before; got != 1 {
		s.t.Fatalf("counted %v times", got)
	}
	s.waitLog("connection closed: its address is banned, because too many logins failed from there")
}

// TestBanBehindProxy: who guesses behind a proxy is banned, and not the proxy; it is turned away
// as soon as the proxy has said who it is.
func TestBanBehindProxy(t *testing.T) {
	t.Parallel()
	s := start(t, "server: {listeners: [{name: proxied, kind: tcp, address: '127.0.0.1:0', proxy-protocol: true, trusted-proxies: [127.0.0.1]}]}\nauth: {ban: {failures: 3}}")
	c := commander{t, s.dataDir()}
	c.add("ann", "secret")
	addr := s.listening("proxied")
	from := func(address string) string { return "PROXY TCP4 " + address + " 192.0.2.1 4711 1883\r\n" }
	login := func(address, user, password string) codec.ReasonCode {
		nc := dialTCP(t, addr)
		defer nc.Close()
		if _, err := io.WriteString(nc, from(address)); err != nil {
			t.Fatal(err)
		}
		_, ack := connectOver(t, nc, codec.Version5, "login", byUser(user, password))
		return ack.Reason
	}
	for i := range 3 {
		if r := login("203.0.113.9", fmt.Sprint("user", i), "guess"); r != codec.BadUserNameOrPassword {
			t.Errorf("a guess: %v", r)
		}
	}
	s.turnedAway(addr, from("203.0.113.9"))
	if r := login("203.0.113.10", "ann", "secret"); r != codec.Success {
		t.Errorf("another address: %v", r)
	}
	c.ok("ban", "lift", "203.0.113.9")
	if r := login("203.0.113.9", "ann", "secret"); r != codec.Success {
		t.Errorf("after the ban was lifted: %v", r)
	}
	s.stop()
}

// TestNamesWithoutUsers: as long as there are no users, names mean nothing, and a session is
// for whoever comes next.
func TestNamesWithoutUsers(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	_ = v5Of(t, s, "c", byUser("ann", "anything", lasting)).Close()
	if _, ack := connectRaw(t, s.mqtt, codec.Version5, "c", byUser("bob", "else", resumed)); ack.Reason != codec.Success || !ack.SessionPresent {
		t.Errorf("%v, session present: %v", ack.Reason, ack.SessionPresent)
	}
	s.stop()
}
