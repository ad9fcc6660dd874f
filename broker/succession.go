package broker

import (
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/x0a1b/promptmq/broker/control"
	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/codec"
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

// claim waits until it is this CONNECT's turn to take the Session of the Client
// Identifier. yield must be called afterwards.
func (b *Broker) claim(id string) (*Client, error) {
	cl, turn, err := b.queueClaim(id)
	if turn == nil {
		return cl, err
	}
	select {
	case <-turn:
		return cl, nil
	case <-b.commits.Ending():
		b.withdraw(cl, turn)
		return nil, refuse(codec.ServerUnavailable, "the Server is shutting down")
	}
}

// queueClaim returns the turn to wait for; nil: it has come, or there is an error.
func (b *Broker) queueClaim(id string) (cl *Client, turn chan struct{}, err error) {
	cl = b.registry.acquire(b, id)
	defer cl.mu.Unlock()
	if cl.changing&turnTaken == 0 {
		cl.changing |= turnTaken
		return cl, nil, nil
	}
	s := cl.successionLocked()
	if len(s.turns) >= turnsMax {
		return nil, nil, refuse(codec.ServerBusy, "too many connections wait for this Client Identifier")
	}
	turn = make(chan struct{})
	s.turns = append(s.turns, turn)
	return cl, turn, nil
}

// withdraw ends the wait for a turn.
func (b *Broker) withdraw(cl *Client, turn chan struct{}) {
	waited := func() bool {
		cl.mu.Lock()
		defer cl.mu.Unlock()
		s := cl.leftLocked()
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
		b.yield(cl) // it came just now
	}
}

// yield ends the turn of a CONNECT, which has taken the Session or was refused.
func (b *Broker) yield(cl *Client) {
	unused := func() bool {
		cl.mu.Lock()
		defer cl.mu.Unlock()
		if s := cl.leftLocked(); s != nil {
			if s.heir && cl.conn == nil { // it got the place and not the Session
				b.connectedClients.Add(-1)
			}
			s.heir, s.ended, s.replaced, s.group, s.cutShort = false, nil, nil, 0, false
			if len(s.turns) > 0 {
				close(s.turns[0])
				s.turns = s.turns[1:]
				return false
			}
		}
		cl.changing &^= turnTaken
		cl.dropSuccessionLocked()
		return cl.unusedLocked()
	}()
	if unused {
		b.registry.remove(cl)
	}
}

// ending calls leave, which ends a connection or a Session of the Client with its
// lock held, and does what that leaves to be done. Whatever happens meanwhile, no
// CONNECT has the Session before it is done and the Will Message is published. The
// caller holds the gate and no other lock.
func (b *Broker) ending(cl *Client, now time.Time, l *pending, leave func() aftermath) {
	defer b.ended(cl)
	after := func() aftermath {
		cl.mu.Lock()
		defer cl.mu.Unlock()
		cl.changing += oneEnd
		return leave()
	}()
	b.finishDetach(cl, after, now, l)
}

// ended is called when nothing is left to be done of one end.
func (b *Broker) ended(cl *Client) {
	unused := func() bool {
		cl.mu.Lock()
		defer cl.mu.Unlock()
		cl.changing -= oneEnd
		if s := cl.leftLocked(); s != nil && cl.changing < oneEnd && s.ended != nil { // who waits for a connection looks whether it was that
			close(s.ended)
			s.ended = nil
		}
		cl.dropSuccessionLocked()
		return cl.unusedLocked()
	}()
	if unused {
		b.registry.remove(cl)
	}
}

// takeSession makes c the connection of the Client: it takes the Session over
// from another connection, resumes it, or starts a new one. It returns the
// group that what CONNACK promises is in; 0: nothing is stored. A CONNECT that
// is refused has changed nothing.
func (c *conn) takeSession(p *codec.Connect, id string, ack *codec.Connack) (group uint64, err error) {
	cl, err := c.b.claim(id)
	if err != nil {
		return 0, err
	}
	defer c.b.yield(cl)
	for late := false; ; {
		ended, old, group, err := c.tryTake(cl, p, ack, late)
		if err != nil || ended == nil {
			return group, err
		}
		if late, err = c.awaitEnd(ended, old); err != nil {
			return 0, err
		}
	}
}

// awaitEnd waits until what keeps c from taking the Session has ended: the
// connection old, which is told to, or, if that is nil, what is ending already. It
// reports whether old is late. No lock may be held.
func (c *conn) awaitEnd(ended chan struct{}, old *conn) (late bool, err error) {
	var bound <-chan time.Time
	if old != nil {
		old.supersede()
		timer := time.NewTimer(successionWait)
		defer timer.Stop()
		bound = timer.C
	}
	select {
	case <-ended:
		return false, nil
	case <-bound:
		old.cutOff()
		return true, nil
	case <-c.b.commits.Ending():
		return false, refuse(codec.ServerUnavailable, "the Server is shutting down")
	}
}

// cutOff makes sure that nothing of the connection has any effect from now on, and
// that none of its handlers is in the middle of something that is stored: these hold
// the gate.
func (c *conn) cutOff() {
	c.b.commits.Alone(func() { c.mark(takenOver) })
}

// tryTake takes the Session if nothing is in the way, and else returns what to
// wait for: ended will be closed, and old, if it is not nil, has to be told to end.
// If that is late, and was cut off, the Session is taken from it.
func (c *conn) tryTake(cl *Client, p *codec.Connect, ack *codec.Connack, late bool) (ended chan struct{}, old *conn, group uint64, err error) {
	c.b.commits.Enter()
	defer c.b.commits.Leave()
	var after, over aftermath
	func() {
		cl.mu.Lock()
		defer cl.mu.Unlock()
		if cl.changing >= oneEnd {
			ended = cl.successionLocked().endedLocked()
			return
		}
		old = cl.conn
		if s := cl.leftLocked(); s == nil || !s.heir {
			if err = c.admitLocked(cl, p); err != nil {
				return
			}
		}
		if old != nil {
			s := cl.successionLocked()
			s.heir = true
			if !late {
				ended = s.endedLocked()
				return
			}
			s.replaced, s.cutShort = old.net().RemoteAddr(), true
			after = cl.detachLocked(false, c.now, &c.pending)
			cl.noteEndLocked(&after)
		}
		over, group = c.takeSessionLocked(cl, p, ack)
	}()
	if err != nil || ended != nil {
		return ended, old, 0, err
	}
	if old != nil {
		old.out.Close(old.lastWord())
	}
	c.b.finishDetach(cl, after, c.now, &c.pending)
	c.b.finishDetach(cl, over, c.now, &c.pending)
	return nil, nil, group, nil
}

// endedLocked returns what is closed when nothing is ending any more.
func (s *succession) endedLocked() chan struct{} {
	if s.ended == nil {
		s.ended = make(chan struct{})
	}
	return s.ended
}

// noteEndLocked notes what the next CONNACK must wait for when a connection has left.
func (cl *Client) noteEndLocked(after *aftermath) {
	if g := after.awaited(); g > 0 {
		cl.successionLocked().group = g
	}
}

// awaited is the group with which a Session that has ended is gone on disk; 0: it
// was not there.
func (a *aftermath) awaited() uint64 {
	if a.ended == nil || !a.ended.Durable() {
		return 0
	}
	return a.group
}

// admitLocked finds out, before anything is changed, whether the CONNECT can be
// accepted, and counts its connection, unless it is to have the place of another.
// The caller holds client.mu and the gate.
func (c *conn) admitLocked(cl *Client, p *codec.Connect) error {
	b, takeover := c.b, cl.conn != nil
	if cl.sess == nil && b.sessions.Load() >= int64(b.o.MaxSessions) {
		return refuse(codec.QuotaExceeded, "too many sessions", "limit", c.b.o.MaxSessions, "key", "mqtt.max-sessions")
	}
	if !takeover && b.connectedClients.Add(1) > int64(b.o.MaxConnections) {
		b.connectedClients.Add(-1)
		return refuse(codec.QuotaExceeded, "too many connections", "limit", c.b.o.MaxConnections, "key", "mqtt.max-connections")
	}
	fresh := cl.sess == nil || p.CleanStart || (takeover && cl.sess.ExpirySeconds() == 0)
	if fresh && c.params.sessionExpirySeconds > 0 && !b.commits.Admit(sessionCost(p), codec.TypeConnect.String()) {
		if !takeover {
			b.connectedClients.Add(-1)
		}
		return refuse(codec.QuotaExceeded, "the store has no room for a session")
	}
	return nil
}

// takeSessionLocked makes c the connection of the Client. over is what a Session
// that had to go leaves to be done, group what CONNACK waits for.
func (c *conn) takeSessionLocked(cl *Client, p *codec.Connect, ack *codec.Connack) (over aftermath, group uint64) {
	s := cl.leftLocked()
	if s != nil && s.replaced != nil {
		control.Panic(control.PanicInTakeover)
		c.b.m.Takeovers.Inc()
		attrs := []any{"client", notice.Shown(cl.id), "from", s.replaced.String(), "by", c.net().RemoteAddr().String()}
		if s.cutShort {
			c.b.m.TakeoversCutShort.Inc()
			attrs = append(attrs, "cut_short", true)
		}
		c.pending.say(c.b.notices.Line(slog.LevelInfo, "takeover", cl.id, "session taken over", attrs...))
	}
	cl.takeKeptLocked(c.now, &c.pending) // the Client is back: void [MQTT-3.1.3-9]
	over = c.chooseSessionLocked(cl, p, ack)
	c.client, cl.conn = cl, c
	group = max(c.openSessionLocked(cl, p), over.awaited()) // what CONNACK promises is gone must be gone on disk
	if s != nil {
		s.heir = false
		group = max(group, s.group)
	}
	return over, group
}
