// Package memory tells how much memory the process has and may have, and how short of it
// it is. It decides nothing but the Level: what that means is the broker's business.
//
// What is compared with the limit is what the Go runtime itself tells: the part of the heap
// that the last garbage collection found in use, and all that is not heap. So nothing can be
// forgotten, and garbage does not count. As the last collection may be long ago, its figure
// is not trusted while garbage and all would be at a higher Level, or while the Level is not
// Normal: then one more is made, at most one a second and for a tenth of the time.
package memory

// A Level says how short memory is.
type Level uint32

// The Levels, each with all that the ones before it mean.
const (
	Normal   Level = iota
	Refusing       // who connects is refused
	Pausing        // who publishes is not read
	Closing        // those for whom most waits are closed
)

func (l Level) String() string {
	return [...]string{"normal", "refusing", "pausing", "closing"}[l]
}

// from is where each Level begins, in percent of the limit; it ends back points below.
var from = [...]int64{0, 70, 85, 95}

const back = 5

// Next returns the Level that follows l when so many bytes of limit are used.
func (l Level) Next(used, limit int64) Level {
	for l < Closing && used >= From(l+1, limit) {
		l++
	}
	for l > Normal && used < limit/100*(from[l]-back) {
		l--
	}
	return l
}

// From is how many bytes of limit must be used for a Level to begin.
func From(l Level, limit int64) int64 { return limit / 100 * from[l] }
