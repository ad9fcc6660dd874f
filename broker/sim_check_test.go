package broker_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/codec"
)

// faultLocked notes something that must not happen.
func (w *world) faultLocked(format string, args ...any) {
	at := time.Since(w.began).Round(time.Microsecond)
	w.faults = append(w.faults, fmt.Sprintf("at %v, start %d: %s", at, w.boots, fmt.Sprintf(format, args...)))
}

// trace prints what happens, if asked for with -sim.trace.
func (w *world) trace(format string, args ...any) {
	if *simTrace {
		fmt.Printf("%12v %s\n", time.Since(w.began).Round(time.Microsecond), fmt.Sprintf(format, args...))
	}
}

// eventLocked returns the number of a new event.
func (w *world) eventLocked() int {
	w.events++
	return w.events
}

// covers matches the two-level Topic Names of the simulation.
func covers(filter, topic string) bool {
	if share, ok := strings.CutPrefix(filter, "$share/g/"); ok {
		filter = share
	}
	if prefix, ok := strings.CutSuffix(filter, "#"); ok {
		return strings.HasPrefix(topic, prefix)
	}
	if prefix, ok := strings.CutSuffix(filter, "+"); ok {
		return strings.HasPrefix(topic, prefix)
	}
	return filter == topic
}

// messageOfLocked returns the message that p is; nil: its payload does not tell.
func (w *world) messageOfLocked(p *codec.Publish) *simMessage {
	var no int
	if _, err := fmt.Sscanf(p.Payload.String(), "m%d ", &no); err != nil || no < 0 || no >= len(w.messages) {
		return nil
	}
	return w.messages[no]
}

func isShared(topic string) bool { return strings.HasPrefix(topic, "s/") }

// owed reports whether a subscription of c says that m must reach it.
func (c *simClient) owed(m *simMessage) bool {
	for _, s := range c.subs {
		if covers(s.filter, m.topic) && s.ackedAt > 0 && s.ackedAt < m.sentAt && s.endsAt == 0 {
			return true
		}
	}
	return false
}

// takeLocked checks a message that c received and had not received before by
// the rules of its QoS.
func (c *simClient) takeLocked(p *codec.Publish) error {
	w := c.w
	if len(p.Payload) == 0 {
		return nil // a retained message was removed
	}
	m := w.messageOfLocked(p)
	if m == nil {
		return fmt.Errorf("a payload that nobody sent: %.40q", p.Payload)
	}
	no := m.no
	w.trace("%s got message %d QoS %d id %d dup %v retain %v", c.id, no, p.QoS, p.PacketID, p.Dup, p.Retain)
	if m.payload != p.Payload.String() || m.topic != p.Topic.String() {
		return fmt.Errorf("message %d is altered: topic %s", no, p.Topic)
	}
	if want := min(m.qos, c.qos); p.QoS != want {
		return fmt.Errorf("message %d has QoS %d, expected %d", no, p.QoS, want)
	}
	c.fetched[m]++
	m.takenTime = time.Now()
	if p.Retain || !c.durable {
		return nil // a retained message, or a Session that a cut may end
	}
	if m.refused && m.sends == 1 { // what was sent again may have been taken the first time
		return fmt.Errorf("message %d was refused and came", no)
	}
	m.anywhere++
	if c.seen[m]++; c.seen[m] > 1 && m.sends == 1 && !p.Dup && p.QoS > 0 && !isShared(m.topic) { // [MQTT-3.3.1-1]
		return fmt.Errorf("message %d came again without DUP", no)
	}
	if p.QoS == 2 {
		c.seenQoS2[m]++
		m.shared++
		if c.seenQoS2[m] > 1 || (isShared(m.topic) && m.shared > 1) {
			return fmt.Errorf("message %d came twice with QoS 2", no)
		}
	}
	return c.checkTaken(m, p)
}

func (c *simClient) checkTaken(m *simMessage, p *codec.Publish) error {
	allowed := false
	for _, s := range c.subs {
		allowed = allowed || (covers(s.filter, m.topic) && (s.goneAt == 0 || m.sentAt < s.goneAt))
	}
	if !allowed {
		return fmt.Errorf("message %d on %s was not subscribed to", m.no, m.topic)
	}
	if m.void {
		return fmt.Errorf("Will %d came after DISCONNECT", m.no)
	}
	age := time.Since(m.lastSent)
	if m.expiry > 0 && m.from.version == codec.Version5 && !p.Dup && age > time.Duration(m.expiry)*time.Second+time.Second {
		return fmt.Errorf("message %d expires after %d s and came after %v", m.no, m.expiry, age)
	}
	// A message that expired in the queue and is sent again by its publisher
	// comes late, and rightly.
	if p.QoS == 0 || m.will || m.expiry > 0 || isShared(m.topic) || !c.owed(m) {
		return nil
	}
	if c.w.cfg.promised > 0 && m.sends > 1 {
		return nil // of its copies the first was dropped, perhaps
	}
	if c.seen[m] == 1 {
		if last := c.last[m.stream]; last > m.no {
			return fmt.Errorf("message %d came after %d of the same stream", m.no, last)
		}
		c.last[m.stream] = m.no
	}
	return nil
}

// checkDelivered looks, when everything has settled, for what was acknowledged
// and did not arrive.
func (w *world) checkDelivered() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.messages {
		promised := (m.ackedAt > 0 || (m.will && m.owed && m.armed)) && m.expiry == 0 && m.payload != ""
		if !promised || m.qos == 0 {
			continue
		}
		owedByShare, mayGo := false, false
		for _, c := range w.clients {
			// A QoS 2 message whose delivery had begun goes with its Session;
			// which member it was given to is not known.
			mayGo = mayGo || (w.memberLeft && c.member && min(m.qos, c.qos) == 2)
			if !c.durable || c.qos == 0 || !c.owed(m) {
				continue
			}
			if isShared(m.topic) {
				owedByShare = true
				mayGo = mayGo || c.mayBeDropped(m)
			} else if c.seen[m] == 0 && !c.mayBeDropped(m) {
				w.faultLocked("message %d (%s, QoS %d, Will %v) was acknowledged and is lost: %s never got it", m.no, m.topic, m.qos, m.will, c.id)
			}
		}
		if owedByShare && !mayGo && m.anywhere == 0 {
			w.faultLocked("message %d (%s, QoS %d) was acknowledged and is lost: no member got it", m.no, m.topic, m.qos)
		}
	}
	for _, c := range w.clients {
		if c.durable && len(c.inflight) > 0 {
			w.faultLocked("%s: message %d and %d more stay unacknowledged", c.id, c.inflight[0].no, len(c.inflight)-1)
		}
	}
}

// mayBeDropped reports whether m may have left c's full queue for newer messages:
// at least as many as it has room for have come since, without those in flight.
func (c *simClient) mayBeDropped(m *simMessage) bool {
	if c.w.cfg.promised == 0 {
		return false
	}
	newer := m.sends - 1 // what is sent again may be queued again
	for _, other := range c.w.messages {
		before := other.ackedAt > 0 && other.ackedAt < m.sentAt && other.sends == 1 && !other.retain &&
			!isShared(other.topic) // which may be handed over
		if other == m || other.qos == 0 || before {
			continue
		}
		if slices.ContainsFunc(c.subs, func(s *simSub) bool { return covers(s.filter, other.topic) }) {
			newer += max(1, other.sends)
		}
	}
	return newer >= c.w.cfg.promised-int(broker.DefaultOptions().MaxInflight)
}

// checkRetained compares what is retained with what was acknowledged: the last
// acknowledged change of each topic, or one sent later.
func (w *world) checkRetained() {
	w.mu.Lock()
	defer w.mu.Unlock()
	lowest := make(map[string]int)
	for _, m := range w.messages {
		if m.retain && m.ackedAt > 0 {
			lowest[m.topic] = m.no
		}
	}
	for topic, low := range lowest {
		got, there := w.retained[topic]
		ok := false
		for _, m := range w.messages[low:] {
			ok = ok || (m.retain && m.topic == topic && m.payload == got && there == (m.payload != ""))
		}
		if !ok {
			w.faultLocked("%s: message %d was acknowledged and %.12q is retained", topic, low, got)
		}
	}
}

// checkIntegrity reads every page of the database that is left.
func checkIntegrity(path string) error {
	c, err := sqlite3.OpenFlags("file:"+path, sqlite3.OPEN_READWRITE|sqlite3.OPEN_URI)
	if err != nil {
		return err
	}
	defer c.Close()
	s, _, err := c.Prepare("PRAGMA integrity_check")
	if err != nil {
		return err
	}
	defer s.Close()
	if !s.Step() || s.ColumnText(0) != "ok" {
		return fmt.Errorf("integrity_check: %s %v", s.ColumnText(0), s.Err())
	}
	return nil
}
