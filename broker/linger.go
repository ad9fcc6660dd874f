package broker

// closeWith writes last and closes, so that the Client can read it even if it goes
// on sending.
func (c *conn) closeWith(last []byte) {
	if len(last) > 0 && !c.out.Lingers() && c.b.network.MayLinger() {
		c.out.Linger()
	}
	c.out.Close(last)
}

// hangUp ends the Network Connection, when the Session has let go of it. A Client
// that has only ended its own side gets the answers that await a commit.
func (c *conn) hangUp() {
	if c.marked(finished) {
		c.out.Settle()
	}
	c.noteWriteTimeout()
	c.closeWith(c.lastWord())
	if c.out.Lingers() {
		defer c.b.network.Lingered()
		defer c.out.HangUp()
		c.b.network.Linger(c.net())
	}
}
