package store

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"
)

// TestHintWAL: where memory cannot be shared, the error says what can be done.
func TestHintWAL(t *testing.T) {
	db := &DB{o: Options{DataDir: "/data"}}
	for err, want := range map[error]bool{sqlite3.IOERR_SHMMAP: true, sqlite3.IOERR_SHMSIZE: true, sqlite3.IOERR_READ: false} {
		if got := db.hint(fmt.Errorf("open: %w", err)).Error(); strings.Contains(got, "journal-mode WAL needs: choose TRUNCATE") != want {
			t.Errorf("%v: %s", err, got)
		}
	}
}
