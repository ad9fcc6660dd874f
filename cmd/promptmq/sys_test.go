package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// exporterTopics are those that sapcc/mosquitto-exporter has names and help for, below
// $SYS/broker; and those of the dashboards made for it.
var exporterTopics = []string{
	"bytes/received", "bytes/sent", "messages/received", "messages/sent", "publish/bytes/received", "publish/bytes/sent",
	"publish/messages/received", "publish/messages/sent", "publish/messages/dropped", "uptime", "clients/maximum", "clients/total",
	"clients/connected", "clients/disconnected", "clients/expired", "clients/active", "clients/inactive", "heap/current", "heap/maximum", "messages/inflight",
	"messages/stored", "store/messages/count", "store/messages/bytes", "subscriptions/count", "shared_subscriptions/count", "retained messages/count",
	"load/messages/received/1min", "load/messages/sent/5min", "load/publish/sent/15min", "load/publish/received/1min", "load/publish/dropped/1min",
	"load/bytes/received/1min", "load/bytes/sent/15min", "load/sockets/1min", "load/connections/5min",
}

// testSysTopics does what MQTT Explorer does first, and what the exporter does.
func testSysTopics(t *testing.T, s *server) {
	retained := v5Of(t, s, "retained", nil)
	retained.publish(codec.Publish{Topic: codec.View("room/1"), Payload: codec.View("21"), Retain: true, QoS: 1, PacketID: 1})
	retained.ack(codec.TypePuback)
	explorer, _ := connectRaw(t, s.mqtt, codec.Version311, "mqtt-explorer-0123abcd", nil)
	explorer.subscribe(codec.Subscription{Filter: codec.View("#")}, codec.Subscription{Filter: codec.View("$SYS/#")})
	number := regexp.MustCompile(`\d+(\.\d+)?`)
	values, first := make(map[string]string), ""
	for missing := slices.Clone(exporterTopics); len(missing) > 0 || values["room/1"] == ""; {
		p := explorer.receive()
		topic, payload := p.Topic.String(), p.Payload.String()
		if !p.Retain || p.QoS != 0 || values[topic] != "" {
			t.Fatalf("%s: retain %v, QoS %d, %q; before: %q", topic, p.Retain, p.QoS, payload, values[topic])
		}
		values[topic] = payload
		name, sys := strings.CutPrefix(topic, "$SYS/broker/")
		if sys && name != "version" && !number.MatchString(payload) {
			t.Errorf("%s has no number: %q", topic, payload)
		}
		missing = slices.DeleteFunc(missing, func(want string) bool { return want == name })
	}
	if first = values["$SYS/broker/uptime"]; !regexp.MustCompile(`^\d+ seconds$`).MatchString(first) {
		t.Errorf("uptime %q", first)
	}
	for topic, want := range map[string]string{"clients/connected": "2", "clients/total": "2", "retained messages/count": "1", "subscriptions/count": "2"} {
		if got := values["$SYS/broker/"+topic]; got != want {
			t.Errorf("%s is %q, not %s", topic, got, want)
		}
	}
	for { // what has changed follows
		if p := explorer.receive(); !p.Retain && p.Topic.String() == "$SYS/broker/uptime" && p.Payload.String() != first {
			return
		}
	}
}
