package store

import (
	"maps"
	"slices"

	"github.com/ncruces/go-sqlite3"
)

// scanSubscriptions reads the subscriptions from the first on, from the last on,
// and those of each Session: what lies behind a place that cannot be read is
// found one way or another.
func (s *salvager) scanSubscriptions() error {
	s.tables = append(s.tables, SalvagedTable{Name: "subscription"})
	t := &s.tables[len(s.tables)-1]
	if s.from == nil {
		t.Unreadable++
		return nil
	}
	columns := "SELECT session, filter, options, sub_id, " + s.sumOf("subscription", "7, session, filter, options, sub_id") + " FROM subscription "
	whole, err := s.readSubscriptions(t, columns+"ORDER BY session, filter")
	if whole || err != nil {
		return err
	}
	t.Unreadable++
	if _, err := s.readSubscriptions(t, columns+"ORDER BY session DESC, filter DESC"); err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(s.sessions)) {
		for _, order := range []string{"", " DESC"} {
			if _, err := s.readSubscriptions(t, columns+"WHERE session = ?1 ORDER BY filter"+order, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// readSubscriptions takes what a query gives and reports whether it came to its end.
func (s *salvager) readSubscriptions(t *SalvagedTable, sql string, args ...any) (whole bool, err error) {
	rows, _, err := s.from.Prepare(sql)
	if err != nil {
		return false, nil
	}
	defer func() { _ = rows.Close() }()
	if err := bind(rows, args); err != nil {
		return false, err
	}
	for rows.Step() {
		id, filter := rows.ColumnInt64(0), string(rows.ColumnRawBlob(1))
		if s.filters[id][filter] {
			continue
		}
		if s.filters[id] == nil {
			s.filters[id] = make(map[string]bool)
		}
		s.filters[id][filter] = true
		ok, err := s.takeSubscription(rows, id, filter)
		if err != nil {
			return false, err
		}
		if ok {
			t.Recovered++
		} else {
			t.Lost++
		}
	}
	return rows.Reset() == nil, nil
}

func (s *salvager) takeSubscription(row *sqlite3.Stmt, id int64, filter string) (ok bool, err error) {
	options, subID, sum := row.ColumnInt64(2), row.ColumnInt64(3), row.ColumnInt64(4)
	if !s.owned(id) || sum != subscriptionSum(id, filter, options, subID) {
		return false, nil
	}
	return true, s.insert("INSERT INTO subscription VALUES (?1, ?2, ?3, ?4, ?5)", id, []byte(filter), options, subID, sum)
}
