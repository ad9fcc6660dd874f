package mosquitto

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/bits"
	"slices"
)

// databaseMagic is how a mosquitto.db begins: a CRC of four bytes that nobody has ever
// written follows, and the version.
const databaseMagic = "\x00\xB5\x00mosquitto db"

const (
	databaseHead  = len(databaseMagic) + 8
	versionOldest = 3
	versionFixed  = 5 // from here on a chunk is a structure and then its texts
	versionNewest = 6
	storeIDBytes  = 8
)

// A chunkKind is what a chunk of the file has.
type chunkKind uint32

const (
	chunkConfig        chunkKind = 1
	chunkMessage       chunkKind = 2
	chunkClientMessage chunkKind = 3
	chunkRetained      chunkKind = 4
	chunkSubscription  chunkKind = 5
	chunkClient        chunkKind = 6
)

var chunkNames = map[chunkKind]string{
	chunkConfig: "configuration", chunkMessage: "message", chunkClientMessage: "message of a client", chunkRetained: "retained message",
	chunkSubscription: "subscription", chunkClient: "client",
}

// A database is a mosquitto.db. It holds where everything is, and no message.
type database struct {
	name    string
	file    io.ReaderAt
	version uint32
	// machine is the byte order of numbers that Mosquitto writes as the machine has them.
	machine  binary.ByteOrder
	messages []storedAt // by ID
	clients  []*clientAt
	byID     map[string]*clientAt
	retained []uint64
	buf      []byte

	lostSubscriptions, lostMessages int // of clients that are not in the file
	lostReferences                  int // to messages that are not in the file
}

// storedAt is where a message is.
type storedAt struct {
	id    uint64
	at    int64
	bytes uint32
}

// A clientAt is a client, and where its messages are.
type clientAt struct {
	Session
	nameField uint16 // the length of the user name, as it stands
	messages  []storedAt
}

// openDatabase looks through a file of that size. The database takes file over, and closes it
// if it can be closed.
func openDatabase(name string, file io.ReaderAt, size int64, r *Report) (*database, error) {
	db := &database{name: name, file: file, byID: make(map[string]*clientAt)}
	if err := db.readHead(size); err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(io.NewSectionReader(file, int64(databaseHead), size-int64(databaseHead)), 1<<16)
	at := int64(databaseHead)
	for n := 1; at < size; n++ {
		next, err := db.chunk(in, at, size)
		if err != nil {
			return nil, fmt.Errorf("chunk %d, at byte %d: %w", n, at, err)
		}
		at = next
	}
	if db.machine == nil {
		return nil, errors.New("it has no chunk, where it begins with its configuration")
	}
	if err := db.settle(); err != nil {
		return nil, err
	}
	db.tell(r)
	return db, nil
}

func (db *database) readHead(size int64) error {
	head := make([]byte, databaseHead)
	if n, err := db.file.ReadAt(head[:min(size, int64(databaseHead))], 0); n < len(head) {
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		return fmt.Errorf("it has %d bytes, and is no mosquitto.db", size)
	}
	if string(head[:len(databaseMagic)]) != databaseMagic {
		return errors.New("it does not begin as a mosquitto.db, nor as an SQLite database")
	}
	db.version = binary.BigEndian.Uint32(head[databaseHead-4:])
	if db.version < versionOldest || db.version > versionNewest {
		return fmt.Errorf("it is a mosquitto.db of format %d, and formats %d to %d are known: let a Mosquitto 2.0 open it and end, which writes format %d",
			db.version, versionOldest, versionNewest, versionNewest)
	}
	return nil
}

// chunkHead reads the head of a chunk at that byte.
func (db *database) chunkHead(in io.Reader) (kind chunkKind, bytes uint32, head int, err error) {
	var b [8]byte
	head = 8
	if db.version < versionFixed {
		head = 6
	}
	if _, err = io.ReadFull(in, b[:head]); err != nil {
		return 0, 0, head, errors.New("the file ends within the head of a chunk: it is not whole")
	}
	if db.version < versionFixed {
		return chunkKind(binary.BigEndian.Uint16(b[:])), binary.BigEndian.Uint32(b[2:]), head, nil
	}
	return chunkKind(binary.BigEndian.Uint32(b[:])), binary.BigEndian.Uint32(b[4:]), head, nil
}

// chunk reads the chunk at that byte, and returns where the next one is.
func (db *database) chunk(in *bufio.Reader, at, size int64) (next int64, err error) {
	kind, length, head, err := db.chunkHead(in)
	if err != nil {
		return 0, err
	}
	name := chunkNames[kind]
	if name == "" {
		return 0, fmt.Errorf("its kind is %d, which is not known", kind)
	}
	at += int64(head)
	if left := size - at; int64(length) > left {
		return 0, fmt.Errorf("%s: it says that it has %d bytes, and the file has %d more: it is not whole, or damaged", name, length, left)
	}
	if (kind == chunkConfig) != (db.machine == nil) {
		return 0, fmt.Errorf("%s: the first chunk, and no other, is the configuration", name)
	}
	db.buf = slices.Grow(db.buf[:0], int(length))[:length]
	if _, err := io.ReadFull(in, db.buf); err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	f := &fields{b: db.buf, machine: db.machine}
	if err := db.read(kind, f, storedAt{at: at, bytes: length}); err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return at + int64(length), nil
}

// read takes in a chunk.
func (db *database) read(kind chunkKind, f *fields, where storedAt) error {
	switch kind {
	case chunkConfig:
		return db.readConfig(f)
	case chunkMessage:
		id, _, err := db.message(f)
		where.id = id
		db.messages = append(db.messages, where)
		return err
	case chunkClient:
		return db.readClient(f)
	case chunkClientMessage:
		client, m, err := db.clientMessage(f)
		if err != nil {
			return err
		}
		where.id = m.store
		if c := db.byID[client]; c != nil {
			c.messages = append(c.messages, where)
		} else {
			db.lostMessages++
		}
		return nil
	case chunkRetained:
		id := f.asMachine64()
		db.retained = append(db.retained, id)
		return f.end()
	default:
		return db.readSubscription(f)
	}
}

// readConfig finds out in which order the machine has its bytes: identifiers of messages
// count up, so the order in which the last one is less is right.
func (db *database) readConfig(f *fields) error {
	raw := f.b
	idAt, sizeAt := 0, 9
	if db.version < versionFixed {
		idAt, sizeAt = 2, 1
	}
	if len(raw) < 10 {
		return errShort
	}
	if raw[sizeAt] != storeIDBytes {
		return fmt.Errorf("identifiers of messages have %d bytes, and %d are known", raw[sizeAt], storeIDBytes)
	}
	little, big := binary.LittleEndian.Uint64(raw[idAt:]), binary.BigEndian.Uint64(raw[idAt:])
	db.machine = binary.LittleEndian
	if bits.LeadingZeros64(big) > bits.LeadingZeros64(little) {
		db.machine = binary.BigEndian
	}
	return nil
}

// settle checks what refers to what.
func (db *database) settle() error {
	slices.SortFunc(db.messages, func(a, b storedAt) int { return cmp.Compare(a.id, b.id) })
	for i := 1; i < len(db.messages); i++ {
		if db.messages[i].id == db.messages[i-1].id {
			return fmt.Errorf("two messages, at byte %d and at byte %d, have the identifier %d: it is damaged", db.messages[i-1].at, db.messages[i].at, db.messages[i].id)
		}
	}
	lost := func(id uint64) bool {
		_, found := db.find(id)
		if !found {
			db.lostReferences++
		}
		return !found
	}
	db.retained = slices.DeleteFunc(db.retained, lost)
	for _, c := range db.clients {
		c.messages = slices.DeleteFunc(c.messages, func(m storedAt) bool { return lost(m.id) })
	}
	db.byID = nil
	settleOwners(db.clients)
	return nil
}

func (db *database) find(id uint64) (i int, found bool) {
	return slices.BinarySearchFunc(db.messages, id, func(m storedAt, id uint64) int { return cmp.Compare(m.id, id) })
}

// tell reports what is in the file and belongs to nothing.
func (db *database) tell(r *Report) {
	for _, lost := range []struct {
		n         int
		what, why string
	}{
		{db.lostSubscriptions, "subscriptions of clients without a session", "the file has no session of these clients"},
		{db.lostMessages, "messages of clients without a session", "the file has no session of these clients"},
		{db.lostReferences, "messages that are not in the file", "the file refers to them"},
	} {
		if lost.n > 0 {
			r.Add(db.name, 0, fmt.Sprintf("%d %s", lost.n, lost.what), LeftOut, "%s", lost.why)
		}
	}
}

// Format implements State.
func (db *database) Format() string { return fmt.Sprintf("mosquitto.db, format %d", db.version) }

// Close implements State.
func (db *database) Close() error {
	if c, ok := db.file.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// Sessions implements State.
func (db *database) Sessions() iter.Seq2[*Session, error] {
	return func(yield func(*Session, error) bool) {
		for _, c := range db.clients {
			s := c.Session
			s.Queue = func() iter.Seq2[*Queued, error] { return db.queue(c) }
			if !yield(&s, nil) {
				return
			}
		}
	}
}

// Retained implements State.
func (db *database) Retained() iter.Seq2[*Message, error] {
	return func(yield func(*Message, error) bool) {
		for _, id := range db.retained {
			m, err := db.load(id)
			if !yield(m, err) || err != nil {
				return
			}
		}
	}
}

func (db *database) queue(c *clientAt) iter.Seq2[*Queued, error] {
	return func(yield func(*Queued, error) bool) {
		for _, where := range c.messages {
			f, err := db.fieldsAt(where)
			var m *clientMessage
			if err == nil {
				_, m, err = db.clientMessage(f)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			m.Message = func() (*Message, error) { return db.load(m.store) }
			if !yield(&m.Queued, nil) {
				return
			}
		}
	}
}

// load reads a message that is there.
func (db *database) load(id uint64) (*Message, error) {
	i, _ := db.find(id)
	f, err := db.fieldsAt(db.messages[i])
	if err != nil {
		return nil, err
	}
	_, m, err := db.message(f)
	return m, err
}

// fieldsAt reads a chunk again.
func (db *database) fieldsAt(where storedAt) (*fields, error) {
	b := make([]byte, where.bytes)
	if _, err := db.file.ReadAt(b, where.at); err != nil {
		return nil, fmt.Errorf("%s: at byte %d: %w", db.name, where.at, err)
	}
	return &fields{b: b, machine: db.machine}, nil
}
