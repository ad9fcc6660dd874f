package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/codec"
)

// credentials are what a CONNECT may have in a field. absent: it has none.
const (
	isAbsent = "absent"
	isEmpty  = ""
)

// TestAuthTruthTable: each user name with each password, in each version. Only the right pair is
// let in; and who shows nothing, where that is allowed. CVE-2016-9877 of RabbitMQ: the password
// was left out.
func TestAuthTruthTable(t *testing.T) {
	t.Parallel()
	for _, anonymous := range []bool{true, false} {
		yaml := "auth: {backoff-max: 0s}\n"
		if !anonymous {
			yaml += "server: {listeners: [{name: shut, kind: tcp, address: '127.0.0.1:0', anonymous: 'no'}]}\n"
		}
		s := start(t, yaml)
		c := commander{t, s.dataDir()}
		c.add("ann", "right")
		c.add("bob", "other")
		if !anonymous {
			s.mqtt = s.listening("shut")
		}
		for _, v := range []codec.Version{codec.Version31, codec.Version311, codec.Version5} {
			for _, user := range []string{isAbsent, isEmpty, "ann", "nobody"} {
				for _, password := range []string{isAbsent, isEmpty, "right", "other", "right\x00"} {
					if v != codec.Version5 && user == isAbsent && password != isAbsent {
						continue // such a CONNECT does not exist: [MQTT-3.1.2-22] of 3.1.1
					}
					_, ack := connectRaw(t, s.mqtt, v, fmt.Sprintf("%v %q %q", v, user, password), func(c *codec.Connect) {
						c.HasUserName, c.HasPassword = user != isAbsent, password != isAbsent
						if c.HasUserName {
							c.UserName = codec.View(user)
						}
						if c.HasPassword {
							c.Password = codec.View(password)
						}
					})
					want := codec.BadUserNameOrPassword
					switch {
					case user == "ann" && password == "right":
						want = codec.Success
					case user == isAbsent && password == isAbsent && anonymous:
						want = codec.Success
					case user == isAbsent && password == isAbsent:
						want = codec.NotAuthorized
					}
					if ack.Reason != want {
						t.Errorf("anonymous %v, %v, user %q, password %q: %v, expected %v", anonymous, v, user, password, ack.Reason, want)
					}
				}
			}
		}
		// A password without its user name, in a version that has no such thing.
		p := dialRaw(t, s.mqtt, codec.Version311)
		p.send([]byte("\x10\x14\x00\x04MQTT\x04\x42\x00\x00\x00\x01x\x00\x05right"), nil)
		p.closed(codec.Success)
	}
}

// TestTakeoverIdentity: another user, or nobody, with the Client Identifier of a Session gets
// 0x87, whatever it asks for, and the owner notices nothing: its connection, subscriptions,
// queue and Will stay, also over a restart and a crash.
func TestTakeoverIdentity(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	c := commander{t, s.dataDir()}
	c.add("ann", "ann's")
	c.add("eve", "eve's")
	ann := func(change func(*codec.Connect)) *raw { return v5Of(t, s, "session", byUser("ann", "ann's", change)) }
	will := func(c *codec.Connect) {
		lasting(c)
		c.HasWill, c.Will = true, codec.Will{Topic: codec.View("will"), Payload: codec.View("gone")}
	}
	owner := ann(will)
	owner.subscribeOne("mine", 1)
	watcher := v5Of(t, s, "watcher", nil)
	watcher.subscribeOne("will", 0)
	theft := func(when string) {
		t.Helper()
		for name, change := range map[string]func(*codec.Connect){
			"another, Clean Start": byUser("eve", "eve's"), "another, resuming": byUser("eve", "eve's", resumed),
			"nobody, Clean Start": nil, "nobody, resuming": resumed,
			"another, with a Will": byUser("eve", "eve's", will),
		} {
			if _, ack := connectRaw(t, s.mqtt, codec.Version5, "session", change); ack.Reason != codec.NotAuthorized || ack.SessionPresent {
				t.Errorf("%s, %s: %v, Session Present %v", when, name, ack.Reason, ack.SessionPresent)
			}
		}
		for _, v := range []codec.Version{codec.Version31, codec.Version311} {
			if _, ack := connectRaw(t, s.mqtt, v, "session", as("eve", "eve's")); ack.Reason != codec.NotAuthorized {
				t.Errorf("%s, %v: %v", when, v, ack.Reason)
			}
		}
		watcher.quiet()
	}
	theft("connected")
	owner.quiet()
	watcher.publish1(1, "mine", "live")
	m := owner.receive()
	owner.sendAck(codec.TypePuback, m.PacketID)
	owner.send(codec.AppendDisconnect(nil, &codec.Disconnect{}, owner.v))
	owner.closed(codec.Success)
	watcher.publish1(1, "mine", "waits")
	theft("away")
	for _, end := range []func(){s.stop, s.kill} {
		end()
		s.restart()
		watcher = v5Of(t, s, "watcher", nil)
		watcher.subscribeOne("will", 0)
		theft("after a restart")
	}
	owner = ann(resumed)
	if m := owner.receive(); string(m.Payload) != "waits" {
		t.Errorf("%q came", m.Payload)
	}
	owner.quiet()
}

// canaries are secrets, and no part of anything else.
var canaries = map[string]string{
	"user": "canary-9f3a1c-user", "file": "canary-9f3a1c-file", "wrong": "canary-9f3a1c-wrong", "token": "canary-9f3a1c-of-a-token-of-32-bytes", "changed": "canary-9f3a1c-changed",
}

// TestSecretsStay: passwords and keys are in no log line at any level, in no metric, answer of an
// HTTP path, message under $SYS, output or error of a command, DISCONNECT or CONNACK, and in no
// file of the data directory but as hashes; and what the broker writes is readable for its
// user only.
func TestSecretsStay(t *testing.T) {
	t.Parallel()
	s := withPasswords(t, "")
	file := s.args[1]
	writeText(t, file, passwordFile+"filed:"+hashOf(canaries["file"])+"\n")
	s.writeFile("secret", canaries["token"])
	s.reload("log: {level: trace}\nauth: {backoff-max: 0s, jwt: {secret-file: '" + filepath.Join(s.dir, "secret") + "'}}\n")
	c := commander{t, s.dataDir()}
	var said strings.Builder
	tell := func(input string, args ...string) {
		r := c.withInput(input, args...)
		fmt.Fprintln(&said, r.stdout, r.stderr)
	}
	tell(canaries["user"]+"\n", "user", "add", "ann", "--password-stdin")
	tell(canaries["wrong"], "user", "add", "ann", "--password-stdin")
	tell(canaries["wrong"], "user", "add", "a\tb", "--password-stdin")
	tell(canaries["wrong"]+"\n"+canaries["wrong"], "user", "add", "two-lines", "--password-stdin")
	tell("", "acl", "add", "allow everyone all topic #")
	watcher := v5Of(t, s, "watcher", byUser("filed", canaries["file"]))
	for _, filter := range []string{"#", "$SYS/#", "+/#"} {
		watcher.subscribeOne(filter, 0)
	}
	token := issued(t, "HS256", []byte(canaries["token"]), nil)
	logInAll(t, s, &said, token)
	tell(canaries["changed"], "user", "passwd", "ann", "--password-stdin")
	tell("", "user", "list", "--json")
	tell("", "user", "list")
	tell("", "acl", "list")
	tell("", "acl", "explain", "--user", "ann", "publish", "t")
	tell("", "ban", "list")
	tell("", "config", "print", "--config", filepath.Join(s.dir, "promptmq.yaml"))
	writeText(t, file, passwordFile+"filed:"+canaries["wrong"]+"\n") // a plain password
	s.writeFile("secret", canaries["wrong"][:18])
	s.hangup()
	tell("", "reload")
	for _, path := range []string{"/metrics", "/health", "/ready", "/", "/debug/vars", "/debug/pprof/", "/debug/pprof/cmdline", "/admin"} {
		_, body := s.get(path)
		fmt.Fprintln(&said, body)
	}
	watcher.quiet() // nothing has come
	said.Write(ownFiles(t, s.dataDir()))
	s.stop()
	s.mu.Lock()
	said.WriteString(strings.Join(s.lines, "\n"))
	s.mu.Unlock()
	parts := strings.Split(token, ".")
	for _, secret := range []string{"canary-9f3a1c", parts[1], parts[2]} {
		if i := strings.Index(said.String(), secret); i >= 0 {
			t.Errorf("%q is told: %q", secret, said.String()[max(0, i-200):min(said.Len(), i+100)])
		}
	}
	if !strings.Contains(said.String(), "logs in as ann") {
		t.Error("the log has not what it is to be searched for")
	}
}

// logInAll logs in with right and wrong passwords, and writes what is answered.
func logInAll(t *testing.T, s *server, said io.Writer, token string) {
	t.Helper()
	for _, v := range []codec.Version{codec.Version311, codec.Version5} {
		for user, password := range map[string]string{"ann": canaries["user"], "filed": canaries["file"], "nobody": canaries["wrong"], "six": canaries["wrong"], "token": token} {
			p, ack := connectRaw(t, s.mqtt, v, "logs in as "+user, as(user, password))
			fmt.Fprintf(said, "%q %q\n", ack.ReasonString, ack.AuthenticationData)
			p.Close()
		}
		p := dialRaw(t, s.mqtt, v) // a CONNECT that is malformed behind its password
		b, err := codec.AppendConnect(nil, &codec.Connect{ClientID: codec.View("x"), HasUserName: true, UserName: codec.View("ann"), HasPassword: true, Password: codec.View(canaries["wrong"])}, v)
		b[len(b)-len(canaries["wrong"])-1]--
		p.send(b, err)
		_, _ = p.next()
	}
}

// ownFiles returns what is in the files of a directory, which must be for their owner only.
func ownFiles(t *testing.T, dir string) (text []byte) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) < 3 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, name := range append(files, dir) {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
		if info.Mode().IsRegular() {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			text = append(text, b...)
		}
	}
	return text
}

func hashOf(password string) string {
	return access.NewHash([]byte(password), []byte("0123456789abcdef")).String()
}
