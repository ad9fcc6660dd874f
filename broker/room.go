package broker

// awaitRoom blocks while too much waits for the connection, or if what it sent was
// stored and too much waits for the store, and not if another connection waits for
// the Session. It reports whether it blocked.
func (c *conn) awaitRoom() (blocked bool) {
	blocked = c.out.awaitRoom(superseded)
	if !c.stored {
		return blocked
	}
	c.stored = false
	for room := c.b.commits.Overfull(); room != nil; room = c.b.commits.Overfull() {
		superseding := c.out.roomToMake(superseded)
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
