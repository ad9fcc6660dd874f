package broker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/x0a1b/promptmq/broker"
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
func sparkplugEdge(t *testing.T, s *fixture, node string, bdSeq byte) {
	t.Helper()
	topic := func(kind, device string) codec.View {
		return codec.View(strings.TrimSuffix(fmt.Sprintf("spBv1.0/plant/%s/%s/%s", kind, node, device), "/"))
	}
	p := connect311(s, node, codec.Will{Topic: topic("NDEATH", ""), Payload: sparkplugPayload(bdSeq), QoS: 1})
	p.subscribed(codec.Subscription{Filter: codec.View(sparkplugState), QoS: 1})
	if m := p.receive(); !m.Retain || !strings.Contains(string(m.Payload), `"online":true`) {
		t.Errorf("%s: the state of the host is %s", node, m.Payload)
	} else {
		p.ack(codec.TypePuback, m.PacketID)
	}
	p.sendPublish(codec.Publish{Topic: topic("NBIRTH", ""), Payload: sparkplugPayload(bdSeq)})
	p.sendPublish(codec.Publish{Topic: topic("DBIRTH", "pump"), Payload: sparkplugPayload(bdSeq)})
	p.sendPublish(codec.Publish{Topic: topic("DDATA", "pump"), Payload: sparkplugPayload(bdSeq)})
	p.quiet()
}

// sparkplugHost connects the host application, which has a clean session too, and
// then says that it is there.
func sparkplugHost(t *testing.T, s *fixture) *peer {
	t.Helper()
	p := connect311(s, "host", codec.Will{Topic: codec.View(sparkplugState), Payload: sparkplugHostState(false), QoS: 1, Retain: true})
	p.subscribed(codec.Subscription{Filter: codec.View("spBv1.0/plant/#"), QoS: 1})
	tellSparkplugState(p)
	return p
}

func sparkplugHostState(online bool) codec.View {
	return codec.View(fmt.Sprintf(`{"online":%v,"timestamp":1}`, online))
}

// tellSparkplugState returns when the state, and so what was to be stored before, is
// on disk.
func tellSparkplugState(host *peer) {
	host.t.Helper()
	host.sendPublish(codec.Publish{Topic: codec.View(sparkplugState), Payload: sparkplugHostState(true), QoS: 1, PacketID: 1, Retain: true})
	host.acked(codec.TypePuback)
}

// expectKinds takes the messages of a node, by the kinds that they have.
func expectKinds(t *testing.T, host *peer, node string, bdSeq byte, kinds ...string) {
	t.Helper()
	for _, kind := range kinds {
		m := host.receive()
		if m.QoS > 0 {
			host.ack(codec.TypePuback, m.PacketID)
		}
		if !strings.HasPrefix(string(m.Topic), "spBv1.0/plant/"+kind+"/"+node) || string(m.Payload) != string(sparkplugPayload(bdSeq)) {
			t.Errorf("%s with %q, expected %s of %s with bdSeq %d", m.Topic, m.Payload, kind, node, bdSeq)
		}
	}
}

// connect311 connects with a clean session and a Will.
func connect311(s *fixture, id string, will codec.Will) *peer {
	s.t.Helper()
	p, ack := s.connectAs(codec.Version311, id, func(c *codec.Connect) { c.HasWill, c.Will = true, will })
	if ack.Reason != codec.Success {
		s.t.Fatalf("CONNACK %v", ack.Reason)
	}
	return p
}

// TestSparkplug kills the broker together with an edge node. When it is there again
// the host, which comes back, learns that the node is dead; of one that comes back it
// hears the new birth only, and its own state stays.
func TestSparkplug(t *testing.T) { timeless(t, testSparkplug) }

func testSparkplug(t *testing.T) {
	const grace = 5 * time.Second
	s := newFixtureWith(t, func(o *broker.Options) { o.WillGrace = grace })
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
	expectKinds(t, host, "back", 2, "NBIRTH", "DBIRTH", "DDATA")
	time.Sleep(grace - time.Second)
	host.quiet()
	expectKinds(t, host, "dead", 1, "NDEATH")
	if d := time.Since(began); d < grace || d > grace+time.Second {
		t.Errorf("NDEATH comes %v after the start", d)
	}
	host.quiet()
	probe := s.connectV5("probe", nil)
	probe.subscribeOne(sparkplugState, 0)
	if m := probe.receive(); !strings.Contains(string(m.Payload), `"online":true`) {
		t.Errorf("the state of the host is %s", m.Payload)
	}
}
