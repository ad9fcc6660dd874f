package link

import "time"

const (
	// A peer that waits for an acknowledgement, which the system delays for 40 to 200 ms,
	// is silent for so long, with the way there and back.
	silenceMin = int64(35 * time.Millisecond)
	silenceMax = int64(300 * time.Millisecond)
	// After silencesMin in a row, what comes is acknowledged at once, for hurrySeconds.
	silencesMin  = 3
	hurrySeconds = 10
)

// Silences find peers that use Nagle's algorithm and write in two pieces: the second
// leaves when the first is acknowledged. An answer is an acknowledgement. But for a piece
// that gets none, as a PUBACK or the beginning of a packet, the system waits for an answer
// before it acknowledges: that is 40 ms for each message of a client that publishes and
// receives on one connection. So after such a piece the system is told to acknowledge at
// once: a call each time, since it forgets, and so only for peers that were silent for about
// so long several times in a row.
type silences struct {
	hurried uint32 // until which second
	count   uint8
	mute    bool // what came last was a piece that gets no answer
}

// heard reports whether what was read now is to be acknowledged at once.
func (s *silences) heard(r *ReadState) bool {
	second := uint32(r.Now / int64(time.Second))
	if s.mute && r.Asked {
		if gap := r.Now - r.Before; gap < silenceMin || gap > silenceMax {
			s.count = 0
		} else if s.count++; s.count >= silencesMin {
			s.count, s.hurried = 0, second+hurrySeconds
		}
	}
	s.mute = !r.Asked || r.Unfinished
	return s.mute && second <= s.hurried
}
