package broker_test

import "testing"

// rollbackModes are the settings without a WAL that keep the promise. DELETE with
// FULL does not: SQLite leaves the removal of the journal, which is the commit, to
// the file system. TestSimControlDisk has that.
var rollbackModes = []simConfig{
	{journal: "TRUNCATE", synchronous: "FULL"},
	{journal: "PERSIST", synchronous: "FULL"},
	{journal: "DELETE", synchronous: "EXTRA"},
	{journal: "TRUNCATE", synchronous: "EXTRA"},
	{journal: "PERSIST", synchronous: "EXTRA"},
}

// TestSimRollbackJournal is TestSimPowerCut without a WAL.
func TestSimRollbackJournal(t *testing.T) {
	root := simRoot(t)
	cuts, acked := 0, 0
	seeds(t, 30, func(seed uint64) error {
		w, err := simulate(t, root, seed, rollbackModes[seed%uint64(len(rollbackModes))])
		if w != nil {
			cuts, acked = cuts+w.cuts, acked+w.acked
		}
		return err
	})
	t.Logf("%d cuts, %d messages acknowledged without a WAL", cuts, acked)
}
