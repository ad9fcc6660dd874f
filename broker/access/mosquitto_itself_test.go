package access

import (
	"bufio"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	mosquittoPath   = flag.String("mosquitto", "", "mosquitto program to compare with; empty: none")
	mosquittoRounds = flag.Int("mosquitto.rounds", 50, "files that are compared")
)

// TestMosquittoItself compares what the Rules of random files say with what the program does:
// go test ./broker/access -run TestMosquittoItself -mosquitto /usr/sbin/mosquitto
func TestMosquittoItself(t *testing.T) {
	if *mosquittoPath == "" {
		t.Skip("no -mosquitto")
	}
	rng, o := seeded(t), newOracle()
	asked, granted := 0, 0
	for range *mosquittoRounds {
		text := randomACL(rng)
		rules, err := ParseMosquitto("acl", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		p := NewPolicy(rules)
		address := startMosquitto(t, text+"user boss\ntopic #\ntopic $x/#\ntopic $x\n")
		boss := dialMosquitto(t, address, "boss", "boss")
		boss.subscribe("#", "$x/#")
		for range 5 {
			user, client := oneOf(rng, oracleNames...), oneOf(rng, "a", "b", "+", "#", "a/b", "$x", "a+", "%c")
			c := dialMosquitto(t, address, user, client)
			c.subscribe("#", "$x/#")
			s := NewSubject(&Identity{User: user}, client)
			topics := append([]string(nil), o.topics[:140]...)
			for _, way := range []struct {
				from, to *mosquittoClient
				action   Actions
			}{{c, boss, Publish}, {boss, c, Receive}} {
				got := way.to.received(way.from, topics)
				for _, topic := range topics {
					d, _ := Explain(p, s, Request{Action: way.action, Topic: topic})
					if d.Allowed != got[topic] {
						t.Errorf("user %q, client %q, %s %q: %+v, Mosquitto: %v\n%s", user, client, way.action, topic, d, got[topic], text)
					}
					if asked++; d.Allowed {
						granted++
					}
				}
			}
			c.Close()
		}
		boss.Close()
		if t.Failed() {
			return
		}
	}
	t.Logf("%d questions, %d allowed", asked, granted)
}

// startMosquitto starts one that lets everybody in, and ends it with the test.
func startMosquitto(t *testing.T, acl string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(address)
	dir := t.TempDir()
	conf := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\nacl_file %s/acl\nuser root\n", port, dir)
	for name, text := range map[string]string{"conf": conf, "acl": acl} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), *mosquittoPath, "-c", filepath.Join(dir, "conf"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() })
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return address
		}
	}
	t.Fatal("mosquitto does not listen")
	return ""
}

// A mosquittoClient speaks as much of MQTT 3.1.1 as is needed.
type mosquittoClient struct {
	net.Conn
	t  *testing.T
	in *bufio.Reader
}

func dialMosquitto(t *testing.T, address, user, client string) *mosquittoClient {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	c := &mosquittoClient{conn, t, bufio.NewReader(conn)}
	body, flags := mqttText(client), byte(2)
	if user != "" {
		body, flags = body+mqttText(user), flags|0x80
	}
	c.send(0x10, mqttText("MQTT")+string([]byte{4, flags, 0, 60})+body)
	if kind, body := c.receive(); kind != 0x20 || body != "\x00\x00" {
		t.Fatalf("no CONNACK: %x %x", kind, body)
	}
	return c
}

func mqttText(s string) string { return string(binary.BigEndian.AppendUint16(nil, uint16(len(s)))) + s }

func (c *mosquittoClient) send(kind byte, body string) {
	c.t.Helper()
	if _, err := io.WriteString(c, string(binary.AppendUvarint([]byte{kind}, uint64(len(body))))+body); err != nil {
		c.t.Fatal(err)
	}
}

func (c *mosquittoClient) receive() (kind byte, body string) {
	c.t.Helper()
	kind, err := c.in.ReadByte()
	if err != nil {
		c.t.Fatal(err)
	}
	n, _ := binary.ReadUvarint(c.in)
	b := make([]byte, n)
	if _, err := io.ReadFull(c.in, b); err != nil {
		c.t.Fatal(err)
	}
	return kind, string(b)
}

func (c *mosquittoClient) subscribe(filters ...string) {
	c.t.Helper()
	body := "\x00\x01"
	for _, f := range filters {
		body += mqttText(f) + "\x00"
	}
	c.send(0x82, body)
	if kind, body := c.receive(); kind != 0x90 || strings.Contains(body, "\x80") {
		c.t.Fatalf("no SUBACK: %x %x", kind, body)
	}
}

// received has from publish to the topics and returns those that come.
func (c *mosquittoClient) received(from *mosquittoClient, topics []string) map[string]bool {
	c.t.Helper()
	for _, topic := range topics {
		from.send(0x30, mqttText(topic)+"?")
	}
	got := map[string]bool{}
	for _, who := range []*mosquittoClient{from, c} { // everything is there when both are answered
		who.send(0xC0, "")
		for kind := byte(0); kind != 0xD0; {
			var body string
			if kind, body = who.receive(); kind == 0x30 && who == c {
				got[body[2:len(body)-1]] = true
			}
		}
	}
	return got
}
