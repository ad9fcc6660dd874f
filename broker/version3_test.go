package broker_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// What TestSessions shows of clients of 3.1.1 and 3.1.

// testTakeover3: clients of 3.x are just closed, over each other and over v5.
func testTakeover3(t *testing.T, s *fixture, id string) {
	p, _ := s.connectAs(codec.Version31, "takeover3", nil)
	for _, v := range []codec.Version{codec.Version311, codec.Version31, codec.Version5} {
		next, ack := s.connectAs(v, "takeover3", nil)
		if ack.Reason != codec.Success {
			t.Errorf("%v: %v", v, ack.Reason)
		}
		p.closed(codec.Success)
		p = next
	}
	s.connectAs(codec.Version311, "takeover3", nil)
	p.closed(codec.SessionTakenOver)
}

// testKeepAlive3: the Keep Alive of a 3.1.1 client is its own; PINGREQ and any
// other packet count, and its end publishes the Will.
func testKeepAlive3(t *testing.T, s *fixture, id string) {
	const keepAlive = 60 * time.Second
	watcher := s.connectV5(id+"-watcher", nil)
	watcher.subscribeOne(id, 0)
	p, _ := s.connectAs(codec.Version311, id, func(c *codec.Connect) {
		c.KeepAliveSeconds, c.HasWill, c.Will = uint16(keepAlive/time.Second), true, codec.Will{Topic: codec.View(id), Payload: codec.View("gone")}
	})
	for i := range 10 {
		time.Sleep(keepAlive*3/2 - time.Second)
		if i%2 == 0 {
			p.quiet()
		} else {
			p.publish1(1, "other", "x")
		}
	}
	asked := time.Now()
	time.Sleep(keepAlive*3/2 - time.Second)
	watcher.quiet()
	p.closed(codec.Success)
	if d := time.Since(asked); d < keepAlive*3/2 || d > keepAlive*3/2+time.Second {
		t.Errorf("closed %v after the last packet", d)
	}
	if m := watcher.receive(); string(m.Payload) != "gone" {
		t.Errorf("Will %q", m.Payload)
	}
}

// testReturnCodes3: what CONNACK of 3.x has, on the wire.
func testReturnCodes3(t *testing.T, s *fixture, _ string) {
	for name, c := range map[string]struct {
		connect, want []byte
	}{
		"level 2 of MQTT":         {[]byte{0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 2, 2, 0, 0, 0, 1, 'x'}, []byte{0x20, 2, 0, 1}},
		"level 6 of MQTT":         {[]byte{0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 6, 2, 0, 0, 0, 1, 'x'}, []byte{0x20, 3, 0, 0x84, 0}}, // as 5 has it
		"3.1.1 of a bridge":       {[]byte{0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 0x84, 2, 0, 0, 0, 1, 'x'}, []byte{0x20, 2, 0, 1}},
		"3.1.1, Will on a filter": {[]byte{0x10, 20, 0, 4, 'M', 'Q', 'T', 'T', 4, 6, 0, 0, 0, 1, 'x', 0, 3, 'a', '/', '#', 0, 0}, nil},
		"level 3 of MQTT":         {[]byte{0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 3, 2, 0, 0, 0, 1, 'x'}, []byte{0x20, 2, 0, 1}},
		"level 4 of MQIsdp":       {[]byte{0x10, 15, 0, 6, 'M', 'Q', 'I', 's', 'd', 'p', 4, 2, 0, 0, 0, 1, 'x'}, []byte{0x20, 2, 0, 1}},
		"another name":            {[]byte{0x10, 13, 0, 4, 'm', 'q', 't', 't', 4, 2, 0, 0, 0, 1, 'x'}, []byte{0x20, 2, 0, 1}},
		"3.1.1, reserved flag":    {[]byte{0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 4, 3, 0, 0, 0, 1, 'x'}, nil},
		"3.1.1, no id, not clean": {[]byte{0x10, 12, 0, 4, 'M', 'Q', 'T', 'T', 4, 0, 0, 0, 0, 0}, []byte{0x20, 2, 0, 2}},
		"3.1, no id":              {[]byte{0x10, 14, 0, 6, 'M', 'Q', 'I', 's', 'd', 'p', 3, 2, 0, 0, 0, 0}, []byte{0x20, 2, 0, 2}},
	} {
		p := s.dialAs(codec.Version311)
		p.write(c.connect, nil)
		if err := p.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if _, err := got.ReadFrom(p.Conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%s: the connection stays open", name)
		}
		if !bytes.Equal(got.Bytes(), c.want) {
			t.Errorf("%s: answered %x, expected %x", name, got.Bytes(), c.want)
		}
	}
}

// testSessionPresent3: the flag of 3.1.1, which 3.1 has not.
func testSessionPresent3(t *testing.T, s *fixture, id string) {
	for v, want := range map[codec.Version]string{codec.Version311: "\x20\x02\x01\x00", codec.Version31: "\x20\x02\x00\x00"} {
		keep := func(c *codec.Connect) { c.CleanStart = false }
		name := fmt.Sprint("present", byte(v))
		p, ack := s.connectAs(v, name, keep)
		if ack.SessionPresent {
			t.Errorf("%v: present at first", v)
		}
		p.subscribeOne(id, 1)
		p.write([]byte{0xE0, 0}, nil)
		p.closed(codec.Success)
		s.connectV5(id, nil).publish1(1, id, "queued")
		p = s.dialAs(v)
		p.write(codec.AppendConnect(nil, &codec.Connect{ClientID: codec.View(name)}, v))
		p.expect(codec.TypeConnack, func(f codec.Frame) error {
			if got := "\x20\x02" + string(f.Body); got != want {
				t.Errorf("%v: CONNACK %x", v, got)
			}
			return nil
		})
		if m := p.receive(); string(m.Payload) != "queued" {
			t.Errorf("%v: %q", v, m.Payload)
		}
	}
}
