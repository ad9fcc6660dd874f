package store

import (
	"github.com/ncruces/go-sqlite3"
)

func (r *reading) retained(topic *string) rows {
	sql, args := "SELECT topic, version, data FROM retained", []any(nil)
	if topic != nil {
		sql, args = sql+" WHERE topic = ?1", []any{[]byte(*topic)}
	}
	return r.each(sql, args, func(s *sqlite3.Stmt) (row, error) {
		topic := string(s.ColumnRawBlob(0))
		w, err := unpackRetained(s.ColumnRawBlob(2), topic, uint64(s.ColumnInt64(1)))
		if err != nil {
			return nil, err
		}
		return func(i int) any {
			switch i {
			case 0:
				return topic
			case 1:
				return int(w.Message.QoS)
			case 2:
				return len(w.Message.Payload)
			case 3:
				return orNil(w.UserName)
			case 4:
				return w.Message.ExpiresAt
			}
			return w.Message.Payload
		}, nil
	})
}

// users selects no hash, so that no query can have one.
func (r *reading) users(*string) rows {
	return r.each("SELECT name, groups, disabled, scram <> x'', changed, role FROM user ORDER BY name", nil, func(s *sqlite3.Stmt) (row, error) {
		name, groups, role := string(s.ColumnRawBlob(0)), string(s.ColumnRawBlob(1)), string(s.ColumnRawBlob(5))
		disabled, scram, changed := s.ColumnInt64(2), s.ColumnInt64(3), timeOf(s.ColumnInt64(4))
		return func(i int) any {
			switch i {
			case 0:
				return name
			case 1:
				return orNil(groups)
			case 2:
				return disabled
			case 3:
				return scram
			case 4:
				return changed
			}
			return orNil(role)
		}, nil
	})
}

func (r *reading) store(*string) rows {
	counted := map[int]string{
		1: "PRAGMA user_version", 5: "PRAGMA page_size", 6: "PRAGMA page_count", 7: "PRAGMA freelist_count",
		10: "SELECT count(*) FROM session" + liveSessions, 11: "SELECT count(*) FROM subscription",
		12: "SELECT count(*) FROM retained", 13: "SELECT count(*) FROM user", 14: "SELECT count(*) FROM rule",
	}
	stats := r.stats()
	return func(yield func(row, error) bool) {
		yield(func(i int) any {
			switch i {
			case 0:
				return ViewVersion
			case 2:
				return r.running
			case 3:
				return stats.FileBytes
			case 4:
				return stats.WALBytes
			case 8, 9:
				if !r.running {
					return nil
				}
				if i == 8 {
					return stats.Commits
				}
				return stats.RowsWritten
			}
			return r.number(counted[i])
		}, nil)
	}
}
