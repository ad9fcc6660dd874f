package store

import (
	"errors"

	"github.com/ncruces/go-sqlite3"
)

// ErrDamaged says that something stored is not what was written. Every error
// about damage is one, by errors.Is; what is no damage (no permission, no space,
// a lock, a newer schema) is not.
var ErrDamaged = errors.New("a stored value is damaged")

// damaged marks err as damage.
func damaged(err error) error { return &damageError{err} }

type damageError struct{ err error }

func (d *damageError) Error() string        { return "damaged: " + d.err.Error() }
func (d *damageError) Unwrap() error        { return d.err }
func (d *damageError) Is(target error) bool { return target == ErrDamaged }

// ifDamage marks what SQLite itself calls damage.
func ifDamage(err error) error {
	for _, code := range []error{sqlite3.CORRUPT, sqlite3.NOTADB, sqlite3.IOERR_SHORT_READ} {
		if errors.Is(err, code) && !errors.Is(err, ErrDamaged) {
			return damaged(err)
		}
	}
	return err
}
