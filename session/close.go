package session

import "time"

// ExpirySeconds is the Session Expiry Interval; NeverExpires: no limit. Section 3.1.2.11.2.
func (s *Session) ExpirySeconds() uint32 { return s.expirySeconds }

// SetExpiry changes the Session Expiry Interval as DISCONNECT asks for. Section 3.14.2.2.2.
//
// It writes nothing: Close follows, and has it.
func (s *Session) SetExpiry(expirySeconds uint32) { s.expirySeconds = expirySeconds }

// Closed is what the end of a connection or of a Session leaves to be done.
type Closed struct {
	// Will is to be published now; nil: none.
	Will *Will
	// Ended says that the Session has ended.
	Ended bool
	// Spilled says that messages of Shared Subscriptions are on disk only, for others
	// to get: see HandedOn.
	Spilled bool
	// ExpiresAt is when a Session that has not ended does; zero: never.
	ExpiresAt time.Time
}

// Close ends what binds the Session to its Network Connection. voidWill says that the
// Client has sent DISCONNECT with Reason Code 0x00. [MQTT-3.1.2-10] stopping says that
// the Server stops: a Will that would be due now waits for the next start.
//
// The Session ends, or it waits for its Session Expiry Interval and its Will for the
// Will Delay Interval: then it writes Record, State, and the Will if it changed, to be
// committed soon, and before the close that answers DISCONNECT.
func (s *Session) Close(voidWill, stopping bool, now time.Time, fx *Effects) Closed {
	s.Detach()
	if voidWill {
		s.SetWill(nil, fx)
	}
	if s.expirySeconds == 0 {
		return s.End(now, fx)
	}
	var c Closed
	switch w := s.will; {
	case w == nil:
	case w.DelaySeconds == 0 && !stopping:
		c.Will = w // [MQTT-3.1.2-8]
		s.SetWill(nil, fx)
	default:
		s.delayWill(now, fx)
	}
	if s.durable {
		r := s.record(false, now)
		fx.rows(Soon).Record = r
		fx.State = true
		c.ExpiresAt = r.ExpiresAt
	}
	return c
}

// End ends the Session, with which its Will becomes due. [MQTT-3.1.2-8] [MQTT-4.1.0-2]
//
// Of a Durable Session every trace is removed, to be committed soon, and before the
// CONNACK or the close that promises it. If it leaves messages of Shared Subscriptions on
// disk only, they stay for the time being, and what is stored says that the Session's
// time is over, so that the next start ends it. What is in memory is to be handed on in
// the same commit group. Of another Session the kept Will is removed, lazily.
func (s *Session) End(now time.Time, fx *Effects) Closed {
	c := Closed{Will: s.will, Ended: true, Spilled: s.LeavesOrphans()}
	switch {
	case c.Spilled:
		r := fx.rows(Soon)
		r.Record = s.record(false, now)
		r.Record.ExpirySeconds, r.Record.ExpiresAt = 0, now
		r.HasWill, r.Will = true, nil
		from, _ := s.PageFrom()
		r.State, r.Floor = s.appendLeft(nil, from), from
	case s.durable:
		fx.rows(Soon).Ended = true
	case s.willKept:
		fx.rows(Lazily).Ended = true
	}
	return c
}

// LeavesOrphans reports whether the Session, if it ends, may leave messages of Shared
// Subscriptions on disk only, for others to get.
func (s *Session) LeavesOrphans() bool { return s.Spilled() && s.HasShared() }

// HandedOn notes that of a Session that has ended, with messages on disk only, those below
// from have gone to others; all says that these were all: then every trace is removed.
//
// It is to be committed lazily, and in the same group as the entries of those who got
// the messages, so that a crash gives them to nobody again.
func (s *Session) HandedOn(from uint64, all bool, fx *Effects) {
	r := fx.rows(Lazily)
	r.Ended, r.State, r.Floor = all, s.appendLeft(nil, from), from
}
