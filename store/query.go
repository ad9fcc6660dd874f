package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// What one query may take.
const (
	QueryWithin    = 5 * time.Second // if nothing else is asked for
	QueryWithinMax = 30 * time.Second
	QueryRows      = 1000
	QueryRowsMax   = 100_000
	// QueryBytesMax bounds the rows of an answer, queryMemoryMax what SQLite takes to find
	// them, queryValueMax each value, in bytes.
	QueryBytesMax  = 16 << 20
	queryMemoryMax = 64 << 20
	queryValueMax  = 16 << 20
	// queryWALMax is how large the WAL may grow while a query reads, in bytes.
	queryWALMax = 256 << 20
	// queryGrace is how long after its time a query may take to notice; then what it reads
	// from is taken away.
	queryGrace = 250 * time.Millisecond
	// queryTurnWithin is how long a query waits for the one before it.
	queryTurnWithin = 2 * time.Second
)

// A QueryError is one that the query, or its limits, are the cause of.
type QueryError struct{ error }

// Unwrap implements errors.Unwrap.
func (e QueryError) Unwrap() error { return e.error }

// ErrQueryBusy says that another query is running.
var ErrQueryBusy = errors.New("another query is running: there is one at a time")

// errQueryTime is why a query was ended.
var errQueryTime = errors.New("its time was over")

// QueryLimits bound a query; zero values stand for the defaults.
type QueryLimits struct {
	Within time.Duration
	Rows   int
}

// check fills in the defaults.
func (l QueryLimits) check() (QueryLimits, error) {
	if l.Within == 0 {
		l.Within = QueryWithin
	}
	if l.Rows == 0 {
		l.Rows = QueryRows
	}
	switch {
	case l.Within < 0 || l.Within > QueryWithinMax:
		return l, QueryError{fmt.Errorf("the time of a query is from 1ms to %v, and %v is not", QueryWithinMax, l.Within)}
	case l.Rows < 0 || l.Rows > QueryRowsMax:
		return l, QueryError{fmt.Errorf("the rows of an answer are from 1 to %d, and %d are not", QueryRowsMax, l.Rows)}
	}
	return l, nil
}

// A QueryResult is the answer to a query.
type QueryResult struct {
	Columns []string
	// Rows have a nil, int64, float64, string or []byte for each column.
	Rows [][]any
	// More says that there are more rows than may be answered.
	More bool
	Took time.Duration
}

// Live has the rows of the views of what is in memory alone, in the order of their columns:
// texts, integers, times and bools. They are called by the goroutine of the query, once in each.
type Live struct {
	Clients, Drops func(context.Context) ([]LiveRow, error)
}

// A LiveRow returns what it has in a column.
type LiveRow func(column int) any

// queries is what DB.Query has.
type queries struct {
	turn chan struct{} // has one element, which who makes a query takes
	live Live
}

func newQueries() queries {
	q := queries{turn: make(chan struct{}, 1)}
	q.turn <- struct{}{}
	return q
}

// ShowLive says where the views find what is in memory. It is called before the first Query.
func (db *DB) ShowLive(l Live) { db.queries.live = l }

// Query answers one SELECT on the views. It reads what is committed and does not hold up who
// writes. What is wrong with the query is a QueryError. Any goroutine may call it, one is
// answered at a time.
func (db *DB) Query(ctx context.Context, sql string, l QueryLimits) (*QueryResult, error) {
	l, err := l.check()
	if err != nil {
		return nil, err
	}
	select {
	case <-db.queries.turn:
	case <-time.After(queryTurnWithin):
		return nil, ErrQueryBusy
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ctx, stop := context.WithCancelCause(ctx)
	snap, err := db.beginSnapshot(queryWALMax, stop)
	if err != nil {
		stop(nil)
		db.queries.turn <- struct{}{}
		return nil, err
	}
	r := newReading(ctx, snap.c, snap.end, db.Stats)
	r.live, r.running = db.queries.live, true
	return runQuery(stop, r, sql, l, func() { db.queries.turn <- struct{}{} })
}

// outOfMemory is what go-sqlite3 panics with where SQLite has no memory for an argument or a
// result.
const outOfMemory = "sqlite3: out of memory"

// runQuery answers a query and ends r, in time whatever the query does. It calls stop, and
// done when nothing of the query is left.
func runQuery(stop context.CancelCauseFunc, r *reading, sql string, l QueryLimits, done func()) (*QueryResult, error) {
	type answer struct {
		result   *QueryResult
		err      error
		panicked any
	}
	ctx, answered := r.ctx, make(chan answer, 1)
	began := time.Now()
	over := time.AfterFunc(l.Within, func() { stop(errQueryTime) })
	go func() {
		defer done()
		var a answer
		defer func() {
			if a.panicked = recover(); a.panicked != nil && fmt.Sprint(a.panicked) == outOfMemory {
				a.err, a.panicked = sqlite3.NOMEM, nil
			}
			over.Stop()
			r.finish()
			answered <- a
			stop(nil)
		}()
		a.result, a.err = answerQuery(r, sql, l)
	}()
	var a answer
	select {
	case a = <-answered:
	case <-ctx.Done():
		select {
		case a = <-answered:
		case <-time.After(queryGrace):
			r.finish() // it is in the middle of one long step, which fails when it reads again
			a.err = context.Cause(ctx)
		}
	}
	if a.panicked != nil {
		panic(a.panicked)
	}
	if a.err != nil {
		return nil, queryError(ctx, a.err, r.failed(), l, time.Since(began))
	}
	a.result.Took = time.Since(began)
	return a.result, nil
}

// queryError says what went wrong; readErr is of reading the database, if that failed.
func queryError(ctx context.Context, err, readErr error, l QueryLimits, took time.Duration) error {
	cause := context.Cause(ctx)
	switch {
	case errors.Is(cause, errQueryTime):
		return QueryError{fmt.Errorf("the query took longer than %v and was ended: ask for less, or for more time (at most %v)", l.Within, QueryWithinMax)}
	case errors.Is(cause, errWALBound), errors.Is(cause, errClosed):
		return QueryError{fmt.Errorf("the query was ended after %v: %w", took.Round(time.Millisecond), cause)}
	case cause != nil && ctx.Err() != nil && errors.Is(err, sqlite3.INTERRUPT):
		return cause
	case readErr != nil:
		return fmt.Errorf("reading the database: %w", ifDamage(readErr))
	case errors.Is(err, sqlite3.NOMEM):
		return QueryError{fmt.Errorf("the query needs more than %d MiB of memory: sort, group or join less", queryMemoryMax>>20)}
	case errors.Is(err, sqlite3.TOOBIG):
		return QueryError{fmt.Errorf("a value, or the query, is too large: %w", err)}
	case errors.As(err, new(*sqlite3.Error)):
		return QueryError{errors.New(strings.TrimPrefix(err.Error(), "sqlite3: "))}
	}
	return err
}

// answerQuery runs a query on a connection that has nothing but the views.
func answerQuery(r *reading, sql string, l QueryLimits) (*QueryResult, error) {
	c, err := openViews(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }() // nothing is in there
	c.SetInterrupt(r.ctx)
	s, tail, err := c.Prepare(sql)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, QueryError{errors.New("there is no statement")}
	}
	defer func() { _ = s.Close() }() // its error is that of Step
	if rest, _, err := c.Prepare(tail); err != nil || rest != nil {
		if rest != nil {
			_ = rest.Close() // never run
		}
		return nil, QueryError{errors.New("there is more than one statement")}
	}
	if !s.ReadOnly() || s.ColumnCount() == 0 {
		return nil, QueryError{errors.New("only SELECT is allowed")}
	}
	result := &QueryResult{Columns: make([]string, s.ColumnCount()), Rows: [][]any{}}
	for i := range result.Columns {
		result.Columns[i] = s.ColumnName(i)
	}
	bytes := 0
	for s.Step() {
		row := make([]any, len(result.Columns))
		for i := range row {
			row[i] = columnOf(s, i, &bytes)
		}
		if len(result.Rows) == l.Rows || bytes > QueryBytesMax {
			result.More = true
			return result, nil
		}
		result.Rows = append(result.Rows, row)
	}
	return result, s.Err()
}

// valueBytes is about what a value takes beside its text.
const valueBytes = 24

// columnOf copies a value, and adds what it takes to bytes.
func columnOf(s *sqlite3.Stmt, i int, bytes *int) any {
	*bytes += valueBytes
	switch s.ColumnType(i) {
	case sqlite3.INTEGER:
		return s.ColumnInt64(i)
	case sqlite3.FLOAT:
		return s.ColumnFloat(i)
	case sqlite3.TEXT:
		text := s.ColumnText(i)
		*bytes += len(text)
		return text
	case sqlite3.BLOB:
		blob := s.ColumnBlob(i, nil)
		*bytes += len(blob)
		return blob
	}
	return nil
}
