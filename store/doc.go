// Package store keeps Sessions, their queues and the retained messages in one
// SQLite file, promptmq.db in the data directory.
//
// # Writing
//
// [DB.Apply] writes a [session.Batch] in one transaction on the one connection
// that writes and checkpoints. When it returns nil the batch survives a power
// cut with synchronous FULL; when it returns an error nothing of it is written
// and it may be applied again on the same connection.
//
// # Queues
//
// The entries that a transaction appends to one Session's queue are packed into
// one row, a run, or several if they are large. A message that several Sessions
// wait for is stored once, in a body row, and body_ref counts the runs that
// refer to it. Runs are appended in the order of writing and found by an index;
// a run is removed when all of it is below the Session's Floor, and a body row
// with the last run that refers to it. Queues stay on disk: [DB.Load] takes
// their extent from an index; [DB.Page] reads part of one on a second connection.
//
// # Damage
//
// Packed values carry a CRC-32C of themselves and of the columns that say whose
// they are, and rows without a packed value one of their columns, so a damaged
// or misplaced one is [ErrDamaged] and never a wrong message. [Open] checks files
// up to 128 MiB whole (PRAGMA integrity_check), up to 512 MiB without the contents
// of indexes (quick_check; with Options.Handed too), and only the size and the schema of larger ones. It refuses
// a file that is damaged, newer than this program or not a store, and leaves it as it
// is; it never starts empty in place of one. Only damage at the end of a WAL cannot be
// told from a power cut.
package store
