package store

import (
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// rows are those of a view.
type rows = iter.Seq2[row, error]

// A row returns the value of a column, counted from 0: nil, a text, an integer, a bool, a
// time, bytes, or an error.
type row func(column int) any

// A viewTable is a view as a virtual table of SQLite.
type viewTable struct {
	*view
	r *reading
}

// addView adds a view to a connection.
func addView(c *sqlite3.Conn, v *view, r *reading) error {
	columns := make([]string, len(v.Columns))
	for i, column := range v.Columns {
		columns[i] = column.Name + " " + column.Type
	}
	declared := "CREATE TABLE x (" + strings.Join(columns, ", ") + ")"
	//lint:ignore SA1019 the method that is to be used needs Go 1.27
	return sqlite3.CreateModule(c, v.Name, nil, func(c *sqlite3.Conn, _, _, _ string, _ ...string) (*viewTable, error) {
		return &viewTable{v, r}, c.DeclareVTab(declared)
	})
}

// What it costs to read views, for SQLite to choose an order: that many values of a key, each of
// them to find, and each row to read. A join begins with the view of fewer rows.
const (
	keysGuess = 100_000
	findCost  = 100
	rowCost   = 10
)

// BestIndex implements sqlite3.VTab.
func (t *viewTable) BestIndex(index *sqlite3.IndexInfo) error {
	index.EstimatedCost, index.EstimatedRows = float64(keysGuess*rowCost*t.each), keysGuess*t.each
	for i, c := range index.Constraint {
		if c.Usable && c.Column == t.key && c.Op == sqlite3.INDEX_CONSTRAINT_EQ {
			index.ConstraintUsage[i] = sqlite3.IndexConstraintUsage{ArgvIndex: 1} // SQLite compares again
			index.IdxNum, index.EstimatedCost, index.EstimatedRows = 1, float64(findCost+rowCost*t.each), t.each
			return nil
		}
	}
	return nil
}

// Open implements sqlite3.VTab.
func (t *viewTable) Open() (sqlite3.VTabCursor, error) { return &viewCursor{t: t}, nil }

// A viewCursor is where a scan of a view is.
type viewCursor struct {
	t    *viewTable
	next func() (row, error, bool)
	stop func()
	row  row // nil: the end
	n    int64
}

// Filter implements sqlite3.VTabCursor.
func (c *viewCursor) Filter(by int, _ string, args ...sqlite3.Value) error {
	_ = c.Close()
	var key *string
	if by == 1 {
		text := args[0].Text()
		key = &text
	}
	c.next, c.stop = iter.Pull2(c.t.rows(c.t.r, key))
	return c.Next()
}

// Next implements sqlite3.VTabCursor.
func (c *viewCursor) Next() (err error) {
	if err := c.t.r.ctx.Err(); err != nil {
		return sqlite3.INTERRUPT
	}
	if c.n++; c.n%yieldEvery == 0 {
		c.t.r.yield()
	}
	if c.row, err, _ = c.next(); err != nil {
		c.t.r.fail(err)
	}
	return err
}

// EOF implements sqlite3.VTabCursor.
func (c *viewCursor) EOF() bool { return c.row == nil }

// RowID implements sqlite3.VTabCursor.
func (c *viewCursor) RowID() (int64, error) { return c.n, nil }

// Close implements io.Closer.
func (c *viewCursor) Close() error {
	if c.stop != nil {
		c.stop()
	}
	return nil
}

// Column implements sqlite3.VTabCursor.
func (c *viewCursor) Column(ctx sqlite3.Context, n int) error {
	switch v := c.row(n).(type) {
	case nil:
	case string:
		ctx.ResultText(v)
	case []byte:
		ctx.ResultBlob(v)
	case bool:
		ctx.ResultInt64(boolInt(v))
	case int:
		ctx.ResultInt64(int64(v))
	case int64:
		ctx.ResultInt64(v)
	case uint64:
		ctx.ResultInt64(int64(v))
	case time.Time:
		if !v.IsZero() {
			ctx.ResultText(v.UTC().Format("2006-01-02 15:04:05.000"))
		}
	case error:
		c.t.r.fail(v)
		return v
	default:
		return fmt.Errorf("view %s: column %s is a %T", c.t.Name, c.t.Columns[n].Name, v)
	}
	return nil
}
