package store

import (
	"fmt"

	"github.com/ncruces/go-sqlite3"
)

// applicationID marks the file as ours: "PMQ1". PRAGMA application_id.
const applicationID = 0x504D5131

// migrations bring a database from the version that is their index to the next.
// PRAGMA user_version holds the version. They are only ever added to.
var migrations = []string{`
CREATE TABLE meta (
	key   TEXT PRIMARY KEY,
	value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Times are Unix milliseconds; 0: none.
CREATE TABLE session (
	id         INTEGER PRIMARY KEY,
	client_id  BLOB NOT NULL,
	user_name  BLOB NOT NULL,
	version    INTEGER NOT NULL,
	expiry     INTEGER NOT NULL,
	connected  INTEGER NOT NULL,
	expires_at INTEGER NOT NULL
) STRICT;

CREATE TABLE subscription (
	session INTEGER NOT NULL REFERENCES session (id),
	filter  BLOB NOT NULL,
	options INTEGER NOT NULL,
	sub_id  INTEGER NOT NULL,
	PRIMARY KEY (session, filter)
) STRICT, WITHOUT ROWID;

CREATE TABLE state (
	session INTEGER PRIMARY KEY REFERENCES session (id),
	data    BLOB NOT NULL
) STRICT;

CREATE TABLE will (
	session INTEGER PRIMARY KEY REFERENCES session (id),
	due_at  INTEGER NOT NULL,
	data    BLOB NOT NULL
) STRICT;

CREATE TABLE retained (
	topic   BLOB PRIMARY KEY,
	version INTEGER NOT NULL,
	data    BLOB NOT NULL
) STRICT;

CREATE TABLE run (
	id      INTEGER PRIMARY KEY,
	session INTEGER NOT NULL REFERENCES session (id),
	first   INTEGER NOT NULL,
	last    INTEGER NOT NULL,
	bytes   INTEGER NOT NULL,
	body    INTEGER,
	data    BLOB NOT NULL
) STRICT;
CREATE INDEX run_of_session ON run (session, first, last, bytes);

CREATE TABLE body (
	id   INTEGER PRIMARY KEY,
	data BLOB NOT NULL
) STRICT;
CREATE TABLE body_ref (
	id   INTEGER PRIMARY KEY,
	refs INTEGER NOT NULL
) STRICT;
`, `
-- sum is row_sum of the kind of row and its other columns.
ALTER TABLE meta ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
UPDATE meta SET sum = row_sum(8, key, value);
ALTER TABLE session ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
UPDATE session SET sum = row_sum(6, id, client_id, user_name, version, expiry, connected, expires_at);
ALTER TABLE subscription ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
UPDATE subscription SET sum = row_sum(7, session, filter, options, sub_id);

-- total is the sum of bytes over the Session's runs up to this one: what a queue
-- holds is the difference of two of them.
ALTER TABLE run ADD COLUMN total INTEGER NOT NULL DEFAULT 0;
UPDATE run SET total = sums.total
	FROM (SELECT id, sum(bytes) OVER (PARTITION BY session ORDER BY first) AS total FROM run) AS sums
	WHERE sums.id = run.id;
DROP INDEX run_of_session;
CREATE INDEX run_of_session ON run (session, first, last, bytes, total);
`,
	// The tables are the same; entries of a run may have the time when they were
	// queued, which programs before this version cannot read.
	"", `
-- The retained messages that a subscription has still to be sent: those with a
-- version above after and up to up_to, as long as they are retained.
CREATE TABLE owed (
	session INTEGER NOT NULL REFERENCES session (id),
	filter  BLOB NOT NULL,
	after   INTEGER NOT NULL,
	up_to   INTEGER NOT NULL,
	sum     INTEGER NOT NULL,
	UNIQUE (session, filter)
) STRICT;
`,
	`
-- Queues whose totals tell too much, for something was removed from among their
-- runs: what they hold is the sum of bytes. A start forgets those that are empty.
CREATE TABLE unsummed (session INTEGER PRIMARY KEY REFERENCES session (id)) STRICT;
`,
	// The tables are the same; a Session's State may have Packet Identifiers that do not
	// follow from the queue, which programs before this version would take for damage.
	"", `
-- Who may connect, and what for: each rule a line of text, from position 1 on. The rows
-- of meta count them, so that one that is lost is noticed.
CREATE TABLE user (
	name     BLOB PRIMARY KEY,
	hash     BLOB NOT NULL,
	scram    BLOB NOT NULL,
	groups   BLOB NOT NULL,
	disabled INTEGER NOT NULL,
	changed  INTEGER NOT NULL,
	sum      INTEGER NOT NULL
) STRICT;
CREATE TABLE rule (
	position INTEGER PRIMARY KEY,
	text     BLOB NOT NULL,
	sum      INTEGER NOT NULL
) STRICT;
INSERT INTO meta VALUES ('users', 0, row_sum(8, 'users', 0)), ('rules', 0, row_sum(8, 'rules', 0));

-- A Session belongs to the user that made it. Until now user_name was what CONNECT said and
-- nobody checked: those Sessions belong to nobody.
UPDATE session SET user_name = x'', sum = row_sum(6, id, client_id, x'', version, expiry, connected, expires_at)
	WHERE user_name <> x'' AND sum = row_sum(6, id, client_id, user_name, version, expiry, connected, expires_at);
`,
	// The tables are the same; a retained message may have its user behind it, which
	// programs before this version would take for damage.
	"", `
-- What a user may do with the broker itself; empty: nothing. sum has it if it is not empty.
ALTER TABLE user ADD COLUMN role BLOB NOT NULL DEFAULT x'';
`,
}

// sumsVersion is the version from which on rows have checksums; from owedVersion
// and unsummedVersion on there are tables of these names, from accessVersion on user
// and rule, from rolesVersion on users have roles.
const (
	sumsVersion     = 2
	owedVersion     = 4
	unsummedVersion = 5
	accessVersion   = 7
	rolesVersion    = 9
)

// rowSum gives migrations the SQL function row_sum(kind, column...).
func rowSum(ctx sqlite3.Context, args ...sqlite3.Value) {
	keys := make([]uint64, len(args))
	for i, a := range args {
		if a.Type() == sqlite3.INTEGER {
			keys[i] = uint64(a.Int64())
		} else {
			keys[i] = textKey(string(a.RawBlob()))
		}
	}
	ctx.ResultInt64(columnSum(keys...))
}

// versionsMax is beyond any version that this or a later program will have: more
// is damage.
const versionsMax = 1000

// tablesOurs is how many tables tablesOf knows a PromptMQ database by.
const tablesOurs = 4

// tables say what is in a database, whatever its header says that it is.
type tables struct {
	all, ours int64
	sums      bool // rows have checksums
	owed      bool // there is a table of this name
	unsummed  bool // there is a table of this name
	access    bool // there are the tables user and rule
	roles     bool // users have roles
}

func tablesOf(c *sqlite3.Conn) (t tables, err error) {
	if t.all, err = queryInt(c, "SELECT count(*) FROM sqlite_schema"); err != nil {
		return t, err
	}
	t.ours, err = queryInt(c, "SELECT count(*) FROM sqlite_schema WHERE name IN ('session', 'subscription', 'run', 'body_ref')")
	if err != nil {
		return t, err
	}
	sums, err := queryInt(c, "SELECT count(*) FROM pragma_table_info('meta') WHERE name = 'sum'")
	t.sums = sums > 0
	if err != nil {
		return t, err
	}
	owed, err := queryInt(c, "SELECT count(*) FROM sqlite_schema WHERE name = 'owed'")
	t.owed = owed > 0
	if err != nil {
		return t, err
	}
	unsummed, err := queryInt(c, "SELECT count(*) FROM sqlite_schema WHERE name = 'unsummed'")
	t.unsummed = unsummed > 0
	if err != nil {
		return t, err
	}
	access, err := queryInt(c, "SELECT count(*) FROM sqlite_schema WHERE name IN ('user', 'rule')")
	t.access = access == 2
	if err != nil {
		return t, err
	}
	roles, err := queryInt(c, "SELECT count(*) FROM pragma_table_info('user') WHERE name = 'role'")
	t.roles = roles > 0
	return t, err
}

// identify returns the schema version of a database that is ours, or empty. Any
// other, or one newer than this program, is an error; a header and tables that do
// not fit each other are damage.
func identify(c *sqlite3.Conn) (version int64, err error) {
	app, err := queryInt(c, "PRAGMA application_id")
	if err != nil {
		return 0, err
	}
	version, err = queryInt(c, "PRAGMA user_version")
	if err != nil {
		return 0, err
	}
	t, err := tablesOf(c)
	if err != nil {
		return 0, err
	}
	fresh := app == 0 && version == 0 && t.all == 0
	switch {
	case fresh:
	case app != applicationID && t.ours == tablesOurs:
		return 0, damaged(fmt.Errorf("the tables are PromptMQ's and application_id is %#x", app))
	case app != applicationID:
		return 0, fmt.Errorf("%w: application_id is %#x, expected %#x", ErrForeign, app, applicationID)
	case version < 1 || version > versionsMax:
		return 0, damaged(fmt.Errorf("the schema version is %d", version))
	case version > int64(len(migrations)):
		return 0, fmt.Errorf("the schema has version %d and this program knows up to %d: %w", version, len(migrations), ErrNewer)
	case t.ours != tablesOurs || t.sums != (version >= sumsVersion) || t.owed != (version >= owedVersion) ||
		t.unsummed != (version >= unsummedVersion) || t.access != (version >= accessVersion) || t.roles != (version >= rolesVersion):
		return 0, damaged(fmt.Errorf("the tables are not those of schema version %d", version))
	}
	return version, nil
}

// migrate creates the schema or brings it to the newest version.
func migrate(c *sqlite3.Conn) error {
	version, err := identify(c)
	if err != nil {
		return err
	}
	if version == int64(len(migrations)) {
		return nil
	}
	if err := c.CreateFunction("row_sum", -1, sqlite3.DETERMINISTIC, rowSum); err != nil {
		return err
	}
	for ; version < int64(len(migrations)); version++ {
		script := fmt.Sprintf("BEGIN IMMEDIATE; %s; PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
			migrations[version], applicationID, version+1)
		if err := c.Exec(script); err != nil {
			rollback(c)
			return fmt.Errorf("migrating the schema to version %d: %w", version+1, err)
		}
	}
	return nil
}

func rollback(c *sqlite3.Conn) {
	if !c.GetAutocommit() { // SQLITE_FULL and the like have rolled back already
		_ = c.Exec("ROLLBACK") // fails only if there is nothing to roll back
	}
}

func queryInt(c *sqlite3.Conn, sql string) (int64, error) {
	text, err := queryText(c, sql)
	if err != nil {
		return 0, err
	}
	var n int64
	if _, err := fmt.Sscan(text, &n); err != nil {
		return 0, fmt.Errorf("%s: %q is no number", sql, text)
	}
	return n, nil
}

// queryText returns the first column of the first row.
func queryText(c *sqlite3.Conn, sql string) (string, error) {
	s, _, err := c.Prepare(sql)
	if err != nil {
		return "", err
	}
	defer func() { _ = s.Close() }() // its error is that of Step
	if !s.Step() {
		if err := s.Err(); err != nil {
			return "", err
		}
		return "", fmt.Errorf("%s: no row", sql)
	}
	return s.ColumnText(0), nil
}
