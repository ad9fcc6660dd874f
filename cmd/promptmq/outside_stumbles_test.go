//go:build outside

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// stumbles are settings of the programs that docs/clients.md says are needed. Without one of them messages are lost, or the
// program does not come back.
var stumbles = []struct{ program, file, with, without string }{
	{"Go, paho.golang (autopaho)", "paho5/main.go", "SessionExpiryInterval:         3600,", ""},
	{"Go, paho.mqtt.golang", "paho311/main.go", "opts.SetCleanSession(false)", ""},
	{"Python, paho-mqtt", "paho2.py", "properties.SessionExpiryInterval = 3600", ""},
	{"Python, aiomqtt", "aio.py", "properties.SessionExpiryInterval = 3600", ""},
	{"JavaScript, MQTT.js in Node", "numbers.js", "clean: false,", ""},
	{"JavaScript, MQTT.js in Node", "numbers.js", "sessionExpiryInterval: 3600", ""},
	{"Node-RED flow", "receive.json", `"cleansession": false`, `"cleansession": true`},
	{"Java, HiveMQ client", "src/main/java/HiveMq.java", ".automaticReconnect().initialDelay(1, TimeUnit.SECONDS).maxDelay(5, TimeUnit.SECONDS).applyAutomaticReconnect()", ""},
	{"Java, HiveMQ client", "src/main/java/HiveMq.java", ".cleanStart(false).sessionExpiryInterval(3600)", ""},
	{"Java, Paho", "src/main/java/Paho.java", "options.setCleanSession(false);", ""},
	{"Java, Paho", "src/main/java/Paho.java", "options.setAutomaticReconnect(true);", ""},
	{"C, libmosquitto", "mosquitto.c", "mosquitto_property_add_int32(&props, MQTT_PROP_SESSION_EXPIRY_INTERVAL, 3600);", ""},
	{"C, Paho (MQTTAsync)", "paho.c", "options.cleansession = 0;", ""},
	{"C, Paho (MQTTAsync)", "paho.c", "options.automaticReconnect = 1;", ""},
	{"Rust, rumqttc", "src/main.rs", "properties.session_expiry_interval = Some(3600);", ""},
}

// TestClientStumbles takes one setting out of a program, and looks whether it was needed. It is the control of
// TestClientPrograms too, which puts the programs where this finds them.
func TestClientStumbles(t *testing.T) {
	for _, stumble := range stumbles {
		t.Run(stumble.program+": "+stumble.with, func(t *testing.T) {
			p := programNamed(t, stumble.program)
			if _, err := p.prepare(t); err != nil {
				t.Skip(err)
			}
			file := filepath.Join(p.copied(), stumble.file)
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Count(string(text), stumble.with) != 1 {
				t.Fatalf("%s does not have it once", stumble.file)
			}
			writeText(t, file, strings.Replace(string(text), stumble.with, stumble.without, 1))
			if last, err := p.shell(p.install); err != nil {
				t.Fatal(last)
			}
			out := survive(t, func(role string, s *server) *heard { return p.start(t, s, role, 1) }, func(*server) {})
			if out.lost == 0 && out.fault == "" {
				t.Errorf("nothing is lost without it: %+v", out)
			}
			first, _, _ := strings.Cut(out.fault, ":")
			t.Logf("without %s: %d lost %s", stumble.with, out.lost, first)
		})
	}
}

func programNamed(t *testing.T, name string) clientProgram {
	t.Helper()
	for _, p := range clientPrograms {
		if p.name == name {
			return p
		}
	}
	t.Fatalf("there is no program %q", name)
	return clientProgram{}
}
