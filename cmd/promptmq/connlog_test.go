package main

import (
	"fmt"
	"net"
	"slices"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// TestConnectionsLogged: each connection that is accepted has a line when it comes and one when
// it goes, and a device that takes the place of another in turn has a warning.
func TestConnectionsLogged(t *testing.T) {
	s := start(t, "server: {bind: '127.0.0.1:0', ws-bind: ''}\nmqtt: {max-packet-size: 1000}")
	p, _ := connectRaw(t, s.mqtt, codec.Version311, "polite", func(c *codec.Connect) { c.KeepAliveSeconds = 60 })
	p.send(codec.AppendDisconnect(nil, &codec.Disconnect{}, codec.Version311))
	p.drop()
	large := v5Of(t, s, "large", nil)
	large.publish(codec.Publish{Topic: codec.View("t"), Payload: make([]byte, 2000)})
	large.closed(codec.PacketTooLarge)
	for _, want := range []map[string]any{
		{"msg": "client connected", "client": "polite", "listener": "mqtt", "version": "3.1.1", "clean_start": true, "session_present": false, "keep_alive": 60.0, "will": false},
		{"msg": "client disconnected", "client": "polite", "listener": "mqtt", "reason": "client", "messages_in": 0.0, "messages_out": 0.0, "bytes_out": 4.0},
		{"msg": "client disconnected", "client": "large", "reason": "protocol_error", "detail": "Packet too large: the packet has 2,007 bytes, and mqtt.max-packet-size is 1,000"},
		{"msg": "connection closed", "client": "large", "size": 2007.0, "limit": 1000.0, "key": "mqtt.max-packet-size"},
	} {
		eventually(t, fmt.Sprint("the log has ", want), func() bool {
			return slices.ContainsFunc(s.log(), func(r record) bool {
				for name, value := range want {
					if r[name] != value {
						return false
					}
				}
				return true
			})
		})
	}
	if n := len(s.linesOf("client connected")); n != 2 {
		t.Errorf("%d lines for 2 connects", n)
	}
	for i := range 6 {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%2))}}
		nc, err := d.Dial("tcp", s.mqtt)
		if err != nil {
			t.Fatal(err)
		}
		connectOver(t, nc, codec.Version311, "shared", nil)
	}
	r := s.waitLog("clients at two addresses take the session from each other: a client identifier is for one device only")
	var hosts []string
	for _, a := range r["addresses"].([]any) {
		host, _, _ := net.SplitHostPort(a.(string))
		hosts = append(hosts, host)
	}
	if slices.Sort(hosts); r.text("level") != "WARN" || r.text("client") != "shared" || !slices.Equal(hosts, []string{"127.0.0.2", "127.0.0.3"}) {
		t.Errorf("%v", r)
	}
	if n := len(s.linesOf(r.text("msg"))); n != 1 {
		t.Errorf("%d warnings", n)
	}
}
