package main

import (
	"sync/atomic"
	"time"

	"github.com/x0a1b/promptmq/metrics"
	"github.com/x0a1b/promptmq/store"
)

// showStore has the store's figures among the metrics. sizeMax is storage.max-size.
func showStore(counters *metrics.Broker, db *store.DB, sizeMax int64) {
	var last atomic.Pointer[store.Stats]
	counters.OnScrape(func() {
		stats := db.Stats()
		last.Store(&stats)
	})
	gauge := func(name string, f func(*store.Stats) int64) {
		counters.Gauge(name, func() float64 { return float64(f(last.Load())) })
	}
	gauge("promptmq_storage_size_bytes", func(s *store.Stats) int64 { return s.FileBytes + s.WALBytes })
	gauge("promptmq_store_database_bytes", func(s *store.Stats) int64 { return s.FileBytes })
	gauge("promptmq_store_wal_bytes", func(s *store.Stats) int64 { return s.WALBytes })
	gauge("promptmq_store_removals_pending", func(s *store.Stats) int64 { return s.RemovalsLeft })
	gauge("promptmq_store_removed_rows_max", func(s *store.Stats) int64 { return int64(s.RemovedMost) })
	counters.Gauge("promptmq_store_size_limit_bytes", func() float64 { return float64(sizeMax) })
	if db.Stats().FreeBytes >= 0 {
		gauge("promptmq_store_disk_free_bytes", func(s *store.Stats) int64 { return s.FreeBytes })
	}
}

// storeSizes tells the broker how large its store is.
func storeSizes(db *store.DB) func() (database, wal, free int64) {
	return func() (database, wal, free int64) {
		stats := db.Stats()
		return stats.FileBytes, stats.WALBytes, stats.FreeBytes
	}
}

// showReady has /ready among the metrics, and since when the process runs.
func showReady(counters *metrics.Broker, ready func() error) {
	counters.Gauge("promptmq_ready", func() float64 {
		if ready() != nil {
			return 0
		}
		return 1
	})
	started := seconds(time.Now())
	counters.Gauge("promptmq_start_time_seconds", func() float64 { return started })
}

// A reloaded is what the metrics tell of reloads.
type reloaded struct {
	counters *metrics.Broker
	failed   atomic.Bool // the last one
	took     atomic.Int64
}

// showReloads has the metrics tell when the configuration was taken over last. The start counts.
func showReloads(counters *metrics.Broker) *reloaded {
	r := &reloaded{counters: counters}
	counters.ConfigReloads("ok")
	counters.ConfigReloads("error")
	r.took.Store(time.Now().UnixNano())
	counters.Gauge("promptmq_config_last_reload_successful", func() float64 {
		if r.failed.Load() {
			return 0
		}
		return 1
	})
	counters.Gauge("promptmq_config_last_reload_success_timestamp_seconds", func() float64 { return seconds(time.Unix(0, r.took.Load())) })
	return r
}

// note counts a reload that ended with err.
func (r *reloaded) note(err error) {
	r.failed.Store(err != nil)
	if err != nil {
		r.counters.ConfigReloads("error").Inc()
		return
	}
	r.took.Store(time.Now().UnixNano())
	r.counters.ConfigReloads("ok").Inc()
}

// seconds is a time as Prometheus has it.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
