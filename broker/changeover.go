package broker

import (
	"net"
	"slices"
	"time"

	"github.com/x0a1b/promptmq/broker/lock"
	"github.com/x0a1b/promptmq/codec"
)

const (
	// takeoverWait bounds how long a CONNECT waits until the connection that
	// has its Session has handled what had reached the Server, and
	// restBytesMax how many bytes of that there may be.
	takeoverWait = 5 * time.Second
	restBytesMax = 16 << 20
	// turnsMax is how many CONNECT packets may wait for one Client Identifier.
	turnsMax = 100
)

// A changeover is what must be known of a Client while its Session passes from one
// connection to the next. CONNECT packets for one Client Identifier take turns. Before
// one of them gets the Session, all that reached the Server on the connection before
// is handled, and its Will is published if it is due.
//
// Most of the time nobody waits and nothing is ending: then there is no changeover.
// It is dropped when no CONNECT has a turn and no end is under way: see changing.
//
// Client.mu guards it.
type changeover struct {
	// turns are those of the CONNECT packets that wait, in the order in which they
	// came. Each is closed when its turn has come.
	turns []chan struct{}

	// The rest is of the CONNECT that has its turn.

	allEnded chan struct{} // closed when no end is under way; nil: it waits for none
	admitted bool          // it takes over the place, of Options.MaxConnections, of the connection that goes
	from     net.Addr      // where the connection came from that was taken over; nil: none was
	cutShort bool          // and not all that had come on that was handled
	group    uint64        // the last that has something of a durable Session that ended; 0: none
}

// changing says what is under way between the connections of one Client. Above the
// two bits it counts, in units of oneEnding, the ends that are not done yet: see
// Broker.detaching. Each is of somebody who had the Session, so there are few.
type changing uint16

const (
	turnTaken     changing = 1 << iota // a CONNECT has its turn: see takeTurn
	hasChangeover                      // Broker.changeovers has one of the Client
	oneEnding
)

// changeovers are those of all Clients that have one.
type changeovers struct {
	mu lock.Mutex[lock.Leaf] // guards of; a leaf
	of map[*Client]*changeover
}

// changeoverLocked returns the Client's changeover, made if there is none.
func (cl *Client) changeoverLocked() *changeover {
	all := &cl.b.changeovers
	all.mu.Lock()
	defer all.mu.Unlock()
	s := all.of[cl]
	if s == nil {
		s = new(changeover)
		all.of[cl] = s
		cl.changing |= hasChangeover
	}
	return s
}

// currentChangeoverLocked returns the Client's changeover, or nil if there is none.
func (cl *Client) currentChangeoverLocked() *changeover {
	if cl.changing&hasChangeover == 0 {
		return nil
	}
	return cl.changeoverLocked()
}

// dropChangeoverLocked forgets the changeover if nothing is under way any more.
func (cl *Client) dropChangeoverLocked() {
	if cl.changing != hasChangeover {
		return
	}
	all := &cl.b.changeovers
	all.mu.Lock()
	defer all.mu.Unlock()
	delete(all.of, cl)
	cl.changing = 0
}

// allEndedLocked returns s.allEnded, made if it is nil.
func (s *changeover) allEndedLocked() chan struct{} {
	if s.allEnded == nil {
		s.allEnded = make(chan struct{})
	}
	return s.allEnded
}

// takeTurn waits until it is this CONNECT's turn to take the Session of the Client
// Identifier, which must be who's. The caller holds no lock, and ends the turn with endTurn.
func (b *Broker) takeTurn(id string, who *principal) (*Client, error) {
	cl, turn, err := b.queueForTurn(id, who)
	if turn == nil {
		return cl, err
	}
	select {
	case <-turn:
		return cl, nil
	case <-b.commits.Ending():
		b.giveUpTurn(cl, turn)
		return nil, refuse(codec.ServerUnavailable, "the Server is shutting down")
	}
}

// queueForTurn returns the turn to wait for. It is nil if it has come, or with an error.
func (b *Broker) queueForTurn(id string, who *principal) (cl *Client, turn chan struct{}, err error) {
	cl = b.registry.acquire(b, id)
	defer cl.mu.Unlock()
	if cl.foreignLocked(who) { // it takes no turn that the owner may want
		return nil, nil, errForeign()
	}
	if cl.changing&turnTaken == 0 {
		cl.changing |= turnTaken
		return cl, nil, nil
	}
	s := cl.changeoverLocked()
	if len(s.turns) >= turnsMax {
		return nil, nil, refuse(codec.ServerBusy, "too many connections wait for this Client Identifier")
	}
	turn = make(chan struct{})
	s.turns = append(s.turns, turn)
	return cl, turn, nil
}

// giveUpTurn ends the wait for a turn.
func (b *Broker) giveUpTurn(cl *Client, turn chan struct{}) {
	waited := func() bool {
		cl.mu.Lock()
		defer cl.mu.Unlock()
		s := cl.currentChangeoverLocked()
		if s == nil {
			return false
		}
		i := slices.Index(s.turns, turn)
		if i >= 0 {
			s.turns = slices.Delete(s.turns, i, i+1)
		}
		return i >= 0
	}()
	if !waited {
		b.endTurn(cl) // it had just come
	}
}

// endTurn ends the turn of a CONNECT, which has taken the Session or was refused.
func (b *Broker) endTurn(cl *Client) {
	unused := func() bool {
		cl.mu.Lock()
		defer cl.mu.Unlock()
		if s := cl.currentChangeoverLocked(); s != nil {
			if s.admitted && cl.conn == nil { // it got the place, but not the Session
				b.connectedClients.Add(-1)
			}
			s.admitted, s.allEnded, s.from, s.group, s.cutShort = false, nil, nil, 0, false
			if len(s.turns) > 0 {
				close(s.turns[0])
				s.turns = s.turns[1:]
				return false
			}
		}
		cl.changing &^= turnTaken
		cl.dropChangeoverLocked()
		return cl.unusedLocked()
	}()
	if unused {
		b.registry.remove(cl)
	}
}
