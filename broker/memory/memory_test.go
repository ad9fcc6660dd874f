package memory

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestLevels(t *testing.T) {
	const limit = 1000
	l := Normal
	for _, step := range []struct {
		used int64
		want Level
	}{
		{0, Normal}, {699, Normal}, {700, Refusing}, {660, Refusing}, {650, Refusing}, {649, Normal},
		{960, Closing}, {900, Closing}, {899, Pausing}, {800, Pausing}, {799, Refusing}, {850, Pausing}, {0, Normal}, {5000, Closing}, {100, Normal},
	} {
		if l = l.Next(step.used, limit); l != step.want {
			t.Errorf("at %d: %v, want %v", step.used, l, step.want)
		}
	}
}

var kept [][]byte

// TestUsage: what is kept is needed after a garbage collection, and is in use before it.
func TestUsage(t *testing.T) {
	const bytes = 64 << 20
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	var m Meter
	runtime.GC()
	before := m.Read(time.Now())
	for range 64 {
		kept = append(kept, make([]byte, bytes/64))
	}
	if u := m.Read(time.Now()); u.InUse < before.InUse+bytes || u.Needed > before.Needed+bytes/2 {
		t.Errorf("before a collection %+v, at first %+v", u, before)
	}
	runtime.GC()
	if u := m.Read(time.Now()); u.Needed < before.Needed+bytes || u.Total < u.Needed {
		t.Errorf("after a collection %+v, at first %+v", u, before)
	}
	kept = nil
	runtime.GC()
	if u := m.Read(time.Now()); u.Needed > before.Needed+bytes/2 {
		t.Errorf("when nothing is kept %+v, at first %+v", u, before)
	}
}

func TestDefaultLimit(t *testing.T) {
	if machine := machineBytes(); runtime.GOOS == "linux" && machine < 1<<26 {
		t.Errorf("the machine has %d bytes", machine)
	}
	if bytes, of := DefaultLimit(); runtime.GOOS == "linux" && (bytes <= 0 || of == "") {
		t.Errorf("%d of %q", bytes, of)
	}
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(1000 << 20))
	if bytes, of := DefaultLimit(); bytes != 800<<20/100*100 && bytes/100 != 800<<20/100 || of != "GOMEMLIMIT" {
		t.Errorf("%d of %q", bytes, of)
	}
}
