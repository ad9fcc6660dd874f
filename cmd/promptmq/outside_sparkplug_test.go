//go:build outside

package main

import (
	"fmt"
	"maps"
	"slices"
	"syscall"
	"testing"
	"time"
)

var sparkplugProgram = clientProgram{name: "Sparkplug B edge node, MQTT.js", mqtt: "3.1.1", dir: "sparkplug", install: installNode, version: versionOfMQTTJS,
	run: `node {role}.js {host} {port} plant press {count}`}

// surviveSparkplug: an Edge Node and a Host Application over a kill -9 of the broker, and then an Edge Node that is killed
// itself. What is sent with QoS 0 may be lost at the kill; what must hold is that the Host knows it: a birth for each
// life, a birth when it is asked for, and a death by the Will.
func surviveSparkplug(t *testing.T, table *clientsTable) {
	p := sparkplugProgram
	version, err := p.prepare(t)
	if err != nil {
		table.add(p.name, "", p.mqtt, "", "", "", "", "", "", "not run: "+err.Error())
		t.Skip(err)
	}
	s := start(t, "", "--server-bind", freeAddress(t))
	edge := p.start(t, s, "edge", 0)
	if !edge.await(func() bool { return len(edge.seen["sent"]) > 100 }) {
		t.Fatal(edge.lines())
	}
	host := p.start(t, s, "host", 0) // late: it has to ask for a birth
	if !host.await(func() bool { return len(host.seen["received"]) >= killedAt/2 }) {
		t.Fatal(host.lines())
	}
	s.kill()
	time.Sleep(outage)
	s.restart()
	if !edge.awaitWord("done") || !host.awaitWord("done") || !host.await(func() bool { return len(host.seen["death"]) > 0 }) {
		t.Fatalf("edge:\n%s\nhost:\n%s", edge.lines(), host.lines())
	}
	host.mu.Lock()
	last := slices.Max(slices.Collect(maps.Keys(host.seen["birth"]))) // each try to connect counts
	if host.seen["birth"][0] == 0 || last == 0 || host.seen["death"][last] == 0 {
		t.Errorf("births %v, deaths %v", host.seen["birth"], host.seen["death"])
	}
	host.mu.Unlock()
	twice := 0
	for _, times := range host.seen["received"] {
		if times > 1 {
			twice++
		}
	}

	second := p.start(t, s, "edge", 0)
	if !second.await(func() bool { return len(second.seen["sent"]) > 100 }) {
		t.Fatal(second.lines())
	}
	second.signal(syscall.SIGKILL)
	if !host.await(func() bool { return host.seen["death"][0] > 0 }) {
		t.Errorf("no death by the Will:\n%s", host.lines())
	}
	host.mu.Lock()
	defer host.mu.Unlock()
	table.add(p.name, version, p.mqtt, 0, len(edge.seen["sent"]), "–", len(host.seen["received"]), twice, "–", fmt.Sprintf("born again; %d gaps noticed", len(host.seen["gap"])))
	t.Log(table.lines[len(table.lines)-1])
}
