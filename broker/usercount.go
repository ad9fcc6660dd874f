package broker

import (
	"github.com/x0a1b/promptmq/broker/lock"
	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/codec"
)

// A userCount is how many Sessions each user has. Its zero value is ready. Those of anonymous
// Clients, whose user name is empty, are not counted: one cannot be told from the other.
type userCount struct {
	mu lock.Mutex[lock.Leaf] // guards the following
	of map[string]int
}

// add counts n Sessions more of a user.
func (u *userCount) add(user string, n int) {
	if user == "" {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.of == nil {
		u.of = make(map[string]int)
	}
	if u.of[user] += n; u.of[user] <= 0 {
		delete(u.of, user)
	}
}

// full reports whether the user may have no more than max Sessions and has them. 0: there is
// no limit.
func (u *userCount) full(user string, max int) bool {
	if user == "" || max <= 0 {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.of[user] >= max
}

// mayHaveSessionLocked refuses a Session that would be one too many, of the user or for the
// memory. One that ends with its connection is not refused for the memory, unless it has a
// large Will: it piles up nothing. The caller holds Client.mu.
func (c *conn) mayHaveSessionLocked(cl *Client, p *codec.Connect, who *principal) error {
	b := c.b
	most := b.options().Limits.SessionsPerUser
	if (cl.sess == nil || cl.sess.UserName == "") && b.userCount.full(who.user(), most) {
		return refuse(codec.QuotaExceeded, "too many sessions of one user", "user", notice.Shown(who.user()), "limit", most, "key", "limits.sessions-per-user")
	}
	if pilesUp := cl.sess == nil && c.params.sessionExpirySeconds > 0; !b.mayHaveWillOf(p, cl.sess, pilesUp) {
		return refuse(codec.QuotaExceeded, "too many sessions, or too large Wills, for the memory", "key", "limits.memory")
	}
	return nil
}
