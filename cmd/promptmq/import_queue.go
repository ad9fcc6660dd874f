package main

import (
	"github.com/x0a1b/promptmq/cmd/promptmq/mosquitto"
	"github.com/x0a1b/promptmq/store"
)

// A queueImport is the queue of a Session that is taken.
type queueImport struct {
	*stateImport
	s *mosquitto.Session

	resent        map[uint16]bool // the Packet Identifiers of what was sent
	waiting, sent int
	left          map[string]int // how many messages are not taken, by why
}

// identifiers sets those of what is under way.
func (q *queueImport) identifiers(line *store.LineSession) error {
	received, released := make(map[uint16]bool), make(map[uint16]bool)
	for m, err := range q.s.Queue() {
		if err != nil {
			return err
		}
		switch id := m.PacketID; {
		case m.Step == mosquitto.Received && id != 0 && !received[id]:
			received[id] = true
			line.Received = append(line.Received, id)
		case m.Step == mosquitto.Released && id != 0 && !released[id]:
			released[id] = true
			line.Released = append(line.Released, id)
		}
	}
	q.resent = released
	return nil
}

// messages puts those that were sent, and then those that wait.
func (q *queueImport) messages() error {
	for m, err := range q.s.Queue() {
		if err == nil && m.Step == mosquitto.Sent {
			err = q.one(m, true)
		}
		if err != nil {
			return err
		}
	}
	for m, err := range q.s.Queue() {
		if err == nil && m.Step == mosquitto.Waiting {
			err = q.one(m, false)
		}
		if err != nil {
			return err
		}
	}
	for _, a := range q.arriving.queued[q.s.ClientID] {
		m, err := a.Message()
		if err == nil && q.expired(m) {
			q.left[leftExpired]++
			continue
		}
		if err == nil {
			err = q.put(q.line(m, a.qos, a.retain, a.ids, a.share))
			q.waiting++
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Why messages are not taken.
const (
	leftQoS0     = "their QoS is 0, and PromptMQ queues messages of QoS 1 and 2 only"
	leftExpired  = "they have expired"
	leftNoNumber = "they were sent without a Packet Identifier, or with one that another has"
)

// one puts a message, unless it cannot be taken.
func (q *queueImport) one(m *mosquitto.Queued, sent bool) error {
	message, err := m.Message()
	if err != nil {
		return err
	}
	why := ""
	switch fault := faultOf(message); {
	case m.QoS == 0:
		why = leftQoS0
	case fault != nil:
		why = fault.Error()
	case sent && (m.PacketID == 0 || q.resent[m.PacketID]):
		why = leftNoNumber
	case !sent && q.expired(message):
		why = leftExpired
	}
	if why != "" {
		q.left[why]++
		return nil
	}
	line := q.line(message, m.QoS, m.Retain, m.SubscriptionIDs, "")
	if sent {
		q.resent[m.PacketID] = true
		line.Queued.Sent = m.PacketID
		q.sent++
	} else {
		q.waiting++
	}
	return q.put(line)
}

// line is a queued message. The QoS that Mosquitto delivers with may be above that of the
// message.
func (q *queueImport) line(m *mosquitto.Message, qos byte, retain bool, ids []uint32, share string) *store.Line {
	return &store.Line{Queued: &store.LineQueued{
		LineMessage: lineOf(m, max(qos, m.QoS)), DeliverQoS: int(qos), DeliverRetain: retain, SubscriptionIDs: ids, Share: share,
	}}
}
