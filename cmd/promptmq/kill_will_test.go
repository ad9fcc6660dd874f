package main

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// TestKill9Wills kills the broker with devices whose Sessions end with their
// connections, again and again. After each start, which waits for nobody, what is
// retained of each device is its Will if it was connected, and else what it said
// last.
func TestKill9Wills(t *testing.T) {
	t.Parallel()
	s := start(t, "mqtt: {will-grace: 0s}")
	wills, problems := killWithWills(t, s, max(4, *kills/20))
	for _, problem := range problems {
		t.Error(problem)
	}
	t.Logf("%d kills: %d Wills", max(4, *kills/20), wills)
}

// TestKill9WillsControl breaks the promise on purpose: the same test must see it.
func TestKill9WillsControl(t *testing.T) {
	t.Parallel()
	s := startBinary(t, controlBinary(t), []string{"BREAK_RULES=will-not-kept"}, "mqtt: {will-grace: 0s}")
	_, problems := killWithWills(t, s, 1)
	if len(problems) == 0 {
		t.Fatal("Wills that are not kept were not noticed")
	}
	t.Logf("caught: %s", problems[0])
}

const willDevices = 20

// killWithWills returns how many Wills were due, and what was not as it must be.
func killWithWills(t *testing.T, s *server, rounds int) (wills int, problems []string) {
	t.Helper()
	retained := make(map[string]string) // what must be, by Topic Name
	for round := range rounds {
		for i := range willDevices {
			topic := fmt.Sprint("status/", i)
			switch rand.IntN(4) {
			case 0: // stays away
			case 1: // leaves in good order, the second time that it is there
				talkOnce(t, s, topic, fmt.Sprint("thrown out ", round))
				p := talkOnce(t, s, topic, fmt.Sprint("online ", round))
				p.send(codec.AppendDisconnect(nil, &codec.Disconnect{}, p.v))
				p.closed(codec.Success)
				retained[topic] = fmt.Sprint("online ", round)
			default:
				talkOnce(t, s, topic, fmt.Sprint("here ", round))
				retained[topic] = fmt.Sprint("here ", round, ", offline")
				wills++
			}
		}
		s.kill()
		s.restart()
		probe := v5Of(t, s, "probe", nil)
		probe.subscribeOne("status/#", 0)
		got := make(map[string]string)
		for range retained {
			m := probe.receive()
			got[string(m.Topic)] = string(m.Payload)
		}
		probe.quiet()
		for topic, want := range retained {
			if got[topic] != want {
				problems = append(problems, fmt.Sprintf("round %d, %s: %q is retained, expected %q", round, topic, got[topic], want))
			}
		}
	}
	return wills, problems
}

// talkOnce connects the device of a topic and has it say what is retained, which is
// acknowledged; so its Will is on disk, which was there before. The Will is what it
// says, and ", offline".
func talkOnce(t *testing.T, s *server, topic, says string) *raw {
	t.Helper()
	p, ack := connectRaw(t, s.mqtt, codec.Version5-codec.Version(rand.IntN(2)), topic, func(c *codec.Connect) {
		c.HasWill, c.Will = true, codec.Will{
			Topic: codec.View(topic), Payload: codec.View(says + ", offline"), QoS: codec.QoS(rand.IntN(3)), Retain: true,
		}
	})
	if ack.Reason != codec.Success {
		t.Fatalf("CONNACK %v", ack.Reason)
	}
	p.publish(codec.Publish{Topic: codec.View(topic), Payload: codec.View(says), QoS: 1, PacketID: 1, Retain: true})
	p.ack(codec.TypePuback)
	return p
}

// testWillGrace: a device that is back in time hears nothing of its Will, whatever
// ended the process, and the Will of another waits, over further starts too; with
// no grace it is published at the start.
func testWillGrace(t *testing.T, s *server) {
	talkOnce(t, s, "status/back", "online")
	talkOnce(t, s, "status/gone", "online")
	expect := func(topic, want string) {
		t.Helper()
		probe := v5Of(t, s, "probe", nil)
		probe.subscribeOne(topic, 0)
		if m := probe.receive(); string(m.Payload) != want {
			t.Errorf("%s: %q is retained, expected %q", topic, m.Payload, want)
		}
	}
	s.kill()
	s.restart()
	if n := s.metric("promptmq_sessions"); n != 0 {
		t.Errorf("%v sessions are back whose connections have ended", n)
	}
	expect("status/back", "online")
	expect("status/gone", "online")
	p, ack := connectRaw(t, s.mqtt, codec.Version311, "status/back", func(c *codec.Connect) { c.CleanStart = true })
	if ack.Reason != codec.Success || ack.SessionPresent {
		t.Errorf("CONNACK %v, Session Present %v", ack.Reason, ack.SessionPresent)
	}
	p.quiet()
	talkOnce(t, s, "status/stopped", "online")
	s.stop()
	s.restart()
	expect("status/stopped", "online, offline") // in good order it is published at the end
	expect("status/gone", "online")
	s.kill()
	s.args = []string{"--mqtt-will-grace", "0s"}
	s.restart()
	expect("status/back", "online")
	expect("status/gone", "online, offline")
}
