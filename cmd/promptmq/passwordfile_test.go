package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/config"
)

// passwordFile has a user for each kind of hash: of mosquitto_passwd 2.0.11, with -H sha512
// and without, of the reference implementation of argon2 as Mosquitto 2.1 calls it, and ours.
var passwordFile = "# users\n" +
	"six:$6$8Aqx0FiX4i6hjIFG$urHD9R8ouW+r8SBy4m5XDieF5i9mVqTMDxDZBJuv3WYuDMg5+VXCACRE8o2f4Leu0WOi+2KEtVCjw5j2kjlAew==\n" +
	"seven:$7$101$m+nj2/pcI1By1Y6x$A7Q4sBf/ntEsaQ8j+m4wlXx9ZAdfXaU4YEMo6j2UlNcz1Udsnj5chPDTKbxhmwrXWwe1HYdCXjvVHEf20RANcg==\n" +
	"mosq21:$argon2id$v=19$m=47104,t=1,p=1$c29tZXNhbHQxMjM0NTY3OA$y6Os3UReUNDhPGz8K0W5ffwHGLa7Uf29EDaQip5Y3TvY++F50lUCoM0Rbvsmnmlh6Fhab6KEHHEOFV6B/6sT6g\n" +
	"ours:" + access.NewHash([]byte("ours"), []byte("0123456789abcdef")).String() + "\n"

var filePasswords = map[string]string{"six": "pass word:ü6", "seven": "secret7", "mosq21": "mosq21", "ours": "ours"}

func writeText(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// as changes a CONNECT to have a user name and a password.
func as(user, password string) func(*codec.Connect) {
	return func(c *codec.Connect) {
		c.HasUserName, c.UserName = true, codec.View(user)
		c.HasPassword, c.Password = true, []byte(password)
	}
}

// loginAs returns how a CONNECT with a user name and a password is answered.
func (s *server) loginAs(v codec.Version, user, password string) codec.ReasonCode {
	s.t.Helper()
	p, ack := connectRaw(s.t, s.mqtt, v, user, as(user, password))
	_ = p.Close()
	return ack.Reason
}

// withPasswords starts a server with passwordFile.
func withPasswords(t *testing.T, yaml string, args ...string) *server {
	t.Helper()
	name := filepath.Join(t.TempDir(), "passwd")
	writeText(t, name, passwordFile)
	return start(t, yaml, append([]string{"--auth-password-file", name}, args...)...)
}

// Users of a Mosquitto password file are let in, whatever made their hash; who is not one of
// them, or has another password, is refused, from this machine too.
func TestPasswordFile(t *testing.T) {
	t.Parallel()
	const canary = "canary-9f3a1c"
	s := withPasswords(t, "log: {level: debug}\nauth: {backoff-max: 0s}\n")
	for _, v := range []codec.Version{codec.Version31, codec.Version311, codec.Version5} {
		for user, password := range filePasswords {
			if got := s.loginAs(v, user, password); got != codec.Success {
				t.Errorf("%v %s: %v", v, user, got)
			}
			for _, wrong := range []string{"", canary, password + "x"} {
				if got := s.loginAs(v, user, wrong); got != codec.BadUserNameOrPassword {
					t.Errorf("%v %s with %q: %v", v, user, wrong, got)
				}
			}
		}
		if got := s.loginAs(v, "nobody", canary); got != codec.BadUserNameOrPassword {
			t.Errorf("%v, a user that is not there: %v", v, got)
		}
		_, ack := connectRaw(t, s.mqtt, v, "alone", func(c *codec.Connect) { c.HasUserName, c.UserName = true, codec.View("six") })
		if ack.Reason != codec.BadUserNameOrPassword {
			t.Errorf("%v, a user name alone: %v", v, ack.Reason)
		}
	}
	if _, ack := connectRaw(t, s.mqtt, codec.Version5, "anonymous", nil); ack.Reason != codec.Success {
		t.Errorf("no credentials, from this machine: %v", ack.Reason)
	}
	if n, again := s.metric(`promptmq_logins_refused_total{cause="unknown-user"}`), s.metric(`promptmq_logins_refused_total{cause="same-password"}`); n != 1 || again < 2 {
		t.Errorf("%v unknown users are counted, and %v passwords that were wrong before", n, again)
	}
	if n := s.metric(`promptmq_logins_accepted_total{method="password"}`); n != 12 {
		t.Errorf("%v logins are counted", n)
	}
	_, metrics := s.get("/metrics")
	for _, r := range s.log() {
		metrics += fmt.Sprint(r)
	}
	for _, secret := range []string{canary, "secret7", "pass word", "$7$", "$6$", "$argon2id$"} {
		if strings.Contains(metrics, secret) {
			t.Errorf("%q is in the log or the metrics", secret)
		}
	}
}

// A password file that is not whole leaves all as it was at a reload; one that is takes effect.
func TestPasswordFileReload(t *testing.T) {
	t.Parallel()
	s := withPasswords(t, "auth: {backoff-max: 0s}\n")
	name := s.args[1]
	for text, cause := range map[string]string{
		"":                                  name + ": auth.password-file: it is empty",
		passwordFile[:len(passwordFile)-10]: name + ":5: auth.password-file: the last line does not end",
		"# \nann:her-own-name\n":            name + `:2: auth.password-file: the user "ann": what stands behind the colon is no hash`,
		passwordFile + "seven:$7$101$m+nj2/pcI1By1Y6x$A7Q4sBf/ntEs": name + ":6: auth.password-file: the last line does not end",
		"\xff\xfe#\x00\n\x00": name + ":1: auth.password-file: it is UTF-16",
	} {
		writeText(t, name, text)
		r := s.hangup()
		if r.text("msg") != notReloaded || !strings.Contains(strings.Join(r.texts("faults"), "\n"), cause) || strings.Contains(fmt.Sprint(r), "her-own-name") {
			t.Errorf("%v, want %s", r, cause)
		}
	}
	for user, password := range filePasswords {
		if got := s.loginAs(codec.Version5, user, password); got != codec.Success {
			t.Errorf("%s after broken files: %v", user, got)
		}
	}
	writeText(t, name, strings.Replace(passwordFile, "six:", "siegfried:", 1))
	if r := s.hangup(); r.text("msg") != "reloaded" {
		t.Errorf("%v", r)
	}
	for user, want := range map[string]codec.ReasonCode{"six": codec.BadUserNameOrPassword, "siegfried": codec.Success} {
		if got := s.loginAs(codec.Version5, user, filePasswords["six"]); got != want {
			t.Errorf("%s after the reload: %v", user, got)
		}
	}
}

// Controls: a broker that does not look at the password, and one that lets everybody guess,
// are noticed by what the tests above and of auth.backoff-max look at.
func TestPasswordControls(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "passwd")
	writeText(t, name, passwordFile)
	unchecked := startBinary(t, controlBinary(t), []string{"BREAK_RULES=password-unchecked"}, "", "--auth-password-file", name)
	if got := unchecked.loginAs(codec.Version5, "seven", "wrong"); got != codec.Success {
		t.Errorf("the control refuses a wrong password: %v", got)
	}
	unlimited := startBinary(t, controlBinary(t), []string{"BREAK_RULES=guesses-unlimited"}, "", "--auth-password-file", name)
	for n := range 10 {
		if got := unlimited.loginAs(codec.Version5, "seven", fmt.Sprint(n)); got != codec.BadUserNameOrPassword {
			t.Errorf("the control limits guesses: %v", got)
		}
	}
}

// Cut at any byte a file is refused, or has the users that are whole in it.
func TestPasswordFileCut(t *testing.T) {
	unraced(t)
	t.Parallel()
	name := filepath.Join(t.TempDir(), "passwd")
	c := config.Default()
	c.Login.PasswordFile = name
	for n := range passwordFile {
		writeText(t, name, passwordFile[:n])
		entries, fault := readPasswordFile(c)
		if whole := n > 0 && passwordFile[n-1] == '\n'; (fault == nil) != whole {
			t.Errorf("cut at byte %d: %d users, %v", n, len(entries), fault)
		} else if fault != nil && (!strings.HasPrefix(fault.Error(), name) || !strings.Contains(fault.Error(), "auth.password-file")) {
			t.Errorf("cut at byte %d: %v", n, fault)
		}
	}
}

func TestPasswordFileUnreadable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for path, cause := range map[string]string{"missing": "no such file", ".": "is not a regular file"} {
		r := run(t, nil, "server", "--data-dir", filepath.Join(dir, "data"), "--auth-password-file", filepath.Join(dir, path))
		if r.code == 0 || !strings.Contains(r.stderr, cause) || !strings.Contains(r.stderr, "auth.password-file") {
			t.Errorf("%s: exit %d, %s", path, r.code, r.stderr)
		}
	}
}
