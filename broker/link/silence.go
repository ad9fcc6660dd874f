package link

import "time"

const (
	// silenceMin and silenceMax are how long a peer is silent that waits for our
	// acknowledgement, which the system delays for 40 to 200 ms, and the way there
	// and back.
	silenceMin = int64(35 * time.Millisecond)
	silenceMax = int64(300 * time.Millisecond)
	// silencesMin in a row are no accident. From then on what comes from the peer is
	// acknowledged at once, for hurrySeconds.
	silencesMin  = 3
	hurrySeconds = 10
)

// Silences tell of a peer that has the algorithm of Nagle on, and writes twice for
// what it has to say: its second piece leaves when the first is acknowledged. If
// the first gets an answer, that is the acknowledgement. If it gets none, as a
// PUBACK, or the beginning of a packet, the system waits for an answer before it
// acknowledges: 40 ms for each message of a client that publishes and receives on
// one connection. So after such a piece the system is told to do so at once. That
// is a call each time, for it forgets, and so is only done for peers that were
// silent for about so long several times in a row.
type silences struct {
	hurried uint32 // until which second
	count   uint8
	mute    bool // what came last was a piece that gets no answer
}

// heard reports whether to acknowledge at once what was read now.
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
