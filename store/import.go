package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/ncruces/go-sqlite3"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

const (
	// lineBytesMax bounds a line: the largest message, in Base64, and its properties.
	lineBytesMax = 512 << 20
	// importBytes is about how much is gathered of a queue before it is written.
	importBytes = 4 << 20
	// subscriptionIDMax is the largest Subscription Identifier that the protocol has.
	subscriptionIDMax = 268_435_455
)

// Counts are of what an import stored, or an export wrote.
type Counts struct {
	Sessions, Queued, Retained, Users, Rules int
	// LeftOut are users that the export has no hash of. An import does not store them.
	LeftOut int
}

// An ImportError is one that the imported lines are the cause of, or that the store has
// something of them already. Nothing is stored.
type ImportError struct{ error }

// Unwrap implements errors.Unwrap.
func (e ImportError) Unwrap() error { return e.error }

// Checks say what is wrong with parts of an import that this package does not know the
// meaning of.
type Checks struct {
	// User gets a user with a hash, UserWithout one that has none and is left out.
	User, UserWithout func(*User) error
	Rule, Filter      func(string) error
	// Message gets a Topic Name and encoded properties.
	Message func(topic string, properties []byte) error
}

// ImportStopped is DB.Import for the data directory of a broker that does not run. If there
// was no database, a failed import leaves none. Its error is ErrInUse if another process has
// the directory, and an ImportError if nothing is wrong but the import.
func ImportStopped(o Options, lines Lines, check Checks) (*Counts, error) {
	before, err := filepath.Glob(escapeGlob(filepath.Join(o.DataDir, fileName)) + "*")
	if err != nil {
		return nil, err
	}
	db, err := Open(o)
	if err != nil {
		return nil, err
	}
	n, err := db.Import(lines, check)
	if err == nil {
		return n, db.Close()
	}
	if len(before) > 0 {
		return nil, errors.Join(ImportError{err}, db.Close())
	}
	return nil, errors.Join(ImportError{err}, db.closeAndRemove())
}

// closeAndRemove closes a database that nobody has used yet, and removes it before another
// process can open it.
func (db *DB) closeAndRemove() error {
	lock := db.lock
	db.lock = nil
	err := db.Close()
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		if e := os.Remove(db.path + suffix); err == nil && !errors.Is(e, fs.ErrNotExist) {
			err = e
		}
	}
	return errors.Join(err, lock.Close())
}

// Import stores what lines say, all of it or, after an error, nothing. What is there already is an error, but a retained message, which is replaced. It
// is for the goroutine of Apply.
func (db *DB) Import(lines Lines, check Checks) (*Counts, error) {
	var i *importer
	err := db.changeAccess(func() error {
		i = &importer{db: db, check: check, id: db.nextID, batch: session.NewBatch()}
		return i.all(lines)
	})
	if err != nil {
		return nil, err
	}
	db.nextID = i.id
	return &i.Counts, nil
}

// An importer reads lines, within a transaction.
type importer struct {
	Counts
	db      *DB
	check   Checks
	id      session.ID // the next
	current session.ID // of the last Session; 0: none
	seq     uint64     // of the last message in its queue
	// received, released and sent are its Packet Identifiers: see session.NewState.
	received, released, sent []uint16
	batch                    *session.Batch
	bytes                    int // in batch
	version                  uint64
	rules                    []string
}

func (i *importer) all(lines Lines) error {
	version, err := queryInt(i.db.w, "SELECT coalesce(max(version), 0) FROM retained")
	if err != nil {
		return err
	}
	i.version = uint64(version)
	for l, err := range lines {
		if err != nil {
			return err
		}
		if err := i.line(l); err != nil && l.number > 0 {
			return fmt.Errorf("line %d: %w", l.number, err)
		} else if err != nil {
			return err
		}
	}
	if err := i.settle(); err != nil {
		return err
	}
	return i.finish()
}

func (i *importer) line(l *Line) error {
	switch {
	case l.Session != nil:
		return i.session(l.Session)
	case l.Queued != nil:
		return i.queued(l.Queued)
	case l.Retained != nil:
		return i.retained(l.Retained)
	case l.User != nil:
		return i.user(l.User)
	case l.Rule != nil:
		i.rules = append(i.rules, *l.Rule)
		return i.check.Rule(*l.Rule)
	}
	return errors.New("it says nothing")
}

// flush writes what was gathered.
func (i *importer) flush() error {
	err := i.db.applyAll(i.batch)
	i.batch, i.bytes = session.NewBatch(), 0
	return err
}

// settle ends the Session that is read, of which nothing more comes, and writes it.
func (i *importer) settle() error {
	if len(i.received)+len(i.released)+len(i.sent) > 0 {
		st, err := session.NewState(i.received, i.released, i.sent, i.seq+1)
		if err != nil {
			return err
		}
		i.writes().State = st.Append(nil)
	}
	return i.flush()
}

// writes are those of the Session that is read.
func (i *importer) writes() *session.Writes {
	w := i.batch.Sessions[i.current]
	if w == nil {
		w = new(session.Writes)
		i.batch.Sessions[i.current] = w
	}
	return w
}

func (i *importer) session(e *LineSession) error {
	if err := i.settle(); err != nil {
		return err
	}
	switch {
	case e.Client == "" || len(e.Client) > 65535 || !utf8.ValidString(e.Client):
		return errors.New("client: a Client Identifier has 1 to 65,535 bytes of UTF-8")
	case e.Version < 3 || e.Version > 5:
		return errors.New("protocol: it is 3, 4 or 5")
	}
	found, err := i.has("SELECT count(*) FROM session WHERE client_id = ?1", e.Client)
	if err != nil || found {
		return errors.Join(err, fmt.Errorf("there is a session of client %q already", e.Client))
	}
	w := &session.Writes{
		Record: &session.Record{
			ID: i.id, ClientID: e.Client, UserName: e.User, Version: codec.Version(e.Version), ExpirySeconds: e.Expiry, ExpiresAt: e.ExpiresAt,
			Connected: e.ExpiresAt.IsZero() && e.Expiry != session.NeverExpires, // so it expires from the next start on
		},
		Subscriptions: make(map[string]*session.Subscription),
	}
	for _, s := range e.Subscriptions {
		if err := i.check.Filter(s.Filter); err != nil {
			return fmt.Errorf("filter %q: %w", s.Filter, err)
		}
		if s.QoS < 0 || s.QoS > 2 || s.RetainHandling < 0 || s.RetainHandling > 2 {
			return fmt.Errorf("filter %q: qos and retain_handling are 0, 1 or 2", s.Filter)
		}
		if s.ID > subscriptionIDMax {
			return fmt.Errorf("filter %q: identifier: it is at most %d", s.Filter, subscriptionIDMax)
		}
		w.Subscriptions[s.Filter] = &session.Subscription{
			Filter: s.Filter, QoS: codec.QoS(s.QoS), NoLocal: s.NoLocal, RetainAsPublished: s.RetainAsPublished, RetainHandling: byte(s.RetainHandling), ID: s.ID,
		}
	}
	i.batch.Sessions[i.id] = w
	i.current, i.seq = i.id, uint64(len(e.Released))
	i.received, i.released, i.sent = e.Received, e.Released, nil
	i.id++
	i.Sessions++
	return nil
}

// has reports whether a row is there.
func (i *importer) has(sql, key string) (bool, error) {
	s, _, err := i.db.w.Prepare(sql)
	if err != nil {
		return false, err
	}
	if err := bind(s, []any{[]byte(key)}); err != nil {
		return false, errors.Join(err, s.Close())
	}
	n, err := stepInt(s)
	return n > 0, errors.Join(err, s.Close())
}

func (i *importer) message(m *LineMessage, qosLeast int) error {
	if m.QoS < qosLeast || m.QoS > 2 {
		return fmt.Errorf("qos: it is %d to 2", qosLeast)
	}
	return i.check.Message(m.Topic, m.Properties)
}

func (i *importer) queued(e *LineQueued) error {
	if i.current == 0 {
		return errors.New("a queued message belongs to the session before it, and there is none")
	}
	if err := i.message(&e.LineMessage, 1); err != nil {
		return err
	}
	if e.DeliverQoS < 1 || e.DeliverQoS > e.QoS {
		return errors.New("deliver_qos: it is 1 or 2, and not above qos")
	}
	for _, id := range e.SubscriptionIDs {
		if id == 0 || id > subscriptionIDMax {
			return fmt.Errorf("subscription_identifiers: they are 1 to %d", subscriptionIDMax)
		}
	}
	if e.Share != "" {
		if !strings.HasPrefix(e.Share, "$share/") {
			return errors.New("share: it is the filter of a Shared Subscription")
		}
		if err := i.check.Filter(e.Share); err != nil {
			return fmt.Errorf("share: %w", err)
		}
	}
	if e.Sent != 0 {
		if uint64(len(i.released)+len(i.sent)) != i.seq {
			return errors.New("sent: a message before it in the queue was not sent")
		}
		i.sent = append(i.sent, e.Sent)
	}
	w := i.writes()
	i.seq++
	entry := session.Entry{
		Seq: i.seq, Message: e.message(), QoS: codec.QoS(e.DeliverQoS), Retain: e.DeliverRetain, QueuedAt: e.QueuedAt, SubscriptionIDs: e.SubscriptionIDs, Share: e.Share,
	}
	w.Entries = append(w.Entries, entry)
	i.Queued++
	if i.bytes += entry.Bytes(); i.bytes > importBytes {
		return i.flush()
	}
	return nil
}

func (i *importer) retained(e *LineRetained) error {
	if err := i.message(&e.LineMessage, 0); err != nil {
		return err
	}
	if strings.HasPrefix(e.Topic, "$SYS/") {
		return errors.New("topic: those below $SYS/ are the broker's own")
	}
	i.version++
	i.Retained++
	return i.db.applyRetained(e.Topic, session.RetainedWrite{Version: i.version, UserName: e.User, Message: e.message()})
}

func (i *importer) user(e *LineUser) error {
	u := &User{Name: e.Name, Hash: e.Hash, Scram: e.Scram, Groups: e.Groups, Disabled: e.Disabled, Role: e.Role, Changed: e.Changed}
	if e.Hash == "" {
		i.LeftOut++
		return i.check.UserWithout(u)
	}
	if err := i.check.User(u); err != nil {
		return err
	}
	err := i.db.execOnce("INSERT INTO user VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)", userArgs(u)...)
	if errors.Is(err, sqlite3.CONSTRAINT) {
		return fmt.Errorf("there is a user %q already", e.Name)
	}
	i.Users++
	return err
}

// finish writes the rules, and counts.
func (i *importer) finish() error {
	if len(i.rules) > 0 {
		there, err := queryInt(i.db.w, "SELECT count(*) FROM rule")
		if err != nil {
			return err
		}
		if there > 0 {
			return fmt.Errorf("the export has %d rules, and the store %d: which come first is not known", len(i.rules), there)
		}
		if err := i.db.putRules(i.rules); err != nil {
			return err
		}
		i.Rules = len(i.rules)
	}
	return i.db.countUsers()
}
