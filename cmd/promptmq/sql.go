package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/store"
	"github.com/x0a1b/promptmq/terminal"
)

type sqlCommand struct {
	place
	Query   string        `arg:"" optional:"" help:"One SELECT on the views, which docs/sql.md and --views tell."`
	Views   bool          `help:"List the views and their columns."`
	Backup  string        `placeholder:"FILE" help:"Ask a backup, in place of the store of a broker."`
	JSON    bool          `xor:"form" help:"Write JSON: an object for each row, on a line."`
	CSV     bool          `xor:"form" help:"Write CSV, with the names of the columns first."`
	Timeout time.Duration `default:"5s" help:"When the query is ended, at most 30s."`
	MaxRows int           `default:"1000" help:"Most rows, at most 100,000."`
}

// Run implements the command.
func (c *sqlCommand) Run() error {
	if c.Views {
		return c.writeViews()
	}
	if err := c.here("sql --backup", true); c.Backup != "" && err != nil {
		return err
	}
	if c.MaxRows < 1 || c.MaxRows > store.QueryRowsMax {
		return admin.Refuse("--max-rows is from 1 to %s, and %d is not", inspect.CountText(store.QueryRowsMax), c.MaxRows)
	}
	if c.Timeout <= 0 || c.Timeout > store.QueryWithinMax {
		return admin.Refuse("--timeout is more than 0s and at most %v, and %v is not", store.QueryWithinMax, c.Timeout)
	}
	if c.Query == "" {
		return admin.Refuse("say what to SELECT, or --views")
	}
	rows, err := c.answer()
	if err != nil {
		return err
	}
	switch {
	case c.JSON:
		err = writeRowsJSON(rows)
	case c.CSV:
		err = writeRowsCSV(rows)
	default:
		err = writeRowsTable(rows)
	}
	if err == nil && rows.More {
		fmt.Fprintf(os.Stderr, "promptmq: there are more rows than these %d: --max-rows\n", len(rows.Rows))
	}
	return err
}

// answeredRows is inspect.QueryRows, whose cells stay as they came: numbers are not rounded.
type answeredRows struct {
	Columns []string            `json:"columns"`
	Rows    [][]json.RawMessage `json:"rows"`
	More    bool                `json:"more"`
}

// answer asks the broker that runs, or else the files of one that does not.
func (c *sqlCommand) answer() (*answeredRows, error) {
	limits := store.QueryLimits{Within: c.Timeout, Rows: c.MaxRows}
	if c.Backup != "" {
		return ownAnswer(store.QueryFile(context.Background(), c.Backup, c.Query, limits))
	}
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		var rows *answeredRows
		err := c.ask(func(ctx context.Context, a *administered) (err error) {
			rows, err = admin.Call[answeredRows](ctx, a.Client, http.MethodPost, "/sql", &inspect.Query{
				Query: c.Query, TimeoutSeconds: c.Timeout.Seconds(), MaxRows: c.MaxRows,
			})
			return err
		})
		if !errors.Is(err, admin.ErrNobody) {
			return rows, err
		}
		dir, err := c.dir()
		if err != nil {
			return nil, err
		}
		if err := ownerAsks(dir); err != nil {
			return nil, err
		}
		rows, err = ownAnswer(store.QueryStopped(context.Background(), dir, c.Query, limits))
		if !errors.Is(err, store.ErrInUse) || time.Since(began) > answersWithin {
			return rows, err
		}
	}
}

// ownAnswer is what this process found, in the form that a broker answers.
func ownAnswer(found *store.QueryResult, err error) (*answeredRows, error) {
	if err != nil {
		return nil, queryProblem(hintSalvage(err))
	}
	text, err := json.Marshal(queryRows(found))
	if err != nil {
		return nil, err
	}
	rows := new(answeredRows)
	return rows, json.Unmarshal(text, rows)
}

// addQueries adds what answers queries on the store of a broker, and what is in its memory.
func addQueries(api *admin.API, db *store.DB, live store.Live) {
	db.ShowLive(live)
	type query struct{ Body inspect.Query }
	admin.Handle(api, admin.Operation{Method: http.MethodPost, Path: "/sql", Role: admin.Viewer, Group: "store",
		Summary:     "Answer one SELECT on the views of docs/sql.md.",
		Description: "It changes nothing and holds up nobody who writes. One query is answered at a time.",
		Refused:     []int{http.StatusServiceUnavailable}},
		func(ctx context.Context, in *query) (*inspect.QueryRows, error) {
			within := time.Duration(in.Body.TimeoutSeconds * float64(time.Second))
			found, err := db.Query(ctx, in.Body.Query, store.QueryLimits{Within: within, Rows: in.Body.MaxRows})
			if err != nil {
				return nil, queryProblem(err)
			}
			return queryRows(found), nil
		})
}

// queryProblem says of an error whether the query is its cause.
func queryProblem(err error) error {
	switch {
	case errors.As(err, new(store.QueryError)):
		return admin.Refuse("%v", err)
	case errors.Is(err, store.ErrQueryBusy):
		return &admin.Error{Text: err.Error(), Status: http.StatusServiceUnavailable}
	}
	return err
}

func queryRows(found *store.QueryResult) *inspect.QueryRows {
	for _, row := range found.Rows {
		for i, cell := range row {
			row[i] = cellOf(cell)
		}
	}
	return &inspect.QueryRows{Columns: found.Columns, Rows: found.Rows, More: found.More, Took: inspect.Seconds(found.Took.Seconds())}
}

// cellOf is a value as JSON can have it.
func cellOf(v any) any {
	switch v := v.(type) {
	case []byte:
		return cellBytes{v}
	case string:
		if !utf8.ValidString(v) {
			return cellBytes{[]byte(v)}
		}
	case float64:
		switch {
		case math.IsInf(v, 1):
			return "Infinity"
		case math.IsInf(v, -1):
			return "-Infinity"
		case math.IsNaN(v):
			return nil
		}
	}
	return v
}

// A cellBytes is a cell that is no text.
type cellBytes struct {
	Base64 []byte `json:"base64"`
}

// cellText is a cell as people read it: NULL is empty, bytes are text if they can be, else
// in hexadecimal digits.
func cellText(cell json.RawMessage) string {
	switch cell[0] {
	case 'n':
		return ""
	case '"':
		var s string
		if json.Unmarshal(cell, &s) == nil {
			return s
		}
	case '{':
		var b cellBytes
		if json.Unmarshal(cell, &b) == nil {
			if isText(b.Base64) {
				return string(b.Base64)
			}
			return fmt.Sprintf("x'%x'", b.Base64)
		}
	}
	return string(cell)
}

func isText(b []byte) bool {
	return utf8.Valid(b) && !bytes.ContainsFunc(b, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r' })
}

func writeRowsTable(rows *answeredRows) error {
	t := terminal.Table{}
	for _, name := range rows.Columns {
		t.Columns = append(t.Columns, terminal.Column{Title: strings.ToUpper(name), Least: 8})
	}
	for _, row := range rows.Rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = cellText(cell)
		}
		t.Add(cells...)
	}
	columns, _ := terminal.Size(os.Stdout)
	return t.Write(os.Stdout, columns)
}

func writeRowsCSV(rows *answeredRows) error {
	shown := func(s string) string { return s }
	if terminal.Is(os.Stdout) {
		shown = terminal.Escape
	}
	w := csv.NewWriter(os.Stdout)
	cells := make([]string, len(rows.Columns))
	for i, name := range rows.Columns {
		cells[i] = shown(name)
	}
	_ = w.Write(cells) // the error stays
	for _, row := range rows.Rows {
		for i, cell := range row {
			cells[i] = shown(cellText(cell))
		}
		_ = w.Write(cells)
	}
	w.Flush()
	return w.Error()
}

// writeRowsJSON writes an object for each row. Of two columns of one name the last is told.
func writeRowsJSON(rows *answeredRows) error {
	onTerminal := terminal.Is(os.Stdout)
	var line bytes.Buffer
	for _, row := range rows.Rows {
		line.Reset()
		line.WriteByte('{')
		for i, cell := range row {
			name, err := json.Marshal(rows.Columns[i])
			if err != nil {
				return err
			}
			if i > 0 {
				line.WriteByte(',')
			}
			line.Write(name)
			line.WriteByte(':')
			line.Write(cell)
		}
		line.WriteString("}\n")
		text := line.String()
		if onTerminal {
			text = plainJSON(text)
		}
		if _, err := io.WriteString(os.Stdout, text); err != nil {
			return err
		}
	}
	return nil
}

// plainJSON is a line of JSON in which all that a terminal might obey is written as JSON can
// write every character. The others that are not ASCII stay.
func plainJSON(line string) string {
	var b strings.Builder
	for _, r := range line {
		switch {
		case r == '\n' || unicode.IsPrint(r) && !unicode.Is(unicode.M, r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

func (c *sqlCommand) writeViews() error {
	if c.JSON {
		return writeJSON(os.Stdout, store.Views())
	}
	t := terminal.Table{Columns: []terminal.Column{{Title: "VIEW"}, {Title: "COLUMN"}, {Title: "TYPE"}, {Title: "WHAT", Least: 20}}}
	for _, v := range store.Views() {
		t.Add(v.Name, "", "", v.About)
		for _, column := range v.Columns {
			t.Add("", column.Name, column.Type, column.About)
		}
	}
	columns, _ := terminal.Size(os.Stdout)
	return t.Write(os.Stdout, columns)
}
