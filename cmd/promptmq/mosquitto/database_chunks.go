package mosquitto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"unicode/utf8"
)

var errShort = errors.New("it is shorter than what it says that it has")

// fields takes a chunk apart. After an error all that follows is 0.
type fields struct {
	b       []byte
	machine binary.ByteOrder
	failed  bool
}

func (f *fields) bytes(n int) []byte {
	if f.failed || n < 0 || n > len(f.b) {
		f.failed, f.b = true, nil
		return nil
	}
	b := f.b[:n:n]
	f.b = f.b[n:]
	return b
}

func (f *fields) byte() byte {
	if b := f.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (f *fields) uint16() uint16 {
	if b := f.bytes(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (f *fields) uint32() uint32 {
	if b := f.bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// asMachine64 is a number that Mosquitto writes as the machine has it.
func (f *fields) asMachine64() uint64 {
	if b := f.bytes(8); b != nil {
		return f.machine.Uint64(b)
	}
	return 0
}

func (f *fields) text(n uint16) string { return string(f.bytes(int(n))) }

// counted is a text behind its length.
func (f *fields) counted() string { return f.text(f.uint16()) }

// end is the error if not all was there, or more than that.
func (f *fields) end() error {
	if f.failed {
		return errShort
	}
	if len(f.b) > 0 {
		return fmt.Errorf("%d bytes are left that mean nothing", len(f.b))
	}
	return nil
}

// properties are at the end, behind their length; without any there may be nothing at all.
func (f *fields) properties() []byte {
	if f.failed || len(f.b) == 0 {
		return nil
	}
	n := f.varint()
	if int(n) != len(f.b) {
		f.failed = true
		return nil
	}
	return f.bytes(int(n))
}

// varint is a Variable Byte Integer. Section 1.5.5.
func (f *fields) varint() (v uint32) {
	for shift := 0; shift < 28; shift += 7 {
		b := f.byte()
		v |= uint32(b&0x7F) << shift
		if b < 0x80 {
			return v
		}
	}
	f.failed = true
	return 0
}

// message reads a chunk with a message.
func (db *database) message(f *fields) (id uint64, m *Message, err error) {
	if db.version < versionFixed {
		return db.messageOld(f)
	}
	m = new(Message)
	id = f.asMachine64()
	m.ExpiresAt = unixTime(int64(f.asMachine64()))
	payload := f.uint32()
	f.uint16() // the Packet Identifier that it came with
	client, user, topic := f.uint16(), f.uint16(), f.uint16()
	f.uint16() // the port that it came to
	m.QoS, m.Retain = f.byte(), f.byte() != 0
	m.ClientID, m.UserName, m.Topic = f.text(client), f.text(user), f.text(topic)
	m.Payload = bytes.Clone(f.bytes(int(payload)))
	m.Properties = bytes.Clone(f.properties())
	return id, m, checked(f, m.QoS)
}

// messageOld is message for formats 3 and 4.
func (db *database) messageOld(f *fields) (id uint64, m *Message, err error) {
	m = new(Message)
	id = f.asMachine64()
	m.ClientID = f.counted()
	if db.version >= 4 {
		m.UserName = f.counted()
		f.uint16() // the port that it came to
	}
	f.uint32() // Packet Identifiers
	m.Topic = f.counted()
	m.QoS, m.Retain = f.byte(), f.byte() != 0
	m.Payload = bytes.Clone(f.bytes(int(f.uint32())))
	return id, m, checked(f, m.QoS)
}

// checked is the error of a chunk that has a QoS.
func checked(f *fields, qos byte) error {
	if err := f.end(); err != nil {
		return err
	}
	if qos > 2 {
		return fmt.Errorf("QoS %d: it is 0, 1 or 2", qos)
	}
	return nil
}

// A clientMessage is a Queued and the identifier of its message.
type clientMessage struct {
	Queued
	store uint64
}

// clientMessage reads a chunk with a message to or from a client.
func (db *database) clientMessage(f *fields) (client string, m *clientMessage, err error) {
	m = new(clientMessage)
	var direction, state, retainDup byte
	if db.version < versionFixed {
		client = f.counted()
		m.store, m.PacketID = f.asMachine64(), f.uint16()
		m.QoS, m.Retain, direction, state = f.byte(), f.byte() != 0, f.byte(), f.byte()
		f.byte() // DUP
	} else {
		m.store, m.PacketID = f.asMachine64(), f.uint16()
		id := f.uint16()
		m.QoS, state, retainDup, direction = f.byte(), f.byte(), f.byte(), f.byte()
		m.Retain = retainDup&0xF0 != 0
		client = f.text(id)
		if m.SubscriptionIDs, err = subscriptionIDs(f.properties()); err != nil {
			return "", nil, err
		}
	}
	if err := checked(f, m.QoS); err != nil {
		return "", nil, err
	}
	m.Step, err = stepOf(int64(direction), int64(state))
	return client, m, err
}

// propSubscriptionID is the Subscription Identifier. Section 3.3.2.3.8.
const propSubscriptionID = 0x0B

func subscriptionIDs(properties []byte) (ids []uint32, err error) {
	for f := (&fields{b: properties}); len(f.b) > 0; {
		kind, id := f.byte(), f.varint()
		if f.failed || kind != propSubscriptionID || id == 0 {
			return nil, errors.New("its properties are not Subscription Identifiers")
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// readClient reads a chunk with a client.
func (db *database) readClient(f *fields) error {
	c := new(clientAt)
	whole := len(f.b)
	if db.version < versionFixed {
		c.ExpirySeconds = NeverExpires
		c.ClientID = f.counted()
		f.uint16()        // the last Packet Identifier
		f.bytes(len(f.b)) // when its connection ended, of 4 or 8 bytes
	} else {
		c.ExpiresAt = unixTime(int64(f.asMachine64()))
		c.ExpirySeconds = f.uint32()
		f.uint16() // the last Packet Identifier
		id := f.uint16()
		if db.version >= 6 {
			f.uint16() // the port of its listener
			c.nameField = f.uint16()
			// A structure is padded to 24 bytes, but on machines of 32 bits.
			f.bytes(max(0, min(4, whole-20-int(id)-int(c.nameField))))
		}
		c.ClientID, c.UserName = f.text(id), f.text(c.nameField)
	}
	if err := f.end(); err != nil {
		return err
	}
	if db.byID[c.ClientID] != nil {
		return fmt.Errorf("there are two of client %q: it is damaged", c.ClientID)
	}
	db.clients = append(db.clients, c)
	db.byID[c.ClientID] = c
	return nil
}

// readSubscription reads a chunk with a subscription.
func (db *database) readSubscription(f *fields) error {
	var client string
	var s Subscription
	if db.version < versionFixed {
		client, s.Filter, s.QoS = f.counted(), f.counted(), f.byte()
	} else {
		s.ID = f.uint32()
		id, filter := f.uint16(), f.uint16()
		s.QoS = f.byte()
		s.withOptions(f.byte())
		f.uint16() // padding
		client, s.Filter = f.text(id), f.text(filter)
	}
	if err := checked(f, s.QoS); err != nil {
		return err
	}
	if c := db.byID[client]; c != nil {
		c.Subscriptions = append(c.Subscriptions, s)
	} else {
		db.lostSubscriptions++
	}
	return nil
}

// settleOwners takes away the user names that Mosquitto has written for clients without
// one. Up to 2.0.11 at least it then leaves the length that it wrote for the client before,
// with its two bytes exchanged, and exchanges them again; and writes as many bytes of what
// is in memory where that client's name was. So after a name of 3 bytes come 768 that are
// none, and then, for another client without one, the name itself: that may as well be true.
func settleOwners(clients []*clientAt) {
	name, before, stale := "", uint16(0), false
	for _, c := range clients {
		field := c.nameField
		exchanged := field != 0 && field == bits.ReverseBytes16(before) && field != before
		switch {
		case exchanged && !stale && notAName(c.UserName, name):
			stale, c.UserName = true, ""
		case exchanged && stale && c.UserName == name:
			stale, c.UserName, c.OwnerUnknown = false, "", true
		case !utf8.ValidString(c.UserName) || strings.ContainsRune(c.UserName, 0): // no CONNECT had it
			stale, c.UserName, c.OwnerUnknown = true, "", true
		default:
			stale, name = false, c.UserName
		}
		before = field
	}
}

// notAName reports whether a text is what was in memory where a name was.
func notAName(text, name string) bool {
	return !utf8.ValidString(text) || strings.ContainsRune(text, 0) || strings.HasPrefix(text, name)
}
