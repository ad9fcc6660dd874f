package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/terminal"
)

// partRows is how many rows of a list are asked for at a time: the most that the API gives.
const partRows = 1000

// A listing is what commands have in common that list something.
type listing struct {
	place
	Limit int  `default:"0" placeholder:"N" help:"Most rows. 0: all."`
	JSON  bool `help:"Write the JSON of the API."`
}

// Validate checks the flags.
func (l *listing) Validate() error {
	if l.Limit < 0 {
		return fmt.Errorf("--limit is 0 or more, not %d", l.Limit)
	}
	return nil
}

// rowsOf asks for one part of a list after the other until it has as many rows as limit; 0:
// all.
func rowsOf[T any](ctx context.Context, a *administered, path string, q url.Values, limit int) (*inspect.Page[T], error) {
	all := &inspect.Page[T]{Items: []T{}}
	for {
		n := partRows
		if limit > 0 {
			n = min(n, limit-len(all.Items))
		}
		q.Set("limit", strconv.Itoa(n))
		p, err := admin.Call[inspect.Page[T]](ctx, a.Client, http.MethodGet, path+"?"+q.Encode(), nil)
		if err != nil {
			return nil, err
		}
		all.Items, all.Next, all.Total = append(all.Items, p.Items...), p.Next, p.Total
		if p.Next == "" || limit > 0 && len(all.Items) >= limit {
			return all, nil
		}
		q.Set("cursor", p.Next)
	}
}

// list writes the rows of a list, as columns and cells of each, or as JSON.
func list[T any](l *listing, path string, q url.Values, columns []terminal.Column, cells func(*T) []string) error {
	return l.ask(func(ctx context.Context, a *administered) error {
		page, err := rowsOf[T](ctx, a, path, q, l.Limit)
		if err != nil {
			return err
		}
		if l.JSON {
			return writeJSON(os.Stdout, page)
		}
		if err := writeRows(columns, page.Items, cells); err != nil || page.Next == "" {
			return err
		}
		_, err = fmt.Printf("and more: these are %s of %s\n", inspect.CountText(len(page.Items)), totalText(page.Total))
		return err
	})
}

func totalText(n int) string {
	if n == 0 {
		return "a number that is not known"
	}
	return inspect.CountText(n)
}

// writeRows writes a table to standard output, as wide as the terminal if that is one.
func writeRows[T any](columns []terminal.Column, rows []T, cells func(*T) []string) error {
	t := terminal.Table{Columns: columns}
	for i := range rows {
		t.Add(cells(&rows[i])...)
	}
	width, _ := terminal.Size(os.Stdout)
	return t.Write(os.Stdout, width)
}

// query has those parameters that are said.
func query(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

// since is how long ago a time was, for a table.
func since(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return inspect.DurationText(time.Since(t))
}

// clock is a time for a table.
func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339)
}

// An age is a duration that may have days.
type age time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *age) UnmarshalText(text []byte) error {
	s := string(text)
	if days, found := strings.CutSuffix(s, "d"); found {
		n, err := strconv.ParseUint(days, 10, 16)
		*a = age(time.Duration(n) * 24 * time.Hour)
		if err == nil {
			return nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return fmt.Errorf("%q is no age: it is such as 30d, 12h or 90m", s)
	}
	*a = age(d)
	return nil
}

// escaped returns a text of a stranger as a line may have it.
func escaped(s string) string { return terminal.Escape(s) }
