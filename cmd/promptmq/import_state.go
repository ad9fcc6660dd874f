package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/x0a1b/promptmq/broker"
	"github.com/x0a1b/promptmq/cmd/promptmq/mosquitto"
	"github.com/x0a1b/promptmq/store"
)

// A stateImport makes lines of an import from what a Mosquitto has stored, and says in its
// report what becomes of it.
type stateImport struct {
	from   mosquitto.State
	file   string // where it stands
	report *mosquitto.Report
	limits *broker.Options
	now    time.Time

	yield    func(*store.Line, error) bool
	arriving arrivals
	retained retainedCounts
}

type retainedCounts struct{ taken, system, expired int }

// errEnough ends reading because nobody wants more lines.
var errEnough = errors.New("enough")

// lines are what is taken. The report is written while they are read.
func (i *stateImport) lines(yield func(*store.Line, error) bool) {
	i.yield, i.retained = yield, retainedCounts{}
	err := i.arriving.read(i.from)
	if err == nil {
		err = i.sessions()
	}
	if err == nil {
		err = i.retainedMessages()
	}
	if err != nil && !errors.Is(err, errEnough) {
		yield(nil, err)
	}
}

func (i *stateImport) put(l *store.Line) error {
	if !i.yield(l, nil) {
		return errEnough
	}
	return nil
}

func (i *stateImport) say(what string, outcome mosquitto.Outcome, why string, args ...any) {
	i.report.Add(i.file, 0, what, outcome, why, args...)
}

func (i *stateImport) sessions() error {
	n := 0
	for s, err := range i.from.Sessions() {
		if err == nil && i.takes(s) {
			n++
			err = i.session(s)
		}
		if err != nil {
			return err
		}
	}
	if n > i.limits.MaxSessions {
		i.say("sessions", mosquitto.Changed, "all %d are taken, and mqtt.max-sessions is %d: no new one begins until it is raised or some have ended", n, i.limits.MaxSessions)
	}
	return nil
}

// takes reports whether a Session is taken, and says why if not.
func (i *stateImport) takes(s *mosquitto.Session) bool {
	why := ""
	switch {
	case s.ClientID == "" || len(s.ClientID) > 65535 || !utf8.ValidString(s.ClientID) || strings.ContainsRune(s.ClientID, 0):
		why = "its Client Identifier is empty or no UTF-8"
	case s.ExpirySeconds == 0:
		why = "it ends with its connection"
	case !s.ExpiresAt.IsZero() && !s.ExpiresAt.After(i.now):
		why = expiredOn + s.ExpiresAt.Format(time.DateTime) + " UTC"
	}
	if why != "" {
		i.say(fmt.Sprintf(sessionOf+"%q", s.ClientID), mosquitto.LeftOut, "%s", why)
	}
	return why == ""
}

// session puts a Session and what waits for it.
func (i *stateImport) session(s *mosquitto.Session) error {
	q := &queueImport{stateImport: i, s: s, left: make(map[string]int)}
	line := &store.LineSession{Client: s.ClientID, User: s.UserName, Version: versionLike(s), Expiry: s.ExpirySeconds, ExpiresAt: s.ExpiresAt}
	if s.ExpiresAt.IsZero() && s.ExpirySeconds != mosquitto.NeverExpires {
		line.ExpiresAt = i.now.Add(time.Duration(s.ExpirySeconds) * time.Second)
	}
	for _, sub := range s.Subscriptions {
		if err := checkFilter(sub.Filter); err != nil {
			i.say(fmt.Sprintf("subscription of client %q to %q", s.ClientID, sub.Filter), mosquitto.LeftOut, "%v", err)
			continue
		}
		line.Subscriptions = append(line.Subscriptions, store.LineSubscription{
			Filter: sub.Filter, QoS: int(sub.QoS), NoLocal: sub.NoLocal, RetainAsPublished: sub.RetainAsPublished, RetainHandling: int(sub.RetainHandling), ID: sub.ID,
		})
	}
	if err := q.identifiers(line); err != nil {
		return err
	}
	if err := i.put(&store.Line{Session: line}); err != nil {
		return err
	}
	if err := q.messages(); err != nil {
		return err
	}
	i.tellSession(line, q)
	return nil
}

// versionLike is a protocol version that such a Session can have: it is not stored.
func versionLike(s *mosquitto.Session) int {
	five := s.ExpirySeconds != mosquitto.NeverExpires
	for _, sub := range s.Subscriptions {
		five = five || sub.ID != 0 || sub.NoLocal || sub.RetainAsPublished || sub.RetainHandling != 0
	}
	if five {
		return 5
	}
	return 4
}

// tellSession says what became of a Session.
func (i *stateImport) tellSession(line *store.LineSession, q *queueImport) {
	s, what := q.s, fmt.Sprintf(sessionOf+"%q", q.s.ClientID)
	for _, why := range slices.Sorted(maps.Keys(q.left)) {
		i.say(fmt.Sprintf("%s for client %q", counted(q.left[why], "message", "messages"), s.ClientID), mosquitto.LeftOut, "%s", why)
	}
	text := counted(len(line.Subscriptions), "subscription", "subscriptions") + ", " + counted(q.waiting+q.sent, "queued message", "queued messages")
	if n := q.sent + len(line.Released) + len(line.Received); n > 0 {
		text += fmt.Sprintf(", %d under way", n)
	}
	if s.UserName != "" {
		text += fmt.Sprintf(", of user %q", s.UserName)
	}
	var changed []string
	if s.OwnerUnknown {
		changed = append(changed, "Mosquitto has stored a user name for it that may be another's: it becomes the session of the first user who connects with this identifier")
	}
	if s.ExpiresAt.IsZero() && !line.ExpiresAt.IsZero() {
		changed = append(changed, fmt.Sprintf("its client was connected: its %d s begin now", s.ExpirySeconds))
	}
	if n := q.waiting + q.sent; n > i.limits.MaxQueuedMessages {
		changed = append(changed, fmt.Sprintf("mqtt.max-queued-messages is %d: until the queue is shorter new messages are treated as for a full queue", i.limits.MaxQueuedMessages))
	}
	if n := len(line.Subscriptions); n > i.limits.MaxSubscriptions {
		changed = append(changed, fmt.Sprintf("mqtt.max-subscriptions is %d: it can make no new one", i.limits.MaxSubscriptions))
	}
	if strings.HasPrefix(s.ClientID, "local.") {
		changed = append(changed, "it looks like the inner session of a bridge of Mosquitto: if it is one, end it with promptmq sessions end")
	}
	if len(changed) > 0 {
		i.say(what, mosquitto.Changed, "%s; %s", text, strings.Join(changed, "; "))
		return
	}
	i.say(what, mosquitto.Taken, "%s", text)
}

func (i *stateImport) retainedMessages() error {
	for m, err := range i.from.Retained() {
		if err != nil {
			return err
		}
		if i.arriving.retained[m.Topic] == nil {
			if err := i.retainedMessage(m); err != nil {
				return err
			}
		}
	}
	for _, topic := range slices.Sorted(maps.Keys(i.arriving.retained)) {
		m, err := i.arriving.retained[topic].Message()
		if err == nil && len(m.Payload) > 0 { // else it removes what is retained [MQTT-3.3.1-6]
			err = i.retainedMessage(m)
		}
		if err != nil {
			return err
		}
	}
	i.tellRetained()
	return nil
}

func (i *stateImport) retainedMessage(m *mosquitto.Message) error {
	switch {
	case m.Topic == "$SYS" || strings.HasPrefix(m.Topic, "$SYS/"):
		i.retained.system++
		return nil
	case i.expired(m):
		i.retained.expired++
		return nil
	}
	if err := faultOf(m); err != nil {
		i.say(fmt.Sprintf("retained message of %q", m.Topic), mosquitto.LeftOut, "%v", err)
		return nil
	}
	i.retained.taken++
	line := &store.LineRetained{LineMessage: lineOf(m, m.QoS), User: m.UserName}
	line.Retain = true
	return i.put(&store.Line{Retained: line})
}

func (i *stateImport) tellRetained() {
	n := &i.retained
	if n.system > 0 {
		i.say(counted(n.system, "retained message", "retained messages")+" below $SYS", mosquitto.LeftOut, "these are the broker's own")
	}
	if n.expired > 0 {
		i.say(counted(n.expired, "retained message", "retained messages"), mosquitto.LeftOut, "expired")
	}
	if n.taken > i.limits.MaxRetainedMessages {
		i.say("retained messages", mosquitto.Changed, "all %d are taken, and mqtt.max-retained-messages is %d: none is added until it is raised or there are fewer", n.taken, i.limits.MaxRetainedMessages)
		return
	}
	i.say("retained messages", mosquitto.Taken, "%d", n.taken)
}

func (i *stateImport) expired(m *mosquitto.Message) bool {
	return !m.ExpiresAt.IsZero() && !m.ExpiresAt.After(i.now)
}

// faultOf says why a message cannot be taken.
func faultOf(m *mosquitto.Message) error {
	if m.Fault != nil {
		return m.Fault
	}
	return checkMessage(m.Topic, m.Properties)
}

// lineOf is a message as it stands in a line.
func lineOf(m *mosquitto.Message, qos byte) store.LineMessage {
	return store.LineMessage{Topic: m.Topic, Payload: m.Payload, QoS: int(qos), Retain: m.Retain, ExpiresAt: m.ExpiresAt, Properties: m.Properties}
}
