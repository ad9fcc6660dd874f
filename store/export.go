package store

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/x0a1b/promptmq/session"
)

// ExportFile writes what a database has that nobody writes to, as lines of JSON. The hashes
// of users are only written with secrets.
func ExportFile(path string, secrets bool, now time.Time, w io.Writer) (*Counts, error) {
	c, err := openReadOnly(path)
	if err == nil {
		err = newest(c)
	}
	if c != nil {
		defer func() { _ = c.Close() }() // only read
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, ifDamage(err))
	}
	out := bufio.NewWriterSize(w, 1<<20)
	e := &exporter{db: &DB{w: c}, r: newReading(context.Background(), c, c.Close, nil), json: json.NewEncoder(out), secrets: secrets}
	e.json.SetEscapeHTML(false)
	if err := e.all(now); err != nil {
		return nil, fmt.Errorf("%s: %w", path, ifDamage(err))
	}
	return &e.Counts, out.Flush()
}

// An exporter writes lines.
type exporter struct {
	Counts
	db      *DB // of which there is only a connection
	r       *reading
	json    *json.Encoder
	secrets bool
}

func (e *exporter) all(now time.Time) error {
	if err := e.json.Encode(&Line{Export: &lineHead{exportVersion, now.UTC()}}); err != nil {
		return err
	}
	rules, err := e.db.Rules()
	if err != nil {
		return err
	}
	for i := range rules {
		if err := e.json.Encode(&Line{Rule: &rules[i]}); err != nil {
			return err
		}
	}
	e.Rules = len(rules)
	users, err := e.db.Users()
	if err != nil {
		return err
	}
	for _, u := range users {
		e.Users++
		if !e.secrets || u.Hash == "" {
			e.LeftOut++
		}
		out := LineUser{Name: u.Name, Groups: u.Groups, Disabled: u.Disabled, Role: u.Role, Changed: u.Changed.UTC()}
		if e.secrets {
			out.Hash, out.Scram = u.Hash, u.Scram
		}
		if err := e.json.Encode(&Line{User: &out}); err != nil {
			return err
		}
	}
	err = e.db.query("SELECT topic, version, data FROM retained ORDER BY topic", func(s *sqlite3.Stmt) error {
		w, err := unpackRetained(s.ColumnRawBlob(2), string(s.ColumnRawBlob(0)), uint64(s.ColumnInt64(1)))
		if err != nil {
			return err
		}
		e.Retained++
		return e.json.Encode(&Line{Retained: &LineRetained{LineOf(w.Message), w.UserName}})
	})
	if err != nil {
		return err
	}
	return e.sessions()
}

func (e *exporter) sessions() error {
	subs, _, err := e.db.w.Prepare("SELECT filter, options, sub_id, sum FROM subscription WHERE session = ?1")
	if err != nil {
		return err
	}
	defer func() { _ = subs.Close() }() // its error is that of Step
	return e.db.query(`SELECT id, client_id, user_name, version, expiry, connected, expires_at, data, sum
		FROM session LEFT JOIN state ON session = id ORDER BY client_id`, func(s *sqlite3.Stmt) error {
		l := &session.Loaded{Record: *recordOf(s)}
		rec := &l.Record
		if ended(rec) {
			return nil
		}
		if s.ColumnInt64(8) != sessionSum(rec) {
			return damaged(fmt.Errorf("the session of %q", rec.ClientID))
		}
		st, err := stateOf(s, 7, int64(rec.ID))
		if err == nil {
			err = loadSubscriptions(subs, l)
		}
		if err != nil {
			return err
		}
		out := &LineSession{Client: rec.ClientID, User: rec.UserName, Version: int(rec.Version), Expiry: rec.ExpirySeconds, ExpiresAt: utc(rec.ExpiresAt)}
		for i := range l.Subscriptions {
			sub := &l.Subscriptions[i]
			out.Subscriptions = append(out.Subscriptions, LineSubscription{
				sub.Filter, int(sub.QoS), sub.NoLocal, sub.RetainAsPublished, int(sub.RetainHandling), sub.ID,
			})
		}
		out.Received = slices.Collect(st.Received.All())
		for _, seq := range st.Released {
			out.Released = append(out.Released, st.PacketID(seq))
		}
		e.Sessions++
		if err := e.json.Encode(&Line{Session: out}); err != nil {
			return err
		}
		return e.queue(int64(rec.ID), st)
	})
}

// queue writes what waits for a Session, but for what only PUBCOMP is awaited of: that was
// delivered, and the Session has its Packet Identifier.
func (e *exporter) queue(id int64, st *session.State) error {
	for entry, err := range e.r.entries(id, st) {
		if err != nil {
			return err
		}
		if st.IsReleased(entry.Seq) {
			continue
		}
		out := &LineQueued{LineOf(entry.Message), int(entry.QoS), entry.Retain, utc(entry.QueuedAt), entry.SubscriptionIDs, entry.Share, 0}
		if entry.Seq < st.Sent {
			out.Sent = st.PacketID(entry.Seq)
		}
		e.Queued++
		if err := e.json.Encode(&Line{Queued: out}); err != nil {
			return err
		}
	}
	return nil
}
