package broker

// openEntriesMax is how many queue entries the open group may have, about 100 MiB,
// before who adds to it must wait. What a publisher sends while the disk does not
// answer is bounded by itself, but a message may be for thousands of Sessions.
const openEntriesMax = 1 << 20

// crowded reports whether the open group has as much as it may.
func (c *committer) crowded() bool { return c.held.Load() > c.heldMax }

// join notes that o is to be woken when there is another open group.
func (c *committer) join(o *outbox) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.crowd == nil {
		c.crowd = make(map[*outbox]struct{})
	}
	c.crowd[o] = struct{}{}
}

func (c *committer) quit(o *outbox) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.crowd, o)
}

// disperse wakes who waits for another open group.
func (c *committer) disperse() {
	for o := range c.takeCrowd() {
		o.wake()
	}
}

func (c *committer) takeCrowd() map[*outbox]struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	crowd := c.crowd
	c.crowd = nil
	return crowd
}

// awaitRoom blocks while too much waits for the connection, or if what it sent was
// stored and too much waits for the store, and not if another connection waits for
// the Session. It reports whether it blocked.
func (c *conn) awaitRoom() (blocked bool) {
	blocked = c.out.awaitRoom(superseded)
	if !c.stored {
		return blocked
	}
	c.stored = false
	commits := c.b.commits
	for commits.crowded() {
		room := c.out.roomToMake(superseded)
		if room == nil {
			break
		}
		commits.join(&c.out)
		if commits.crowded() { // else it was sealed before o joined
			commits.urge()
			<-room
			blocked = true
		}
		commits.quit(&c.out)
	}
	return blocked
}
