package session_test

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// A step is what a line of a script does.
type step struct {
	session bool // the Client must have a Session
	do      func(*world, *args) error
}

var steps = map[string]step{
	// client m: the following steps are about this Client; the first is c.
	"client": {false, (*world).stepClient},
	// limits window=8 window-bytes=N messages=1000 bytes=N inflight=20 policy=reject packet-ids=65535
	"limits": {false, (*world).stepLimits},
	// advance 5s
	"advance": {false, (*world).stepAdvance},

	// connect [clean-start] [expiry=1h|never] [receive-maximum=N] [max-packet=N] [version=3.1.1]
	// [will=x] [will-qos=N] [will-delay=5s] is open, commit and attach: CONNACK waits for the commit.
	"connect": {false, (*world).stepConnect},
	// open: CONNECT came, with the arguments of connect; CONNACK was not sent.
	"open": {false, (*world).stepOpen},
	// attach: CONNACK was sent.
	"attach": {true, (*world).stepAttach},
	// disconnect [reason=0x04] [expiry=5m]: the Client sent DISCONNECT.
	"disconnect": {true, (*world).stepDisconnect},
	// lose-connection: it did not.
	"lose-connection": {true, (*world).stepLoseConnection},

	// subscribe a/+ qos=1 [id=N]
	"subscribe": {true, (*world).stepSubscribe},
	// unsubscribe a/+
	"unsubscribe": {true, (*world).stepUnsubscribe},
	// owe a/+ from=N to=N: of the retained messages, by their versions.
	"owe": {true, (*world).stepOwe},
	// disown a/+: nothing is owed any more.
	"disown": {true, (*world).stepDisown},

	// deliver a qos=1 [bytes=N] [expiry=5s] [retain] [share=g/t] [subscription-id=N] [times=N] [kept]
	// routes a message, or N of them (a1, a2, ...), to the Session. kept: even if it need not be.
	"deliver": {true, (*world).stepDeliver},
	// refuse: the broker does not route a message to a full queue.
	"refuse": {true, (*world).stepRefuse},
	// round m qos=1 times=N: so many messages, each acknowledged at once.
	"round": {true, (*world).stepRound},
	// puback a, or by its Packet Identifier: puback 3
	"puback": {true, (*world).stepPuback},
	// pubrec a [reason=0x80]
	"pubrec": {true, (*world).stepPubrec},
	// pubcomp a
	"pubcomp": {true, (*world).stepPubcomp},

	// deny a b: from now on the Client may not have these messages, when they are to be sent.
	"deny": {false, (*world).stepDeny},

	// publish 7 [message=x] [dup]: the Client sends a QoS 2 PUBLISH with this Packet Identifier.
	"publish": {true, (*world).stepPublish},
	// pubrel 7
	"pubrel": {true, (*world).stepPubrel},

	// read [most=N]: what Session.Paged is to be given is read from the disk.
	"read": {true, (*world).stepRead},
	// page [most=N]: it is given to the Session, read now unless it was before.
	"page": {true, (*world).stepPage},
	// sweep [max-age=1h] [batch=N]: the cleanup of the whole queue, N entries with each commit.
	"sweep": {true, (*world).stepSweep},

	// hand-over g/t to=m [sent-too]: messages of a Shared Subscription move to another member.
	"hand-over": {true, (*world).stepHandOver},
	// orphans: what other members may get of the queue on disk, if the Session ended now.
	"orphans": {true, (*world).stepOrphans},

	// hand-on to=m [most=N]: what an ended Session had on disk moves to another member.
	"hand-on": {false, (*world).stepHandOn},

	// commit: the open group is on disk.
	"commit": {false, (*world).stepCommit},
	// crash [expiry-most=1m]: what is not committed is gone; and the next start, with this
	// mqtt.max-session-expiry.
	"crash": {false, (*world).stepCrash},
	// restart [expiry-most=1m]: a stop in good order, and the next start.
	"restart": {false, (*world).stepRestart},
	// disk: what is on disk at this moment.
	"disk": {false, (*world).stepDisk},
	// awaits a: which acknowledgement.
	"awaits": {true, (*world).stepAwaits},
	// queue: how long it is.
	"queue": {true, (*world).stepQueue},
}

func (w *world) stepClient(a *args) error {
	w.choose(a.word("a Client Identifier"))
	return nil
}

// stepLimits is for the beginning of a script.
func (w *world) stepLimits(a *args) error {
	l := &w.limits
	l.WindowMessages = a.number("window", l.WindowMessages)
	l.WindowBytes = a.number("window-bytes", l.WindowBytes)
	l.QueueMessages = a.number("messages", l.QueueMessages)
	l.QueueBytes = int64(a.number("bytes", int(l.QueueBytes)))
	l.Inflight = a.number("inflight", l.Inflight)
	if n := a.number("packet-ids", 0); n > 0 {
		l.SetPacketIDs(n)
	}
	l.Policy = session.QueuePolicy(a.text("policy", string(l.Policy)))
	switch l.Policy {
	case session.Reject, session.DropNewest, session.DropOldest:
		return nil
	}
	return fmt.Errorf("unknown policy %q", l.Policy)
}

// stepAdvance does what becomes due, too.
func (w *world) stepAdvance(a *args) error {
	a.values["by"] = a.word("a duration")
	d, _ := a.duration("by")
	w.now = w.now.Add(d)
	return w.expire()
}

func (w *world) stepConnect(a *args) error {
	if err := w.stepOpen(a); err != nil {
		return err
	}
	return cmp.Or(a.end(), w.commit(), w.stepAttach(&args{}))
}

// stepOpen gives the Client its Session, as CONNECT asks for.
func (w *world) stepOpen(a *args) error {
	c := w.client
	c.maximum = a.number("receive-maximum", 65535)
	c.packetBytesMax = a.number("max-packet", 0)
	c.version = versionOf(a)
	o := session.Opening{Version: c.version, ExpirySeconds: secondsOf(a, "expiry", 0), Will: willOf(a), KeepWill: true}
	if err := w.closeConnection(c, false, false); err != nil {
		return err
	}
	if c.kept != nil {
		if err := w.dropKept(c, false); err != nil {
			return err
		}
	}
	if c.s != nil && a.flag("clean-start") {
		if err := w.endSession(c); err != nil {
			return err
		}
	}
	if c.present = c.s != nil; !c.present {
		w.lastID++
		c.s, c.queue = session.New(w.lastID, c.id, "", o.ExpirySeconds > 0, &w.limits), "queue 0"
	}
	w.fx.Reset()
	c.s.Open(o, w.now, &w.fx)
	return w.apply(c, c.s)
}

// willOf is the Will of a CONNECT; nil: none.
func willOf(a *args) *session.Will {
	name, qos, delay := a.text("will", ""), a.number("will-qos", 0), secondsOf(a, "will-delay", 0)
	if name == "" {
		return nil
	}
	return &session.Will{
		Message: &session.Message{Topic: "will", Payload: []byte(name), QoS: codec.QoS(qos)}, DelaySeconds: delay,
	}
}

// stepAttach is what follows when what CONNACK promises is on disk.
func (w *world) stepAttach(*args) error {
	c := w.client
	if g := w.group[c.s.ID]; g != nil && c.s.Durable() {
		return errors.New("CONNACK waits for the commit")
	}
	line := "CONNACK, new session"
	if c.present {
		line = "CONNACK, session present"
	}
	if lost := c.s.TakeLost(); lost > 0 {
		line += fmt.Sprintf(", dropped meanwhile: %d", lost)
	}
	w.say("%s", line)
	c.wire = make(map[uint16]bool)
	w.fx.Reset()
	c.s.Attach(uint16(c.maximum), uint32(c.packetBytesMax), w.now, &w.fx)
	return w.apply(c, c.s)
}

func (w *world) stepDisconnect(a *args) error {
	c, reason := w.client, a.number("reason", 0)
	if _, ok := a.values["expiry"]; ok {
		c.s.SetExpiry(secondsOf(a, "expiry", 0))
	}
	if !c.s.Attached() {
		return errors.New("there is no connection")
	}
	return w.closeConnection(c, reason == 0, false)
}

func (w *world) stepLoseConnection(*args) error { return w.closeConnection(w.client, false, false) }

// closeConnection ends the Network Connection, if there is one.
func (w *world) closeConnection(c *client, voidWill, stopping bool) error {
	if c.s == nil || !c.s.Attached() {
		return nil
	}
	c.held, c.read = nil, nil
	w.fx.Reset()
	return w.closed(c, c.s.Close(voidWill, stopping, w.now, &w.fx))
}

func (w *world) stepSubscribe(a *args) error {
	sub := &session.Subscription{Filter: a.word("a Topic Filter"), QoS: codec.QoS(a.number("qos", 0)), ID: uint32(a.number("id", 0))}
	if w.client.s.Subscribe(sub, &w.fx) {
		w.say("replaced")
	}
	return w.apply(w.client, w.client.s)
}

func (w *world) stepUnsubscribe(a *args) error {
	if !w.client.s.Unsubscribe(a.word("a Topic Filter"), &w.fx) {
		w.say("no subscription existed")
	}
	return w.apply(w.client, w.client.s)
}

func (w *world) stepOwe(a *args) error {
	from, to := a.number("from", 1), a.number("to", 0)
	w.client.s.Owe(a.word("a Topic Filter"), session.Owed{After: uint64(from - 1), UpTo: uint64(to)}, &w.fx)
	return w.apply(w.client, w.client.s)
}

func (w *world) stepDisown(a *args) error {
	w.client.s.Disown(a.word("a Topic Filter"), &w.fx)
	return w.apply(w.client, w.client.s)
}

func (w *world) stepDeny(a *args) error {
	w.denied = make(map[string]bool)
	for len(a.words) > 0 {
		w.denied[a.word("a message")] = true
	}
	return nil
}

// versionOf is the protocol version of a word.
func versionOf(a *args) codec.Version {
	switch v := a.text("version", "5"); v {
	case "5":
		return codec.Version5
	case "3.1.1":
		return codec.Version311
	default:
		a.fail("unknown version %q", v)
		return 0
	}
}

// ofBytes is the payload of a message that accounts for so many bytes as an entry.
func ofBytes(name string, bytes int) ([]byte, error) {
	e := session.Entry{Message: &session.Message{Topic: "t", Payload: []byte(name)}}
	pad := bytes - e.Bytes()
	if bytes > 0 && pad < 0 {
		return nil, fmt.Errorf("an entry has %d bytes at least", e.Bytes())
	}
	return []byte(name + strings.Repeat(" ", max(pad, 0))), nil
}

// secondsOf is a duration in whole seconds, or NeverExpires.
func secondsOf(a *args, name string, otherwise uint32) uint32 {
	if a.values[name] == "never" {
		delete(a.values, name)
		return session.NeverExpires
	}
	d, ok := a.duration(name)
	if !ok {
		return otherwise
	}
	return uint32(d / time.Second)
}
