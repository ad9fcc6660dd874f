package mosquitto

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// written is a mosquitto.db in the making, as other machines and versions write it.
type written struct {
	version uint32
	machine binary.AppendByteOrder
	narrow  bool // a machine of 32 bits
	b       []byte
}

func (w *written) begin(lastID uint64) {
	w.b = append([]byte(databaseMagic), 0, 0, 0, 0)
	w.b = binary.BigEndian.AppendUint32(w.b, w.version)
	var config []byte
	switch {
	case w.version < versionFixed:
		config = w.machine.AppendUint64([]byte{1, 8}, lastID)
	case w.narrow:
		config = append(w.machine.AppendUint64(nil, lastID), 1, 8, 0, 0)
	default:
		config = append(w.machine.AppendUint64(nil, lastID), 1, 8, 0, 0, 0, 0, 0, 0)
	}
	w.chunk(chunkConfig, config)
}

func (w *written) chunk(kind chunkKind, data []byte) {
	if w.version < versionFixed {
		w.b = binary.BigEndian.AppendUint16(w.b, uint16(kind))
	} else {
		w.b = binary.BigEndian.AppendUint32(w.b, uint32(kind))
	}
	w.b = binary.BigEndian.AppendUint32(w.b, uint32(len(data)))
	w.b = append(w.b, data...)
}

func counted(b []byte, text string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(text))), text...)
}

func big16(b []byte, numbers ...uint16) []byte {
	for _, n := range numbers {
		b = binary.BigEndian.AppendUint16(b, n)
	}
	return b
}

func (w *written) message(id uint64, topic, payload, client, user string) {
	b := w.machine.AppendUint64(nil, id)
	if w.version < versionFixed {
		b = counted(b, client)
		if w.version == 4 {
			b = big16(counted(b, user), 1883)
		}
		b = append(counted(big16(b, 5, 6), topic), 1, 1)
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(payload))), payload...)
	} else {
		b = w.machine.AppendUint64(b, 4_000_000_000)
		b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
		b = append(big16(b, 5, uint16(len(client)), uint16(len(user)), uint16(len(topic)), 1883), 1, 1)
		b = append(b, client+user+topic+payload+"\x02\x01\x01"...)
	}
	w.chunk(chunkMessage, b)
}

func (w *written) client(id, user string, nameField int) {
	var b []byte
	switch {
	case w.version < versionFixed && w.narrow:
		b = append(big16(counted(b, id), 9), 1, 2, 3, 4)
	case w.version < versionFixed:
		b = append(big16(counted(b, id), 9), 1, 2, 3, 4, 5, 6, 7, 8)
	default:
		b = binary.BigEndian.AppendUint32(w.machine.AppendUint64(nil, 4_100_000_000), 3600)
		b = big16(b, 9, uint16(len(id)))
		if w.version > versionFixed {
			if b = big16(b, 1883, uint16(nameField)); !w.narrow {
				b = append(b, 0, 0, 0, 0)
			}
		}
		b = append(b, id...)
		if w.version > versionFixed {
			b = append(b, user...)
		}
	}
	w.chunk(chunkClient, b)
}

func (w *written) clientMessage(client string, id uint64, mid uint16, direction, state byte) {
	b := w.machine.AppendUint64(nil, id)
	if w.version < versionFixed {
		b = w.machine.AppendUint64(counted(nil, client), id)
		b = append(big16(b, mid), 1, 1, direction, state, 1)
	} else {
		b = append(big16(b, mid, uint16(len(client))), 1, state, 0x11, direction)
		b = append(b, client+"\x02\x0B\x4D"...)
	}
	w.chunk(chunkClientMessage, b)
}

func (w *written) subscription(client, filter string) {
	b := []byte{0, 0, 0, 0x4D}
	if w.version < versionFixed {
		b = append(counted(counted(nil, client), filter), 2)
	} else {
		b = append(big16(b, uint16(len(client)), uint16(len(filter))), 2, 0x0C, 0, 0)
		b = append(b, client+filter...)
	}
	w.chunk(chunkSubscription, b)
}

func (w *written) all() []byte {
	w.begin(300)
	w.message(300, "a/b", "payload", "publisher", "joe")
	w.client("c", "ann", 3)
	w.clientMessage("c", 300, 7, directionOut, stateWaitPuback)
	w.subscription("c", "a/+")
	w.chunk(chunkRetained, w.machine.AppendUint64(nil, 300))
	return w.b
}

func opened(b []byte) (*database, *Report, error) {
	r := new(Report)
	db, err := openDatabase("test.db", bytes.NewReader(b), int64(len(b)), r)
	return db, r, err
}

// TestDatabaseFormats: each format, as each kind of machine writes it, says the same, as far
// as it can.
func TestDatabaseFormats(t *testing.T) {
	t.Parallel()
	for version := uint32(versionOldest); version <= versionNewest; version++ {
		for _, machine := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
			for _, narrow := range []bool{false, true} {
				t.Run(fmt.Sprint(version, machine, narrow), func(t *testing.T) {
					t.Parallel()
					w := &written{version: version, machine: machine, narrow: narrow}
					db, r, err := opened(w.all())
					if err != nil || len(r.Findings) > 0 {
						t.Fatalf("%v, %v", err, r.Findings)
					}
					checkAll(t, db, version)
				})
			}
		}
	}
}

func checkAll(t *testing.T, db *database, version uint32) {
	t.Helper()
	message := &Message{Topic: "a/b", Payload: []byte("payload"), QoS: 1, Retain: true, ClientID: "publisher"}
	session := Session{ClientID: "c", ExpirySeconds: NeverExpires, Subscriptions: []Subscription{{Filter: "a/+", QoS: 2}}}
	queued := &Queued{Step: Sent, PacketID: 7, QoS: 1, Retain: true}
	if version > 3 {
		message.UserName = "joe"
	}
	if version >= versionFixed {
		message.ExpiresAt, message.Properties = time.Unix(4_000_000_000, 0).UTC(), []byte{1, 1}
		session.ExpiresAt, session.ExpirySeconds = time.Unix(4_100_000_000, 0).UTC(), 3600
		session.Subscriptions[0] = Subscription{Filter: "a/+", QoS: 2, NoLocal: true, RetainAsPublished: true, ID: 0x4D}
		queued.SubscriptionIDs = []uint32{0x4D}
	}
	if version < versionFixed {
		message.Properties = nil
	}
	if version == versionNewest {
		session.UserName = "ann"
	}
	n := 0
	for m, err := range db.Retained() {
		n++
		if err != nil || !reflect.DeepEqual(m, message) {
			t.Errorf("%+v, %v, want %+v", m, err, message)
		}
	}
	for s, err := range db.Sessions() {
		n++
		for q, err := range s.Queue() {
			n++
			m, again := q.Message()
			if q.Message = nil; err != nil || again != nil || !reflect.DeepEqual(q, queued) || !reflect.DeepEqual(m, message) {
				t.Errorf("%+v, %+v, %v, %v", q, m, err, again)
			}
		}
		if s.Queue = nil; err != nil || !reflect.DeepEqual(*s, session) {
			t.Errorf("%+v, %v, want %+v", s, err, session)
		}
	}
	if n != 3 {
		t.Errorf("%d things", n)
	}
}

// TestDatabaseOwners: user names that Mosquitto has written for clients without one.
func TestDatabaseOwners(t *testing.T) {
	t.Parallel()
	garbage := "ann\x00" + strings.Repeat("\xFF", 764)
	w := &written{version: 6, machine: binary.LittleEndian}
	w.begin(1)
	for i, c := range []struct {
		name  string
		field int
	}{{"", 0}, {"ann", 3}, {garbage, 768}, {"ann", 3}, {garbage, 768}, {"joe", 3}, {"joe", 3}, {"", 0}, {"hans", 4}} {
		w.client(fmt.Sprint(i), c.name, c.field)
	}
	db, _, err := opened(w.b)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"", "ann", "", "?", "", "joe", "joe", "", "hans"}
	for s := range db.Sessions() {
		is := s.UserName
		if s.OwnerUnknown {
			is += "?"
		}
		if is != want[0] {
			t.Errorf("client %s: %q, want %q", s.ClientID, is, want[0])
		}
		want = want[1:]
	}
}

// TestDatabaseLost: what belongs to nothing is told.
func TestDatabaseLost(t *testing.T) {
	t.Parallel()
	w := &written{version: 6, machine: binary.LittleEndian}
	w.begin(1)
	w.client("c", "", 0)
	w.clientMessage("c", 9, 1, directionOut, stateQueued)
	w.clientMessage("d", 9, 1, directionOut, stateQueued)
	w.subscription("d", "a")
	w.chunk(chunkRetained, w.machine.AppendUint64(nil, 9))
	db, r, err := opened(w.b)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, f := range r.Findings {
		told = append(told, f.What)
	}
	if want := "[1 subscriptions of clients without a session 1 messages of clients without a session 2 messages that are not in the file]"; fmt.Sprint(told) != want {
		t.Errorf("%v, want %s", told, want)
	}
	for range db.Retained() {
		t.Error("a retained message that is not there")
	}
}

// TestDatabaseDamaged: a file that is not whole, or wrong, is refused, with where it is.
func TestDatabaseDamaged(t *testing.T) {
	t.Parallel()
	whole, err := os.ReadFile(filepath.Join("..", "testdata", "mosquitto", "2.0.11.db"))
	if err != nil {
		t.Fatal(err)
	}
	ends := make(map[int]bool) // of chunks
	for at := databaseHead; at < len(whole); at += 8 + int(binary.BigEndian.Uint32(whole[at+4:])) {
		ends[at] = at > databaseHead
	}
	for n := 0; n < len(whole); n += 61 {
		if _, _, err := opened(whole[:n]); (err == nil) != ends[n] {
			t.Fatalf("of %d bytes: %v", n, err)
		}
	}
	for _, test := range []struct {
		at   int
		b    []byte
		want string
	}{
		{databaseHead - 4, []byte{0, 0, 0, 7}, "format 7, and formats 3 to 6 are known"},
		{1, []byte{0}, "does not begin as a mosquitto.db"},
		{databaseHead + 4, []byte{0xFF, 0xFF, 0xFF, 0xFF}, "chunk 1, at byte 23: configuration: it says that it has 4294967295 bytes"},
		{databaseHead + 3, []byte{9}, "chunk 1, at byte 23: its kind is 9"},
		{databaseHead + 3, []byte{2}, "the first chunk, and no other"},
		{databaseHead + 17, []byte{4}, "have 4 bytes"},
	} {
		b := bytes.Clone(whole)
		copy(b[test.at:], test.b)
		if _, _, err := opened(b); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want %s", err, test.want)
		}
	}
	for _, broken := range []struct {
		change func(*written)
		want   string
	}{
		{func(w *written) { w.client("c", "", 0) }, `there are two of client "c"`},
		{func(w *written) { w.message(300, "", "", "", "") }, "two messages"},
		{func(w *written) { w.clientMessage("c", 300, 1, 2, 3) }, "direction 2 and state 3"},
		{func(w *written) { w.chunk(chunkSubscription, []byte{1}) }, "shorter than what it says"},
		{func(w *written) { w.chunk(chunkRetained, make([]byte, 9)) }, "1 bytes are left"},
		{func(w *written) { w.chunk(chunkSubscription, []byte{0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0}) }, "QoS 3"},
	} {
		w := &written{version: 6, machine: binary.LittleEndian}
		w.all()
		broken.change(w)
		if _, _, err := opened(w.b); err == nil || !strings.Contains(err.Error(), broken.want) {
			t.Errorf("%v, want %s", err, broken.want)
		}
	}
}

// FuzzDatabase: no file makes it fail, nor takes more memory than it is long.
func FuzzDatabase(f *testing.F) {
	for version := uint32(versionOldest); version <= versionNewest; version++ {
		f.Add((&written{version: version, machine: binary.LittleEndian}).all())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		db, _, err := opened(b)
		if err != nil {
			return
		}
		for m, err := range db.Retained() {
			if err != nil || m == nil {
				t.Fatal(err)
			}
		}
		for s, err := range db.Sessions() {
			if err != nil {
				t.Fatal(err)
			}
			for q, err := range s.Queue() {
				if err != nil {
					t.Fatal(err)
				}
				if _, err := q.Message(); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
