package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/x0a1b/promptmq/session"
)

// errEnded says that a reading was ended.
var errEnded = errors.New("the query is over")

// bodiesKept is how many bytes of body rows a reading keeps: many runs refer to each.
const bodiesKept = 8 << 20

// A reading is what the views of one query read from. It is for the goroutine of the query,
// but for finish.
type reading struct {
	ctx     context.Context // of the query
	live    Live
	stats   func() Stats
	running bool
	end     func() error // closes c

	mu   sync.Mutex // guards the following
	c    *sqlite3.Conn
	over bool
	err  error // the first that failed

	// Of the goroutine of the query.
	paused     time.Time                  // when it last did
	free       map[string][]*sqlite3.Stmt // statements that are not in use
	ids        map[string]int64           // Sessions by Client Identifier
	bodies     map[int64][]byte
	bodyBytes  int
	liveRows   map[string][]LiveRow // of the views of what is in memory
	liveByName map[string]int       // where each client is in there
}

// newReading returns one of a connection, which end closes.
func newReading(ctx context.Context, c *sqlite3.Conn, end func() error, stats func() Stats) *reading {
	c.SetInterrupt(ctx)
	return &reading{ctx: ctx, c: c, end: end, stats: stats, free: make(map[string][]*sqlite3.Stmt), liveRows: make(map[string][]LiveRow)}
}

// A query leaves the processors to those who have commits to make: every so many rows those go
// first who wait for one, and after each burst it pauses.
const (
	yieldEvery = 16
	queryBurst = 2 * time.Millisecond
	queryPause = time.Millisecond
)

// yield gives way to a broker that runs.
func (r *reading) yield() {
	runtime.Gosched()
	if r.running && time.Since(r.paused) > queryBurst {
		time.Sleep(queryPause)
		r.paused = time.Now()
	}
}

// fail notes an error of reading.
func (r *reading) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil && !errors.Is(err, errEnded) && !errors.Is(err, sqlite3.INTERRUPT) {
		r.err = err
	}
}

// failed returns the first error of reading.
func (r *reading) failed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// finish ends the reading, if that was not done. Any goroutine may call it.
func (r *reading) finish() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	r.over = true
	for _, s := range slices.Collect(r.c.Stmts()) {
		_ = s.Close() // its error is that of its last execution
	}
	_ = r.end() // only read
}

// locked calls f unless the reading is over.
func (r *reading) locked(f func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return errEnded
	}
	return f()
}

// each returns what row makes of the rows of a statement: it copies what it needs.
func (r *reading) each(sql string, args []any, of func(*sqlite3.Stmt) (row, error)) rows {
	return func(yield func(row, error) bool) {
		s, err := r.statement(sql, args)
		if err != nil {
			yield(nil, err)
			return
		}
		defer func() {
			_ = r.locked(func() error {
				r.free[sql] = append(r.free[sql], s)
				return s.Reset()
			})
		}()
		for {
			var next row
			err := r.locked(func() (err error) {
				if s.Step() {
					next, err = of(s)
					return err
				}
				return s.Err()
			})
			if err != nil {
				yield(nil, err)
				return
			}
			if next == nil || !yield(next, nil) {
				return
			}
		}
	}
}

// statement returns a bound statement, prepared if there is none that is free.
func (r *reading) statement(sql string, args []any) (s *sqlite3.Stmt, err error) {
	return s, r.locked(func() error {
		if free := r.free[sql]; len(free) > 0 {
			s, r.free[sql] = free[len(free)-1], free[:len(free)-1]
		} else if s, _, err = r.c.Prepare(sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
		return bind(s, args)
	})
}

// number returns the first column of the first row.
func (r *reading) number(sql string, args ...any) any {
	n := int64(0)
	for found, err := range r.each(sql, args, func(s *sqlite3.Stmt) (row, error) {
		n := s.ColumnInt64(0)
		return func(int) any { return n }, nil
	}) {
		if err != nil {
			return err
		}
		n = found(0).(int64)
	}
	return n
}

// sessionID finds the Session of a client; 0: it has none.
func (r *reading) sessionID(client string) (int64, error) {
	if r.ids == nil {
		r.ids = make(map[string]int64)
		for _, err := range r.each("SELECT id, client_id FROM session"+liveSessions, nil, func(s *sqlite3.Stmt) (row, error) {
			r.ids[string(s.ColumnRawBlob(1))] = s.ColumnInt64(0)
			return func(int) any { return nil }, nil
		}) {
			if err != nil {
				r.ids = nil
				return 0, err
			}
		}
	}
	return r.ids[client], nil
}

// body reads a body row.
func (r *reading) body(id int64) ([]byte, error) {
	if data, ok := r.bodies[id]; ok {
		return data, nil
	}
	var data []byte
	for _, err := range r.each("SELECT data FROM body WHERE id = ?1", []any{id}, func(s *sqlite3.Stmt) (row, error) {
		data = clone(s.ColumnRawBlob(0))
		return func(int) any { return nil }, nil
	}) {
		if err != nil {
			return nil, err
		}
	}
	if r.bodyBytes += len(data); r.bodyBytes > bodiesKept || r.bodies == nil {
		r.bodies, r.bodyBytes = make(map[int64][]byte), len(data)
	}
	r.bodies[id] = data
	return data, nil
}

// entries are those of a queue that are not done.
func (r *reading) entries(id int64, st *session.State) iter.Seq2[session.Entry, error] {
	return func(yield func(session.Entry, error) bool) {
		type run struct {
			key  runKey
			body int64
			data []byte
		}
		for next, err := range r.each("SELECT first, last, body, data FROM run WHERE session = ?1 AND last >= ?2 ORDER BY first", []any{id, int64(st.Floor)},
			func(s *sqlite3.Stmt) (row, error) {
				found := run{runKey{uint64(id), uint64(s.ColumnInt64(0)), uint64(s.ColumnInt64(1))}, s.ColumnInt64(2), clone(s.ColumnRawBlob(3))}
				return func(int) any { return found }, nil
			}) {
			var entries []session.Entry
			if err == nil {
				found := next(0).(run)
				var body []byte
				if found.body != 0 {
					body, err = r.body(found.body)
				}
				if err == nil {
					entries, err = unpackRun(nil, found.key, found.data, body, st.Floor)
				}
			}
			if err != nil {
				yield(session.Entry{}, fmt.Errorf("the queue of session %d: %w", id, ifDamage(err)))
				return
			}
			for _, e := range entries {
				if !st.IsDone(e.Seq) && !yield(e, nil) {
					return
				}
			}
		}
	}
}
