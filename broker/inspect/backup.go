package inspect

import "time"

// A Backup is the last one that was begun.
type Backup struct {
	File        string    `json:"file,omitempty" doc:"None: there was none since the start of the broker."`
	Running     bool      `json:"running"`
	CopiedBytes int64     `json:"copied_bytes"`
	TotalBytes  int64     `json:"total_bytes"`
	BeganAt     time.Time `json:"began_at,omitzero"`
	EndedAt     time.Time `json:"ended_at,omitzero"`
	Error       string    `json:"error,omitempty" doc:"Why there is no such file; none: it is on disk."`
}
