package inspect

import "time"

// The states of an Upgrade.
const (
	UpgradeUnderWay = "under way"
	UpgradeDone     = "done"
	UpgradeFailed   = "failed"
)

// An Upgrade is the last time that a broker handed its work to a new process, or tried to.
type Upgrade struct {
	Binary  string    `json:"binary,omitempty" doc:"The program that was started. None: no upgrade was begun, and this process does not come from one."`
	State   string    `json:"state,omitempty" enum:"under way,done,failed"`
	From    string    `json:"from,omitempty" doc:"The version of the broker that handed over."`
	To      string    `json:"to,omitempty" doc:"The version of the new one; none: it did not come that far."`
	BeganAt time.Time `json:"began_at,omitzero"`
	// PID is that of the process that answers.
	PID        int     `json:"pid,omitempty" doc:"The process that answers."`
	GapSeconds float64 `json:"gap_seconds,omitempty" doc:"For how long connects waited: from the moment at which the old process stopped to accept to the moment at which the new one began."`
	Error      string  `json:"error,omitempty" doc:"Why it failed; the old process carries on then."`
}
