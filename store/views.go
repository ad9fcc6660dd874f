package store

import (
	"strings"
)

// ViewVersion is that of the views as a whole. Columns may be added without another one;
// none is taken away or changes what it means.
const ViewVersion = 1

// Types of columns. Times are texts as SQLite's datetime() makes them, in UTC and with
// milliseconds: they can be compared with datetime('now', '-1 hour').
const (
	textColumn = "TEXT"
	intColumn  = "INTEGER"
	blobColumn = "BLOB"
)

// A View is what a query can read as a table.
type View struct {
	Name    string
	About   string
	Columns []ViewColumn
}

// A ViewColumn is a column of a View. A value that there is none of is NULL.
type ViewColumn struct{ Name, Type, About string }

// Views returns all, in order of their names.
func Views() []View {
	all := make([]View, len(views))
	for i := range views {
		all[i] = views[i].View
	}
	return all
}

// A view is a View and where its rows come from.
type view struct {
	View
	// key is the column that rows are found by quickly; -1: none.
	key int
	// each is about how many rows have the same value there, for SQLite to choose an order.
	each int64
	rows func(r *reading, key *string) rows
}

var views = []view{
	{View{"clients", "Clients that are known to the running broker, connected or not. Empty if none runs.", []ViewColumn{
		{"client", textColumn, "Client Identifier"},
		{"user", textColumn, "who it is, or whose its session is"},
		{"connected", intColumn, "1 or 0"},
		{"address", textColumn, "where it is"},
		{"listener", textColumn, "name of the listener that it came in by"},
		{"protocol", textColumn, "3.1, 3.1.1 or 5.0"},
		{"connected_at", textColumn, "time"},
		{"disconnected_at", textColumn, "time"},
		{"keep_alive", intColumn, "seconds"},
		{"durable", intColumn, "1: its session outlives the connection"},
		{"subscriptions", intColumn, "how many"},
		{"queued", intColumn, "messages that wait for it"},
		{"queued_bytes", intColumn, ""},
		{"in_flight", intColumn, "messages that were sent and are not acknowledged"},
		{"dropped", intColumn, "messages since the start of the broker"},
		{"messages_in", intColumn, "PUBLISH packets on this connection"},
		{"messages_out", intColumn, "PUBLISH packets on this connection"},
		{"bytes_in", intColumn, ""},
		{"bytes_out", intColumn, ""},
		{"has_will", intColumn, "1 or 0"},
	}}, 0, 1, (*reading).clients},
	{View{"drops", "The last messages that did not reach a client of the running broker. Empty if none runs.", []ViewColumn{
		{"at", textColumn, "time"},
		{"client", textColumn, ""},
		{"topic", textColumn, ""},
		{"qos", intColumn, ""},
		{"bytes", intColumn, "of the payload"},
		{"reason", textColumn, "as in promptmq_messages_dropped_total"},
	}}, -1, 1, (*reading).drops},
	{View{"queued", "Messages that wait for sessions, as they are on disk.", []ViewColumn{
		{"client", textColumn, ""},
		{"position", intColumn, "grows within a session"},
		{"state", textColumn, "waiting, sent (perhaps), or received: PUBREC has come"},
		{"topic", textColumn, ""},
		{"qos", intColumn, ""},
		{"bytes", intColumn, "of the payload"},
		{"queued_at", textColumn, "time"},
		{"expires_at", textColumn, "time"},
		{"share", textColumn, "the Shared Subscription that it came by"},
		{"payload", blobColumn, ""},
	}}, 0, 100, (*reading).queued},
	{View{"retained", "Retained messages.", []ViewColumn{
		{"topic", textColumn, ""},
		{"qos", intColumn, ""},
		{"bytes", intColumn, "of the payload"},
		{"user", textColumn, "who published it"},
		{"expires_at", textColumn, "time"},
		{"payload", blobColumn, ""},
	}}, 0, 1, (*reading).retained},
	{View{"sessions", "Sessions that are on disk: those that outlive their connections.", []ViewColumn{
		{"client", textColumn, ""},
		{"user", textColumn, "whose it is"},
		{"protocol", textColumn, "3.1, 3.1.1 or 5.0"},
		{"connected", intColumn, "1: a connection was attached when it was last written"},
		{"expiry_seconds", intColumn, "Session Expiry Interval; NULL: never"},
		{"expires_at", textColumn, "time; NULL: never, or connected"},
		{"subscriptions", intColumn, "how many"},
		{"queued", intColumn, "messages; reads the whole queue"},
		{"queued_bytes", intColumn, "about"},
		{"will_topic", textColumn, ""},
	}}, 0, 1, (*reading).sessions},
	{View{"store", "One row about the database.", []ViewColumn{
		{"view_version", intColumn, "of these views"},
		{"schema_version", intColumn, "of the tables"},
		{"running", intColumn, "1: a broker runs on it"},
		{"file_bytes", intColumn, ""},
		{"wal_bytes", intColumn, ""},
		{"page_bytes", intColumn, ""},
		{"pages", intColumn, ""},
		{"free_pages", intColumn, ""},
		{"commits", intColumn, "since the start of the broker"},
		{"rows_written", intColumn, "since the start of the broker"},
		{"sessions", intColumn, "how many"},
		{"subscriptions", intColumn, "how many"},
		{"retained", intColumn, "how many"},
		{"users", intColumn, "how many"},
		{"rules", intColumn, "how many"},
	}}, -1, 1, (*reading).store},
	{View{"subscriptions", "Subscriptions of sessions that are on disk.", []ViewColumn{
		{"client", textColumn, ""},
		{"filter", textColumn, "Topic Filter, with $share/ if it is shared"},
		{"share", textColumn, "name of the Shared Subscription"},
		{"qos", intColumn, ""},
		{"no_local", intColumn, "1 or 0"},
		{"retain_as_published", intColumn, "1 or 0"},
		{"retain_handling", intColumn, ""},
		{"identifier", intColumn, "Subscription Identifier"},
	}}, 0, 10, (*reading).subscriptions},
	{View{"users", "Users of the store. What their passwords are proved by is not shown.", []ViewColumn{
		{"name", textColumn, ""},
		{"groups", textColumn, "with commas in between"},
		{"disabled", intColumn, "1 or 0"},
		{"scram", intColumn, "1: it can log in with SCRAM"},
		{"changed_at", textColumn, "time"},
		{"role", textColumn, "what it may do with the broker: admin or viewer"},
	}}, -1, 1, (*reading).users},
}

// viewNamed returns a view; nil: there is none. As SQLite does, it takes letters of either case.
func viewNamed(name string) *view {
	for i := range views {
		if strings.EqualFold(views[i].Name, name) {
			return &views[i]
		}
	}
	return nil
}
