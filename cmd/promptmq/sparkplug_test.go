package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

const sparkplugState = "spBv1.0/STATE/host"

// sparkplugPayload is a Sparkplug B payload of one metric: bdSeq, the number of the
// connection by which a host knows which NDEATH ends which NBIRTH.
func sparkplugPayload(bdSeq byte) codec.View {
	metric := append([]byte{1<<3 | 2, 5}, "bdSeq"...)
	metric = append(metric, 4<<3, 8, 11<<3, bdSeq) // UInt64, long_value
	return append(codec.View{2<<3 | 2, byte(len(metric))}, metric...)
}

// sparkplugEdge connects an edge node as Sparkplug 3.0 has it: with a clean session
// and NDEATH as its Will, it looks for the state of its host, and tells its birth and
// some data.
func sparkplugEdge(t *testing.T, s *server, node string, bdSeq byte) {
	t.Helper()
	topic := func(kind, device string) codec.View {
		return codec.View(strings.TrimSuffix(fmt.Sprintf("spBv1.0/plant/%s/%s/%s", kind, node, device), "/"))
	}
	p := sessionKind{version: codec.Version311}.connect(t, s, node,
		&codec.Will{Topic: topic("NDEATH", ""), Payload: sparkplugPayload(bdSeq), QoS: 1})
	p.subscribe(codec.Subscription{Filter: codec.View(sparkplugState), QoS: 1})
	if m := p.receive(); !m.Retain || !strings.Contains(string(m.Payload), `"online":true`) {
		t.Errorf("%s: the state of the host is %s", node, m.Payload)
	} else {
		p.sendAck(codec.TypePuback, m.PacketID)
	}
	p.publish(codec.Publish{Topic: topic("NBIRTH", ""), Payload: sparkplugPayload(bdSeq)})
	p.publish(codec.Publish{Topic: topic("DBIRTH", "pump"), Payload: sparkplugPayload(bdSeq)})
	p.publish(codec.Publish{Topic: topic("DDATA", "pump"), Payload: sparkplugPayload(bdSeq)})
	p.quiet()
}

// sparkplugHost connects the host application, which has a clean session too, and
// then says that it is there.
func sparkplugHost(t *testing.T, s *server) *raw {
	t.Helper()
	p := sessionKind{version: codec.Version311}.connect(t, s, "host",
		&codec.Will{Topic: codec.View(sparkplugState), Payload: sparkplugHostState(false), QoS: 1, Retain: true})
	p.subscribe(codec.Subscription{Filter: codec.View("spBv1.0/plant/#"), QoS: 1})
	tellSparkplugState(p)
	return p
}

func sparkplugHostState(online bool) codec.View {
	return codec.View(fmt.Sprintf(`{"online":%v,"timestamp":1}`, online))
}

// tellSparkplugState returns when the state, and so what was to be stored before, is
// on disk.
func tellSparkplugState(host *raw) {
	host.t.Helper()
	host.publish(codec.Publish{Topic: codec.View(sparkplugState), Payload: sparkplugHostState(true), QoS: 1, PacketID: 1, Retain: true})
	host.ack(codec.TypePuback)
}

// expectKinds takes the messages of a node, by the kinds that they have.
func expectKinds(t *testing.T, host *raw, node string, bdSeq byte, kinds ...string) {
	t.Helper()
	for _, kind := range kinds {
		m := host.receive()
		if m.QoS > 0 {
			host.sendAck(codec.TypePuback, m.PacketID)
		}
		if !strings.HasPrefix(string(m.Topic), "spBv1.0/plant/"+kind+"/"+node) || string(m.Payload) != string(sparkplugPayload(bdSeq)) {
			t.Errorf("%s with %q, expected %s of %s with bdSeq %d", m.Topic, m.Payload, kind, node, bdSeq)
		}
	}
}

// TestSparkplug kills the broker together with an edge node. When it is there again
// the host, which comes back, learns that the node is dead; of one that comes back it
// hears the new birth only, and its own state stays.
func TestSparkplug(t *testing.T) {
	inTime(t, func(seconds uint32) bool {
		s := start(t, fmt.Sprintf("mqtt: {will-grace: %ds}", seconds))
		host := sparkplugHost(t, s)
		for _, node := range []string{"dead", "back"} {
			sparkplugEdge(t, s, node, 1)
			expectKinds(t, host, node, 1, "NBIRTH", "DBIRTH", "DDATA")
		}
		tellSparkplugState(host)
		s.kill()
		began := time.Now()
		s.restart()
		host = sparkplugHost(t, s)
		sparkplugEdge(t, s, "back", 2)
		if time.Since(began) >= lifetime(seconds) {
			return false
		}
		expectKinds(t, host, "back", 2, "NBIRTH", "DBIRTH", "DDATA")
		expectKinds(t, host, "dead", 1, "NDEATH")
		host.quiet()
		probe := v5Of(t, s, "probe", nil)
		probe.subscribeOne(sparkplugState, 0)
		if m := probe.receive(); !strings.Contains(string(m.Payload), `"online":true`) {
			t.Errorf("the state of the host is %s", m.Payload)
		}
		return true
	})
}
