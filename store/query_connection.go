package store

import (
	"errors"
	"strings"

	"github.com/ncruces/go-sqlite3"
)

// queryFunctions are those that a query may use: they take no longer than what they are
// given is long, and see nothing but that.
var queryFunctions = wordSet(`-> ->> abs avg ceil ceiling char coalesce concat concat_ws count cume_dist current_date current_time
	current_timestamp date datetime dense_rank exp first_value floor format glob group_concat hex ifnull iif instr json json_array
	json_array_length json_extract json_group_array json_group_object json_object json_quote json_type json_valid julianday lag
	last_value lead length like likelihood likely ln log log10 log2 lower ltrim max min mod nth_value ntile nullif octet_length
	percent_rank pow power printf quote random rank replace round row_number rtrim sign sqlite_version sqrt strftime
	string_agg substr substring sum time timediff total trim trunc typeof unhex unicode unixepoch unlikely upper`)

// queryTables are those beside the views.
var queryTables = wordSet("json_each json_tree generate_series")

func wordSet(words string) map[string]bool {
	set := make(map[string]bool)
	for _, w := range strings.Fields(words) {
		set[w] = true
	}
	return set
}

// openViews opens a connection whose database is empty, but for the views. Nothing of the
// store can be reached by it, for what the views read is on another connection.
func openViews(r *reading) (*sqlite3.Conn, error) {
	c, err := sqlite3.Open(":memory:")
	if err != nil {
		return nil, err
	}
	if err := confine(c, r); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func confine(c *sqlite3.Conn, r *reading) error {
	if err := c.Exec("PRAGMA temp_store = MEMORY; PRAGMA cache_size = -2000; SELECT 1 FROM json_each('[]'), json_tree('[]'), generate_series(1, 1)"); err != nil {
		return err
	}
	for i := range views {
		if err := addView(c, &views[i], r); err != nil {
			return err
		}
	}
	if err := addFunctions(c, r); err != nil {
		return err
	}
	for id, most := range map[sqlite3.LimitCategory]int{
		sqlite3.LIMIT_LENGTH: queryValueMax, sqlite3.LIMIT_SQL_LENGTH: 64 << 10, sqlite3.LIMIT_COLUMN: 500, sqlite3.LIMIT_EXPR_DEPTH: 200,
		sqlite3.LIMIT_COMPOUND_SELECT: 50, sqlite3.LIMIT_VDBE_OP: 100_000, sqlite3.LIMIT_FUNCTION_ARG: 100, sqlite3.LIMIT_ATTACHED: 0,
		sqlite3.LIMIT_VARIABLE_NUMBER: 1, sqlite3.LIMIT_TRIGGER_DEPTH: 1, sqlite3.LIMIT_WORKER_THREADS: 0,
	} {
		c.Limit(id, most)
	}
	if _, err := c.Config(sqlite3.DBCONFIG_DEFENSIVE, true); err != nil {
		return err
	}
	c.HardHeapLimit(queryMemoryMax)
	return c.SetAuthorizer(authorize)
}

// authorize allows SELECT on the views, and nothing else.
func authorize(action sqlite3.AuthorizerActionCode, third, fourth, _, _ string) sqlite3.AuthorizerReturnCode {
	allowed := false
	switch action {
	case sqlite3.AUTH_SELECT, sqlite3.AUTH_RECURSIVE:
		allowed = true
	case sqlite3.AUTH_READ:
		table := strings.ToLower(third)
		allowed = viewNamed(table) != nil || queryTables[table]
		if fourth == "" { // rows are counted, perhaps of a common table expression
			allowed = !strings.HasPrefix(table, "sqlite_") && !strings.HasPrefix(table, "pragma_")
		}
	case sqlite3.AUTH_FUNCTION:
		allowed = queryFunctions[strings.ToLower(fourth)]
	}
	if allowed {
		return sqlite3.AUTH_OK
	}
	return sqlite3.AUTH_DENY
}
