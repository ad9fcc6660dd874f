//go:build outside

package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

var keepMosquittoDB = flag.String("keep-mosquitto-db", "", "where to write the mosquitto.db that testdata has")

// TestOutsideImportState: a real Mosquitto is told of 1,000 retained messages and 50
// sessions, and ends. After the import all of it is in PromptMQ.
func TestOutsideImportState(t *testing.T) {
	t.Parallel()
	sc := scene{retained: 1000, sessions: 50}
	if *keepMosquittoDB != "" {
		sc = smallScene
	}
	file := sc.play(t)
	if *keepMosquittoDB != "" {
		b, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(*keepMosquittoDB, b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	sc.checkImport(t, file)
}

// play tells a Mosquitto the scene, and returns its mosquitto.db.
func (sc scene) play(t *testing.T) string {
	t.Helper()
	dir, addr := t.TempDir(), freeAddress(t)
	conf := filepath.Join(dir, "mosquitto.conf")
	text := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location %s/\nmax_inflight_messages %d\nmax_queued_messages 0\nuser root\n",
		portOf(t, addr), dir, sceneInflight)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command(program(t, "mosquitto"), "-c", conf)
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }() // it has ended, after a success
	awaitPort(t, addr)
	sc.tell(t, addr)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, log.Bytes())
	}
	return filepath.Join(dir, "mosquitto.db")
}

func (sc scene) tell(t *testing.T, addr string) {
	t.Helper()
	pub, _ := connectRaw(t, addr, codec.Version5, "publisher", nil)
	for i := range sc.retained {
		tellMessage(pub, sc.kept(i))
	}
	var away []*raw
	for i := range sc.sessions {
		away = append(away, sc.client(i).attend(t, addr, pub))
	}
	for i := range sc.sessions { // no client is connected any more
		c := sc.client(i)
		for n := c.sent; n < c.sent+c.waiting; n++ {
			m := c.message(n)
			forward, expires := sceneProperties(n)
			m.forward, m.expires, m.qos = string(forward), expires, 2
			tellMessage(pub, m)
		}
	}
	_ = away
	pub.drop()
}

// attend is what a client does while it is connected.
func (c *sceneClient) attend(t *testing.T, addr string, pub *raw) *raw {
	t.Helper()
	p, _ := connectRaw(t, addr, c.version, c.id, c.connect(c.gone && c.version != codec.Version5))
	subs := []codec.Subscription{c.sub}
	if c.id == sceneReader {
		subs = append(subs, codec.Subscription{Filter: codec.View("in/#"), QoS: 2})
	}
	p.send(codec.AppendSubscribe(nil, &codec.Subscribe{PacketID: 1, SubscriptionID: c.subID}, subs, c.version))
	var ack codec.Suback
	p.expect(codec.TypeSuback, func(f codec.Frame) error { return ack.Decode(f, c.version) })
	for n := range c.sent {
		m := c.message(n)
		m.qos = c.sentQoS
		tellMessage(pub, m)
		if got := p.receive(); got.PacketID != uint16(n+1) {
			t.Fatalf("%s: Packet Identifier %d", c.id, got.PacketID)
		}
		if n < c.released {
			p.sendAck(codec.TypePubrec, uint16(n+1))
			p.ack(codec.TypePubrel)
		}
	}
	if c.arrives {
		p.publish(codec.Publish{QoS: 2, PacketID: 77, Retain: true, Topic: codec.View(c.arrivalTopic()), Payload: codec.View("from " + c.id)})
		p.ack(codec.TypePubrec)
	}
	p.drop()
	return p
}

// tellMessage publishes a message, and waits until it is acknowledged.
func tellMessage(p *raw, m sceneMessage) {
	p.t.Helper()
	out := codec.Publish{QoS: m.qos, Retain: m.retain, Topic: codec.View(m.topic), Payload: codec.View(m.payload), Forward: codec.ForwardBytes([]byte(m.forward))}
	if m.expires {
		out.HasMessageExpiry, out.MessageExpirySeconds = true, sceneExpiry
	}
	if m.qos > 0 {
		out.PacketID = 1
	}
	p.publish(out)
	switch m.qos {
	case 1:
		p.ack(codec.TypePuback)
	case 2:
		p.ack(codec.TypePubrec)
		p.sendAck(codec.TypePubrel, 1)
		p.ack(codec.TypePubcomp)
	}
}
