package broker

import "github.com/x0a1b/promptmq/session"

// A retainedShare is what one user has of the retained messages.
type retainedShare struct {
	user     string
	messages int
	bytes    int64 // the sum of Message.Bytes
}

// name is the user's; "" if there is none.
func (s *retainedShare) name() string {
	if s == nil {
		return ""
	}
	return s.user
}

// retainedShares are those of the users that have any. Messages of anonymous Clients are
// nobody's and in none: one Client cannot be told from the other.
type retainedShares map[string]*retainedShare

// of returns the share of a user, which may have none yet; nil: of nobody.
func (s retainedShares) of(user string) *retainedShare {
	if user == "" {
		return nil
	}
	share := s[user]
	if share == nil {
		share = &retainedShare{user: user}
		s[user] = share
	}
	return share
}

// count puts r into the share of its owner, and uncount takes it out.
func (s retainedShares) count(r *retainedMessage) {
	if o := r.owner; o != nil {
		o.messages++
		o.bytes += int64(r.message.Bytes())
	}
}

func (s retainedShares) uncount(r *retainedMessage) {
	o := r.owner
	if o == nil {
		return
	}
	o.bytes -= int64(r.message.Bytes())
	if o.messages--; o.messages == 0 {
		delete(s, o.user)
	}
}

// fitsUser reports whether a user may have m retained, which becomes the user's whoever had
// what it replaces: which of the limits is in its way, if they are not both 0 for none. What
// takes no more than before is not refused: limits may have been lowered.
func (s *retainedSet) fitsUser(user string, m *session.Message, limits *Limits) (key string, limit int64) {
	if user == "" || limits.RetainedMessagesPerUser <= 0 && limits.RetainedBytesPerUser <= 0 {
		return "", 0
	}
	more, moreBytes := 1, int64(m.Bytes())
	if old := s.get(viewOf(m.Topic)); old != nil && old.owner.name() == user {
		more, moreBytes = 0, moreBytes-int64(old.message.Bytes())
	}
	var has retainedShare
	if share := s.shares[user]; share != nil {
		has = *share
	}
	if most := limits.RetainedMessagesPerUser; most > 0 && more > 0 && has.messages+more > most {
		return "limits.retained-messages-per-user", int64(most)
	}
	if most := limits.RetainedBytesPerUser; most > 0 && moreBytes > 0 && has.bytes+moreBytes > most {
		return "limits.retained-bytes-per-user", most
	}
	return "", 0
}
