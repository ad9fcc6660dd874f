package store

import (
	"context"
	"strings"

	"github.com/ncruces/go-sqlite3"

	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/session"
)

// none are no rows.
func none(func(row, error) bool) {}

// failing is an error in place of rows.
func failing(err error) rows {
	return func(yield func(row, error) bool) { yield(nil, err) }
}

// listed are rows that are in memory.
func listed(all []LiveRow) rows {
	return func(yield func(row, error) bool) {
		for _, r := range all {
			if !yield(row(r), nil) {
				return
			}
		}
	}
}

// inMemory returns what the broker knows, which is asked once.
func (r *reading) inMemory(name string, f func(context.Context) ([]LiveRow, error)) ([]LiveRow, error) {
	if all, ok := r.liveRows[name]; ok || f == nil {
		return all, nil
	}
	all, err := f(r.ctx)
	if err == nil {
		r.liveRows[name] = all
	}
	return all, err
}

func (r *reading) clients(client *string) rows {
	all, err := r.inMemory("clients", r.live.Clients)
	if err != nil {
		return failing(err)
	}
	if client == nil {
		return listed(all)
	}
	if r.liveByName == nil {
		r.liveByName = make(map[string]int, len(all))
		for i, cell := range all {
			if name, ok := cell(0).(string); ok {
				r.liveByName[name] = i
			}
		}
	}
	at, ok := r.liveByName[*client]
	if !ok {
		return none
	}
	return listed(all[at : at+1])
}

func (r *reading) drops(*string) rows {
	all, err := r.inMemory("drops", r.live.Drops)
	if err != nil {
		return failing(err)
	}
	return listed(all)
}

// liveSessions leaves those out that have ended and are being removed.
const liveSessions = " WHERE NOT (expiry = 0 AND connected = 0 AND expires_at = 1)"

// ofClient ends a statement on table session, with the Session of a client or with all.
func (r *reading) ofClient(sql string, client *string) (string, []any, error) {
	sql += liveSessions
	if client == nil {
		return sql, nil, nil
	}
	id, err := r.sessionID(*client)
	return sql + " AND session.id = ?1", []any{id}, err
}

// orNil is NULL in place of "".
func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// protocolOf is the name of a version of MQTT.
func protocolOf(v codec.Version) any {
	switch v {
	case 3:
		return "3.1"
	case 4:
		return "3.1.1"
	case 5:
		return "5.0"
	}
	return nil
}

func (r *reading) sessions(client *string) rows {
	sql, args, err := r.ofClient(`SELECT id, client_id, user_name, version, expiry, connected, expires_at, state.data, will.data, will.due_at, session.sum
		FROM session LEFT JOIN state ON state.session = id LEFT JOIN will ON will.session = id`, client)
	if err != nil {
		return failing(err)
	}
	return r.each(sql, args, r.sessionRow)
}

// sessionRow makes a row of what sessions selects.
func (r *reading) sessionRow(s *sqlite3.Stmt) (row, error) {
	rec := recordOf(s)
	if s.ColumnInt64(10) != sessionSum(rec) {
		return nil, ErrDamaged
	}
	id := int64(rec.ID)
	st, err := stateOf(s, 7, id)
	if err != nil {
		return nil, err
	}
	var will any
	if s.ColumnType(8) != sqlite3.NULL {
		w, err := unpackWill(s.ColumnRawBlob(8), uint64(id), s.ColumnInt64(9))
		if err != nil {
			return nil, err
		}
		will = w.Message.Topic
	}
	return func(i int) any {
		switch i {
		case 0:
			return rec.ClientID
		case 1:
			return orNil(rec.UserName)
		case 2:
			return protocolOf(rec.Version)
		case 3:
			return rec.Connected
		case 4:
			if rec.ExpirySeconds == session.NeverExpires {
				return nil
			}
			return int64(rec.ExpirySeconds)
		case 5:
			return rec.ExpiresAt
		case 6:
			return r.number("SELECT count(*) FROM subscription WHERE session = ?1", id)
		case 7:
			return r.countQueued(id, st)
		case 8:
			return r.number("SELECT coalesce(sum(bytes), 0) FROM run WHERE session = ?1 AND last >= ?2", id, int64(st.Floor))
		}
		return will
	}, nil
}

// stateOf decodes the State of a Session, which stands in this column.
func stateOf(s *sqlite3.Stmt, column int, id int64) (*session.State, error) {
	var data []byte
	if s.ColumnType(column) != sqlite3.NULL {
		var err error
		if data, err = openPacked(s.ColumnRawBlob(column), kindState, uint64(id)); err != nil {
			return nil, err
		}
	}
	st := new(session.State)
	if err := st.Decode(data); err != nil {
		return nil, damaged(err)
	}
	return st, nil
}

func (r *reading) countQueued(id int64, st *session.State) any {
	n := 0
	for _, err := range r.entries(id, st) {
		if err != nil {
			return err
		}
		n++
	}
	return n
}

func (r *reading) subscriptions(client *string) rows {
	sql, args, err := r.ofClient(`SELECT session, filter, options, sub_id, subscription.sum, client_id
		FROM session JOIN subscription ON session = session.id`, client)
	if err != nil {
		return failing(err)
	}
	return r.each(sql, args, func(s *sqlite3.Stmt) (row, error) {
		sub := session.Subscription{Filter: string(s.ColumnRawBlob(1)), ID: uint32(s.ColumnInt64(3))}
		if s.ColumnInt64(4) != subscriptionSum(s.ColumnInt64(0), sub.Filter, s.ColumnInt64(2), int64(sub.ID)) {
			return nil, ErrDamaged
		}
		unpackOptions(&sub, s.ColumnInt64(2))
		client := string(s.ColumnRawBlob(5))
		return func(i int) any {
			switch i {
			case 0:
				return client
			case 1:
				return sub.Filter
			case 2:
				return shareName(sub.Filter)
			case 3:
				return int(sub.QoS)
			case 4:
				return sub.NoLocal
			case 5:
				return sub.RetainAsPublished
			case 6:
				return int(sub.RetainHandling)
			}
			if sub.ID == 0 {
				return nil
			}
			return int64(sub.ID)
		}, nil
	})
}

// shareName is the name of a Shared Subscription.
func shareName(filter string) any {
	rest, shared := strings.CutPrefix(filter, "$share/")
	if !shared {
		return nil
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

func (r *reading) queued(client *string) rows {
	sql, args, err := r.ofClient("SELECT id, client_id, data FROM session LEFT JOIN state ON session = id", client)
	if err != nil {
		return failing(err)
	}
	return func(yield func(row, error) bool) {
		type queue struct {
			id     int64
			client string
			st     *session.State
		}
		for next, err := range r.each(sql, args, func(s *sqlite3.Stmt) (row, error) {
			st, err := stateOf(s, 2, s.ColumnInt64(0))
			q := queue{s.ColumnInt64(0), string(s.ColumnRawBlob(1)), st}
			return func(int) any { return q }, err
		}) {
			if err != nil {
				yield(nil, err)
				return
			}
			q := next(0).(queue)
			for e, err := range r.entries(q.id, q.st) {
				if err != nil {
					yield(nil, err)
					return
				}
				if !yield(queuedRow(q.client, &e, q.st), nil) {
					return
				}
			}
		}
	}
}

func queuedRow(client string, e *session.Entry, st *session.State) row {
	return func(i int) any {
		switch i {
		case 0:
			return client
		case 1:
			return e.Seq
		case 2:
			switch {
			case st.IsReleased(e.Seq):
				return "received"
			case e.Seq < st.Sent:
				return "sent"
			}
			return "waiting"
		case 3:
			return e.Message.Topic
		case 4:
			return int(e.QoS)
		case 5:
			return len(e.Message.Payload)
		case 6:
			return e.QueuedAt
		case 7:
			return e.Message.ExpiresAt
		case 8:
			return orNil(e.Share)
		}
		return e.Message.Payload
	}
}
