package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// awaitTurn waits until a query is answered again.
func awaitTurn(t *testing.T, db *DB, after string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		_, err := db.Query(t.Context(), "SELECT 1", QueryLimits{})
		if err == nil {
			return
		}
		if !errors.Is(err, ErrQueryBusy) || time.Now().After(deadline) {
			t.Fatalf("after %.120s: %v", after, err)
		}
	}
}

// TestQueryFunctionsEnd: no function that a query may use goes on for much longer than it has,
// however long its arguments are: the next query has its turn.
func TestQueryFunctionsEnd(t *testing.T) {
	t.Parallel()
	db := queryStore(t)
	const text, other = "printf('%.*c', 1000000, '!')", "printf('%.*c', 1000000, 'x') || '!'"
	var queries []string
	for name := range queryFunctions {
		if strings.HasPrefix(name, "-") {
			queries = append(queries, fmt.Sprintf("SELECT (%s) %s (%s)", text, name, other))
			continue
		}
		for _, args := range []string{text, text + ", " + other, strings.Join([]string{text, other, text}, ", ")} {
			queries = append(queries, fmt.Sprintf("SELECT length(%s(%s))", name, args))
		}
	}
	for _, sql := range queries {
		_, err := db.Query(t.Context(), sql, QueryLimits{Within: QueryWithinMax})
		if err != nil && !errors.As(err, new(QueryError)) {
			t.Errorf("%s: %v", sql, err)
		}
		awaitTurn(t, db, sql)
	}
	for _, sql := range []string{
		"SELECT unhex(printf('%.*c', 8000000, '!'), printf('%.*c', 8000000, 'x') || '!') IS NULL",
		"SELECT printf('%.*c', 16000000, 'a') LIKE '%' || printf('%.*c', 190, 'a') || 'b%'",
		"SELECT printf('%.*c', 16000000, 'a') LIKE '%' || printf('%.*c', 190, 'a') || 'b%' ESCAPE 'c'",
		"SELECT printf('%.*c', 16000000, 'a') GLOB '*' || printf('%.*c', 190, 'a') || 'b*'",
	} {
		if _, err := db.Query(t.Context(), sql, QueryLimits{Within: 300 * time.Millisecond}); !errors.As(err, new(QueryError)) {
			t.Errorf("%s: %v", sql, err)
		}
		awaitTurn(t, db, sql)
	}
}

// TestMatchEnds: LIKE and GLOB look at the time while they compare.
func TestMatchEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	r := &reading{ctx: ctx}
	text := []byte(strings.Repeat("a", 100_000))
	parts, _ := likeParts("%"+strings.Repeat("a", 100)+"b%", "")
	if matches, err := r.matches(text, parts); matches || err != nil {
		t.Errorf("%v, %v", matches, err)
	}
	cancel()
	if _, err := r.matches(text, parts); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestMatch: LIKE and GLOB are as SQLite's own.
func TestMatch(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	word := func(letters string, most int) string {
		runes, b := []rune(letters), strings.Builder{}
		for range rnd.IntN(most + 1) {
			b.WriteRune(runes[rnd.IntN(len(runes))])
		}
		return b.String()
	}
	answer := func(c *sqlite3.Conn, sql string) string {
		s, _, err := c.Prepare(sql)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		s.Step()
		return s.ColumnText(0) + fmt.Sprint(s.Err())
	}
	plain, err := sqlite3.Open(":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plain.Close() }()
	confined, err := openViews(&reading{ctx: t.Context()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = confined.Close() }()
	tests := []string{"'a' LIKE NULL", "NULL GLOB 'a'", "x'61' LIKE 'a'", "'a' LIKE x'61'", "5 LIKE 5", "5.5 GLOB '5*'"}
	for range 2_000 {
		switch text := word("aAbÄä-]^\\", 6); rnd.IntN(3) {
		case 0:
			tests = append(tests, fmt.Sprintf("'%s' LIKE '%s'", text, word("aABä%_\\", 6)))
		case 1:
			tests = append(tests, fmt.Sprintf("'%s' LIKE '%s' ESCAPE '\\'", text, word("aBä%_\\", 6)))
		default:
			tests = append(tests, fmt.Sprintf("'%s' GLOB '%s'", text, word("aAbä*?[]^-", 8)))
		}
	}
	for _, sql := range tests {
		if own, theirs := answer(confined, "SELECT "+sql), answer(plain, "SELECT "+sql); own != theirs {
			t.Errorf("%s: %s, of SQLite: %s", sql, own, theirs)
		}
	}
}
