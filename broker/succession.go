package broker

import (
	"net"
	"sync"
	"time"
)

const (
	// successionWait bounds how long a CONNECT waits until the connection that
	// has its Client Identifier has handled what had reached the Server, and
	// restBytesMax how much of that there may be.
	successionWait = 5 * time.Second
	restBytesMax   = 16 << 20
	// turnsMax is how many CONNECT packets may wait for one Client Identifier.
	turnsMax = 100
)

// A succession is what one connection of a Client, or a CONNECT that waits, leaves
// for the next to know. CONNECT packets want its Session one after the other. Of
// connections and Sessions that have ended something may still be to be done: what
// reached the Server on one connection is handled, and its Will published, before
// the next has the Session. In the ordinary case nobody waits and nothing is left:
// then there is none. It is dropped when no CONNECT has a turn and nothing is
// ending: see changes.
//
// client.mu guards it.
type succession struct {
	turns []chan struct{} // of those that wait for theirs, in the order in which they came; each is closed when it has come
	// ended, made by the CONNECT that has its turn when it must wait, is closed when
	// nothing is ending any more.
	ended chan struct{}
	// heir says that the CONNECT that has its turn has been admitted, and gets the
	// place of the connection that goes, of Options.MaxConnections.
	heir bool
	// replaced is where the connection came from that was taken over, nil: none
	// was; group the last that has something of the durable Session that ended with it.
	replaced net.Addr
	group    uint64
	cutShort bool // not all that had come on that connection was handled
}

// changes say what is on between the connections of one Client. Above the bits is the
// number of ends that are not done yet, of which some may turn out to be none: see
// Broker.ending. Who comes to its end has had the Session, so they cannot be many.
type changes uint16

const (
	turnTaken changes = 1 << iota // a CONNECT has its turn to take the Session: see claim
	hasNotes                      // there is a succession
	oneEnd
)

// successions are those of all Clients that have one: see hasNotes.
type successions struct {
	mu sync.Mutex // guards of; a leaf
	of map[*Client]*succession
}

// successionLocked returns the Client's, made if there is none.
func (cl *Client) successionLocked() *succession {
	all := &cl.b.successions
	all.mu.Lock()
	defer all.mu.Unlock()
	s := all.of[cl]
	if s == nil {
		s = new(succession)
		all.of[cl] = s
		cl.changing |= hasNotes
	}
	return s
}

// leftLocked returns the Client's succession, or nil if there is none.
func (cl *Client) leftLocked() *succession {
	if cl.changing&hasNotes == 0 {
		return nil
	}
	return cl.successionLocked()
}

// dropSuccessionLocked forgets what was left if nobody is to know it any more.
func (cl *Client) dropSuccessionLocked() {
	if cl.changing != hasNotes {
		return
	}
	all := &cl.b.successions
	all.mu.Lock()
	defer all.mu.Unlock()
	delete(all.of, cl)
	cl.changing = 0
}

// endedLocked returns what is closed when nothing is ending any more.
func (s *succession) endedLocked() chan struct{} {
	if s.ended == nil {
		s.ended = make(chan struct{})
	}
	return s.ended
}
