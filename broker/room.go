package broker

import "time"

// awaitRoom blocks while too much waits for the connection, or if what it sent was
// stored and too much waits for the store, and not if another connection waits for
// the Session. It reports whether it blocked.
func (c *conn) awaitRoom() (blocked bool) {
	if room := c.out.RoomToRead(); room != nil {
		<-room
		blocked = true
	}
	if !c.stored {
		return blocked
	}
	c.stored = false
	for room := c.b.commits.Overfull(); room != nil; room = c.b.commits.Overfull() {
		superseding := c.out.Woken()
		if superseding == nil {
			break
		}
		select {
		case <-room:
		case <-superseding:
		}
		blocked = true
	}
	return blocked
}

// roomBefore waits until there is room for more answers, and reports false if it is late.
func (c *conn) roomBefore(late <-chan time.Time) bool {
	room := c.out.Room()
	if room == nil {
		select {
		case <-late:
			return false
		default:
			return true
		}
	}
	select {
	case <-room:
		return true
	case <-late:
		return false
	}
}
