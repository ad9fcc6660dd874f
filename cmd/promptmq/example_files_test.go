package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// This file starts the files of examples/ that need no certificates, and checks what each of
// them is for.

// examplesDir has the files.
const examplesDir = "../../examples"

// exampleText is a file of examples/ with files of /etc/promptmq in dir, and listeners on free
// ports of this machine.
func exampleText(t *testing.T, name, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(examplesDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer("/etc/promptmq/", dir+"/", "/run/promptmq/", dir+"/",
		`address: ":8883"`, `address: "127.0.0.1:0"`, `address: ":8884"`, `address: "127.0.0.1:0"`,
		"127.0.0.1:1884", "127.0.0.1:0", "127.0.0.1:8081", "127.0.0.1:0").Replace(string(text))
}

// startExample runs the server with a file of examples/ and, if there is one beside it, its rules.
func startExample(t *testing.T, name, dir string, args ...string) *server {
	t.Helper()
	rules := "deny nobody publish topic none\nallow everyone all topic #\nend\n"
	if text, err := os.ReadFile(filepath.Join(examplesDir, name+".rules")); err == nil {
		rules = string(text)
	}
	writeText(t, filepath.Join(dir, "rules"), rules)
	return start(t, exampleText(t, name+".yaml", dir), append([]string{"--log-format", "json", "--log-level", "debug"}, args...)...)
}

// wantPragmas checks what SQLite says when the store is opened.
func (s *server) wantPragmas(want map[string]string) {
	s.t.Helper()
	opened := s.waitLog("store opened")
	for pragma, value := range want {
		if got := opened.text(pragma); got != value {
			s.t.Errorf("%s is %q, want %q", pragma, got, value)
		}
	}
}

// keeps checks that what was acknowledged is there after kill -9.
func (s *server) keeps(t *testing.T) {
	t.Helper()
	sub := v5Of(t, s, "keeper", lasting)
	sub.subscribeOne("kept", 1)
	sub.drop()
	if r := v5Of(t, s, "pub", nil).publish1(1, "kept", "x"); r != codec.Success {
		t.Errorf("PUBACK %v", r)
	}
	s.kill()
	s.restart()
	if got := v5Of(t, s, "keeper", resumed).receive().Payload.String(); got != "x" {
		t.Errorf("after kill -9 %q came", got)
	}
}

func TestExampleDevelopment(t *testing.T) {
	unraced(t)
	t.Parallel()
	values := printed(t, nil, "--config", filepath.Join(examplesDir, "development.yaml"))
	for _, key := range []string{"server.bind", "server.ws-bind", "metrics.bind"} {
		if !strings.HasPrefix(values[key], "127.0.0.1:") {
			t.Errorf("%s is %s: others than this machine get in", key, values[key])
		}
	}
	s := startExample(t, "development", t.TempDir())
	s.wantPragmas(map[string]string{"synchronous": "1", "journal_mode": "wal"})
	s.keeps(t)
	s.stop()

	cmd := exec.Command(binary, "server", "--config", filepath.Join(examplesDir, "development.yaml"), "--data-dir", t.TempDir(),
		"--server-bind", "127.0.0.1:0", "--server-ws-bind", "127.0.0.1:0", "--metrics-bind", "127.0.0.1:0")
	cmd.Env = environ()
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	ready := ""
	for lines := bufio.NewScanner(stderr); ready == "" && lines.Scan(); {
		if strings.Contains(lines.Text(), "ready") {
			ready = lines.Text()
		}
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_, _ = io.Copy(io.Discard, stderr)
	if err := cmd.Wait(); err != nil || ready == "" || strings.HasPrefix(ready, "{") {
		t.Errorf("a readable log has %q, %v", ready, err)
	}
}

// TestExampleProduction: who comes from another machine needs a password, and what is acknowledged is synced.
func TestExampleProduction(t *testing.T) {
	unraced(t)
	t.Parallel()
	s := startExample(t, "production", t.TempDir(), "--server-listeners", `[{name: elsewhere, kind: tcp, address: "127.0.0.1:0", proxy-protocol: true, trusted-proxies: 127.0.0.1}]`)
	s.wantPragmas(map[string]string{"synchronous": "2", "journal_mode": "wal"})
	s.keeps(t)
	forever := func(c *codec.Connect) { c.HasSessionExpiry, c.SessionExpirySeconds = true, 1<<32-1 }
	if _, ack := connectRaw(t, s.mqtt, codec.Version5, "gone for good", forever); !ack.HasSessionExpiry || ack.SessionExpirySeconds != 30*24*3600 {
		t.Errorf("a session lasts %d s", ack.SessionExpirySeconds)
	}
	commander{t, s.dataDir()}.add("ann", "secret")
	for _, c := range []struct {
		change func(*codec.Connect)
		want   codec.ReasonCode
	}{{nil, codec.NotAuthorized}, {byUser("ann", "wrong"), codec.BadUserNameOrPassword}, {byUser("ann", "secret"), codec.Success}} {
		nc := dialTCP(t, s.listening("elsewhere"))
		if _, err := io.WriteString(nc, "PROXY TCP4 203.0.113.9 192.0.2.1 4711 1883\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, ack := connectOver(t, nc, codec.Version5, "remote", c.change); ack.Reason != c.want {
			t.Errorf("from elsewhere: %v, want %v", ack.Reason, c.want)
		}
	}
}

// TestExampleHighThroughput: commits are not synced, and much may be in flight.
// TestOutsideExampleSyncs counts the syncs.
func TestExampleHighThroughput(t *testing.T) {
	unraced(t)
	t.Parallel()
	s := startExample(t, "high-throughput", t.TempDir())
	s.wantPragmas(map[string]string{"synchronous": "1", "journal_mode": "wal", "temp_store": "2"})
	sub, ack := connectRaw(t, s.mqtt, codec.Version5, "sub", nil)
	if ack.TopicAliasMaximum != 64 {
		t.Errorf("Topic Alias Maximum %d", ack.TopicAliasMaximum)
	}
	sub.subscribeOne("t", 1)
	pub := v5Of(t, s, "pub", nil)
	var batch []byte
	for i := range uint16(501) {
		batch, _ = codec.AppendPublish(batch, &codec.Publish{QoS: 1, PacketID: 1 + i, Topic: codec.View("t")}, codec.Version5)
	}
	pub.send(batch, nil)
	for range 501 {
		pub.ack(codec.TypePuback)
	}
	for range 500 {
		sub.receive()
	}
	sub.quiet() // the 501st waits
	s.keeps(t)
}

// TestExampleHighDurability: the strictest that SQLite has, and nothing acknowledged is dropped for want of room.
func TestExampleHighDurability(t *testing.T) {
	unraced(t)
	t.Parallel()
	s := startExample(t, "high-durability", t.TempDir(), "--mqtt-max-queued-messages", "3")
	s.wantPragmas(map[string]string{"synchronous": "3", "journal_mode": "delete", "mmap_size": "0"})
	fillQueue(t, s, "x", 3)
	s.keeps(t)
}

// TestExampleTuning: each value of the file is the default, as it says.
func TestExampleTuning(t *testing.T) {
	unraced(t)
	t.Parallel()
	file := filepath.Join(examplesDir, "sqlite-tuning.yaml")
	defaults, values := printed(t, nil), printed(t, nil, "--config", file)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range values {
		if value != defaults[key] {
			t.Errorf("%s is %s, and %s by default", key, value, defaults[key])
		}
		if name, found := strings.CutPrefix(key, "storage.sqlite."); found && !strings.Contains(string(text), "\n    "+name+": ") {
			t.Errorf("it does not have %s", key)
		}
	}
	startExample(t, "sqlite-tuning", t.TempDir()).wantPragmas(map[string]string{
		"cache_size": "-65536", "temp_store": "2", "mmap_size": "268435456", "busy_timeout": "30000", "synchronous": "2", "journal_mode": "wal", "foreign_keys": "1",
	})
}

// A homeTopic is published to by a user of the example home-automation.
type homeTopic struct{ user, topic string }

var homeTopics = []homeTopic{
	{"plug", "tasmota/discovery/A020A6000000/config"}, {"plug", "stat/plug/POWER"}, {"plug", "tele/plug/LWT"},
	{"zigbee2mqtt", "homeassistant/sensor/0x00158d0001/battery/config"}, {"zigbee2mqtt", "zigbee2mqtt/lamp"},
	{"thermostat", "homeassistant/climate/thermostat/room/config"}, {"thermostat", "thermostat/status"},
}

// foreignTopics are those that they may not publish to.
var foreignTopics = []homeTopic{
	{"plug", "stat/plug2/POWER"}, {"plug", "cmnd/plug/POWER"}, {"plug", "homeassistant/sensor/plug/x/config"},
	{"thermostat", "homeassistant/climate/other/room/config"}, {"zigbee2mqtt", "homeassistant/status"},
}

// notGranted is what SUBACK of MQTT 3.1.1 has for a subscription that is refused.
const notGranted = 0x80

// TestExampleHomeAutomation: clients of MQTT 3.1.1 as those of a home. Each has its own topics,
// discovery is there again after kill -9, and who has no user gets nothing.
func TestExampleHomeAutomation(t *testing.T) {
	unraced(t)
	t.Parallel()
	s := startExample(t, "home-automation", t.TempDir())
	c := commander{t, s.dataDir()}
	for user, group := range map[string]string{"homeassistant": "homeassistant", "zigbee2mqtt": "zigbee2mqtt", "plug": "tasmota", "plug2": "tasmota", "thermostat": "esphome"} {
		c.add(user, "of "+user, "--group", group)
	}
	client := func(user string) *raw {
		t.Helper()
		p, ack := connectRaw(t, s.mqtt, codec.Version311, user, as(user, "of "+user))
		if ack.Reason != accepted {
			t.Fatalf("%s: CONNACK %v", user, ack.Reason)
		}
		return p
	}
	for _, ask := range []struct {
		user, filter string
		want         codec.ReasonCode
	}{
		{"homeassistant", "#", 0}, {"homeassistant", "$SYS/broker/version", 0},
		{"zigbee2mqtt", "zigbee2mqtt/#", 0}, {"zigbee2mqtt", "homeassistant/status", 0}, {"zigbee2mqtt", "cmnd/#", notGranted},
		{"plug", "cmnd/plug/#", 0}, {"plug", "cmnd/tasmotas/#", 0}, {"plug", "cmnd/plug2/#", notGranted}, {"plug", "#", notGranted},
		{"thermostat", "thermostat/#", 0}, {"thermostat", "homeassistant/status", 0}, {"thermostat", "zigbee2mqtt/#", notGranted},
	} {
		p := client(ask.user)
		if r := p.subscribeOne(ask.filter, 0); r != ask.want {
			t.Errorf("%s subscribes to %s: %v", ask.user, ask.filter, r)
		}
		_ = p.Close()
	}
	hub := client("homeassistant")
	hub.subscribeOne("#", 0)
	for _, m := range slices.Concat(foreignTopics, homeTopics) {
		p := client(m.user)
		p.publish(codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View(m.topic), Payload: codec.View("x")})
		if p.ack(codec.TypePuback); m.topic == "homeassistant/status" {
			continue
		}
		_ = p.Close()
	}
	for _, m := range homeTopics { // and nothing of the foreign ones before
		if got := hub.receive().Topic.String(); got != m.topic {
			t.Errorf("%s came, want %s", got, m.topic)
		}
	}
	s.kill()
	s.restart()
	hub = client("homeassistant")
	hub.subscribeOne("#", 0)
	for range homeTopics {
		if m := hub.receive(); !m.Retain {
			t.Errorf("%s is not retained", m.Topic)
		}
	}
	hub.quiet()
	if r := s.loginAs(codec.Version311, "plug", "of plug2"); r != codec.BadUserNameOrPassword {
		t.Errorf("with another device's password: %v", r)
	}
	nobody, _ := connectRaw(t, s.mqtt, codec.Version311, "nobody", nil)
	if r := nobody.subscribeOne("#", 0); r != notGranted {
		t.Errorf("nobody subscribes: %v", r)
	}
	for _, r := range s.linesOf("listening") {
		if r.text("listener") == "mqtt" && r.text("without_credentials") != "this machine" {
			t.Errorf("%v get in", r.text("without_credentials"))
		}
	}
}
