package main

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

func testPasswordFile(t *testing.T, without *server) {
	s := withPasswords(t, "")
	if got := s.loginAs(codec.Version5, "seven", "wrong"); got != codec.BadUserNameOrPassword {
		t.Errorf("with the file: %v", got)
	}
	if got := without.loginAs(codec.Version5, "seven", "wrong"); got != codec.Success {
		t.Errorf("without it: %v", got)
	}
}

func testRememberPassword(t *testing.T, _ *server) {
	for yaml, want := range map[string]float64{"": 1, "auth: {remember-password: 0s}\n": 0} {
		s := withPasswords(t, yaml)
		for range 2 {
			if got := s.loginAs(codec.Version5, "seven", "secret7"); got != codec.Success {
				t.Errorf("%v", got)
			}
		}
		if n := s.metric("promptmq_logins_remembered_total"); n != want {
			t.Errorf("%q: %v passwords were remembered", yaml, n)
		}
	}
}

// slowPasswords starts a server whose users, n of them, each have a password that takes
// as long to compare as any may, and has them all log in at once.
func slowPasswords(t *testing.T, yaml string, n int) *server {
	t.Helper()
	_, hash, _ := strings.Cut(strings.Split(passwordFile, "\n")[2], ":")
	hash = strings.Replace(hash, "$101$", "$1000000$", 1)
	var users strings.Builder
	for i := range n {
		fmt.Fprintf(&users, "user%d:%s\n", i, hash)
	}
	s := withPasswords(t, yaml)
	writeText(t, s.args[1], users.String())
	if r := s.hangup(); r.text("msg") != "reloaded" {
		t.Fatal(r)
	}
	for i := range n {
		c := codec.Connect{ClientID: codec.View(fmt.Sprint(i)), CleanStart: true, ReceiveMaximum: 65535}
		as(fmt.Sprint("user", i), "wrong")(&c)
		newRaw(t, dialTCP(t, s.mqtt), codec.Version5).send(codec.AppendConnect(nil, &c, codec.Version5))
	}
	return s
}

func testHashingWorkers(t *testing.T, _ *server) {
	s := slowPasswords(t, "auth: {hashing: {workers: 2}}\n", 5)
	eventually(t, "two passwords are compared, and three wait", func() bool {
		_, text := s.get("/metrics")
		return strings.Contains(text, "promptmq_login_hashes_waiting 3\n") && strings.Contains(text, "promptmq_login_hash_seconds_count 0\n")
	})
}

func testHashingWaiting(t *testing.T, _ *server) {
	s := slowPasswords(t, "auth: {hashing: {waiting: 4, workers: 1}}\n", 5)
	eventually(t, "those are refused for whom there is no place", func() bool {
		return s.counted(`promptmq_logins_refused_total{cause="busy"}`) > 0
	})
}

func testBackoffMax(t *testing.T, _ *server) {
	for yaml, want := range map[string]codec.ReasonCode{"": codec.ConnectionRateExceeded, "auth: {backoff-max: 0s}\n": codec.BadUserNameOrPassword} {
		s := withPasswords(t, yaml)
		for n := range 3 {
			if got := s.loginAs(codec.Version5, "seven", fmt.Sprint(n)); got != codec.BadUserNameOrPassword {
				t.Errorf("%q: failure %d: %v", yaml, n, got)
			}
		}
		if got := s.loginAs(codec.Version5, "seven", "once more"); got != want {
			t.Errorf("%q: %v, want %v", yaml, got, want)
		}
		if yaml == "" {
			s.toldOfBackoff()
		}
	}
}

// toldOfBackoff looks for the cause, and what to do, where a person would look who has given the
// right password too late.
func (s *server) toldOfBackoff() {
	s.t.Helper()
	_, port, err := net.SplitHostPort(s.mqtt)
	if err != nil {
		s.t.Fatal(err)
	}
	// Wrong ones come without a pause, so that the wait is as good as never over when pub has begun.
	enough, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for n := 0; ; n++ {
			select {
			case <-enough:
				return
			default:
			}
			wrong := codec.Connect{CleanStart: true, ReceiveMaximum: 65535}
			as("seven", fmt.Sprint("wrong ", n))(&wrong)
			packet, _ := codec.AppendConnect(nil, &wrong, codec.Version5) // it fits
			if nc, err := net.Dial("tcp", s.mqtt); err == nil {
				_, _ = nc.Write(packet)
				_, _ = io.ReadAll(nc) // it is closed after the CONNACK
				_ = nc.Close()
			}
		}
	}()
	var told result
	for n := 0; n < 12 && !strings.Contains(told.stderr, "0x9F"); n++ {
		told = run(s.t, nil, "pub", "-h", "127.0.0.1", "-p", port, "-u", "seven", "-P", "secret7", "-t", "a", "-m", "x")
	}
	close(enough)
	<-ended
	has(s.t, told.stderr, "after several wrong passwords, to the right one too", `under "back-off"`)
	has(s.t, run(s.t, nil, "status", "--data-dir", s.dataDir()).stdout, "Connection rate exceeded", "code back-off")
	if !slices.ContainsFunc(s.linesOf("connection closed"), func(r record) bool { return r.text("code") == "back-off" && r.text("cause") == "back-off" }) {
		s.t.Error("no log line has the code")
	}
}

// fromOutside starts a server with a password file that is reached at an address of this
// machine other than loopback.
func fromOutside(t *testing.T, yaml string) *server {
	t.Helper()
	addr := outsideAddr()
	if addr == "" {
		t.Skip("this machine has no address but loopback, which is not banned")
	}
	s := withPasswords(t, yaml, "--server-bind", "0.0.0.0:0")
	_, port, err := net.SplitHostPort(s.mqtt)
	if err != nil {
		t.Fatal(err)
	}
	s.mqtt = net.JoinHostPort(addr, port)
	return s
}

// fail fails to log in as n users.
func (s *server) fail(n int) {
	s.t.Helper()
	for i := range n {
		if got := s.loginAs(codec.Version5, fmt.Sprint("nobody", i), "x"); got != codec.BadUserNameOrPassword {
			s.t.Errorf("failure %d: %v", i, got)
		}
	}
}

func testBans(t *testing.T, _ *server) {
	s := fromOutside(t, "auth: {ban: {failures: 3}}\n")
	s.fail(3)
	s.turnedAway(s.mqtt, "")
	if banned, bans := s.metric("promptmq_addresses_banned"), s.metric("promptmq_bans_total"); banned != 1 || bans != 1 {
		t.Errorf("%v addresses are banned, %v were", banned, bans)
	}
	_, port, _ := net.SplitHostPort(s.mqtt)
	s.mqtt = net.JoinHostPort("127.0.0.1", port)
	s.fail(10)
	if got := s.loginAs(codec.Version5, "seven", "secret7"); got != codec.Success {
		t.Errorf("from this machine: %v", got)
	}
}

func testBanWindow(t *testing.T, _ *server) {
	s := fromOutside(t, "auth: {ban: {failures: 3, window: 1s}}\n")
	s.fail(2)
	then := time.Now()
	eventually(t, "the window is over", func() bool { return time.Since(then) > 1100*time.Millisecond })
	s.fail(1)
	if got := s.loginAs(codec.Version5, "seven", "secret7"); got != codec.Success {
		t.Errorf("after failures that are no longer in the window: %v", got)
	}
}

func testBanTime(t *testing.T, _ *server) {
	s := fromOutside(t, "auth: {ban: {failures: 3, time: 1s}}\n")
	s.fail(3)
	eventually(t, "the ban is over", func() bool {
		return tryConnect(s.mqtt, "seven", clientSeconds*time.Second, as("seven", "secret7")) == nil
	})
}

func testBanExempt(t *testing.T, _ *server) {
	s := fromOutside(t, "auth: {ban: {failures: 3, exempt: ["+outsideAddr()+"]}}\n")
	s.fail(10)
	if got := s.loginAs(codec.Version5, "seven", "secret7"); got != codec.Success {
		t.Errorf("an exempt address: %v", got)
	}
}
