package inspect

import "time"

// Numbers are counters and levels at a time. Counters count from the start of the broker.
type Numbers struct {
	At                time.Time         `json:"at"`
	UptimeSeconds     Seconds           `json:"uptime_seconds"`
	Connections       int               `json:"connections"`
	ConnectionsTotal  uint64            `json:"connections_total"`
	Sessions          int               `json:"sessions"`
	SessionsConnected int               `json:"sessions_connected"`
	Subscriptions     int               `json:"subscriptions"`
	Retained          int               `json:"retained"`
	RetainedBytes     int64             `json:"retained_bytes"`
	Queued            int               `json:"queued"`
	MessagesIn        [3]uint64         `json:"messages_in" doc:"By QoS."`
	MessagesOut       [3]uint64         `json:"messages_out" doc:"By QoS."`
	MessageBytesIn    uint64            `json:"message_bytes_in"`
	MessageBytesOut   uint64            `json:"message_bytes_out"`
	BytesIn           uint64            `json:"bytes_in"`
	BytesOut          uint64            `json:"bytes_out"`
	Dropped           map[string]uint64 `json:"dropped" doc:"By reason."`
	Refused           map[string]uint64 `json:"refused" doc:"Connections, by reason."`
	MessagesRefused   map[string]uint64 `json:"messages_refused" doc:"PUBLISH packets that were not published, by reason."`
	FiltersRefused    map[string]uint64 `json:"filters_refused" doc:"Topic Filters of SUBSCRIBE that were refused, by reason."`
	Commits           uint64            `json:"commits"`
	CommitSeconds     float64           `json:"commit_seconds" doc:"That commits took in all."`
	CommitP99         float64           `json:"commit_p99_seconds" doc:"Of the last minute, at most."`
	Processing        float64           `json:"processing_p99_seconds" doc:"From reading a PUBLISH to the end of its fan-out; of the last minute, a sample."`
	DatabaseBytes     int64             `json:"database_bytes"`
	WALBytes          int64             `json:"wal_bytes"`
	DiskFreeBytes     int64             `json:"disk_free_bytes,omitempty"`
	MemoryNeeded      int64             `json:"memory_needed_bytes"`
	MemoryLimit       int64             `json:"memory_limit_bytes" doc:"0: none."`
	Overload          string            `json:"overload" doc:"normal, refusing, pausing or closing."`
	Panics            uint64            `json:"panics"`
	Ready             bool              `json:"ready"`
	NotReady          string            `json:"not_ready,omitempty" doc:"Why."`
	StoreFull         bool              `json:"store_full" doc:"What would be stored is refused until there is room."`
	CommitWaiting     Seconds           `json:"commit_waiting_seconds" doc:"How long the commit that is under way takes by now."`
	QueuesFull        int               `json:"queues_full" doc:"Sessions whose queue has as much as it may."`
	LogLinesLost      uint64            `json:"log_lines_lost" doc:"That nobody took in time."`
	Limits            Limits            `json:"limits"`
	Version           string            `json:"version"`
}

// Limits are the most that there may be of something, as the configuration says.
type Limits struct {
	Connections   int   `json:"connections"`
	Sessions      int   `json:"sessions"`
	Retained      int   `json:"retained"`
	RetainedBytes int64 `json:"retained_bytes"`
	Queued        int   `json:"queued" doc:"Messages for one session."`
	QueuedBytes   int64 `json:"queued_bytes" doc:"Of one session."`
}
