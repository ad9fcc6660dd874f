package memory

import (
	"runtime/metrics"
	"time"
)

// A Usage is how much memory the process has, in bytes.
type Usage struct {
	// Needed is what no garbage collection would free, as of the last one.
	Needed int64
	// InUse is Needed as of now, and garbage.
	InUse int64
	// Total is what the system has given and not got back.
	Total int64
}

// The figures that a Meter reads.
const (
	heapLive = iota
	heapObjects
	heapUnused
	heapFree
	heapReleased
	total
	figures
)

var names = [figures]string{
	heapLive:     "/gc/heap/live:bytes",
	heapObjects:  "/memory/classes/heap/objects:bytes",
	heapUnused:   "/memory/classes/heap/unused:bytes",
	heapFree:     "/memory/classes/heap/free:bytes",
	heapReleased: "/memory/classes/heap/released:bytes",
	total:        "/memory/classes/total:bytes",
}

// A Meter reads the Usage. Its zero value is ready. It is for one goroutine.
type Meter struct {
	samples   [figures]metrics.Sample
	foreign   int64 // bytes that the runtime does not know of
	foreignAt time.Time
}

// foreignEvery is how often the system is asked what the process has besides.
const foreignEvery = time.Second

// Read returns the Usage at a time.
func (m *Meter) Read(now time.Time) Usage {
	for i := range m.samples {
		m.samples[i].Name = names[i]
	}
	metrics.Read(m.samples[:])
	mapped := m.figure(total) - m.figure(heapReleased)
	if now.Sub(m.foreignAt) >= foreignEvery {
		m.foreign, m.foreignAt = max(0, anonymousBytes()-mapped), now
	}
	beside := mapped - m.figure(heapObjects) - m.figure(heapUnused) - m.figure(heapFree) + m.foreign
	return Usage{
		Needed: m.figure(heapLive) + beside,
		InUse:  m.figure(heapObjects) + beside,
		Total:  mapped + m.foreign,
	}
}

func (m *Meter) figure(i int) int64 {
	if m.samples[i].Value.Kind() != metrics.KindUint64 {
		return 0 // this version of Go has no such figure
	}
	return int64(m.samples[i].Value.Uint64())
}
