package session

import (
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// An Opening is what a CONNECT that was accepted says about the Session.
type Opening struct {
	Version       codec.Version
	ExpirySeconds uint32
	Will          *Will // nil: none
	// KeepWill says that the Will of a Session that is not Durable is stored too, so
	// that the next start knows whose connections ended with the process.
	KeepWill bool
}

// Open makes a new Session, or one that is resumed, that of the CONNECT. A Will that
// was waiting is void. [MQTT-3.1.2-7] [MQTT-3.1.3-9]
//
// Of a Durable Session it writes the Record and, if there is or was one, the Will.
// They must be committed before CONNACK. Of another it writes Record and Will if
// KeepWill asks for it, lazily: CONNACK promises neither.
func (s *Session) Open(o Opening, now time.Time, fx *Effects) {
	s.version, s.expirySeconds = o.Version, o.ExpirySeconds
	if s.durable {
		s.setWill(o.Will, MustCommit, fx)
		fx.rows(MustCommit).Record = s.record(true, now)
		return
	}
	s.will = o.Will
	if s.will != nil && o.KeepWill {
		s.willKept = true
		r := fx.rows(Lazily)
		r.Record, r.HasWill, r.Will = s.record(true, now), true, s.will
	}
}

// Resume is the first event of a Session that Restore has brought back from r and that
// is not over. expirySecondsMax is the longest Session Expiry Interval that is allowed
// now. It returns when the Session expires; zero: never.
//
// If the process died with a connection attached, that ends now: the Session Expiry
// Interval and the Will Delay Interval begin. It then writes the Record, the Will, and the
// State, because what may have been sent must still be in doubt after a second crash.
// If only the interval became shorter, it writes the Record. All of it must be committed
// before anybody is served.
func (s *Session) Resume(r *Record, expirySecondsMax uint32, now time.Time, fx *Effects) (expiresAt time.Time) {
	shortened := s.expirySeconds > expirySecondsMax ||
		expirySecondsMax != NeverExpires && r.ExpiresAt.After(now.Add(seconds(expirySecondsMax)))
	s.expirySeconds = min(s.expirySeconds, expirySecondsMax)
	if !r.Connected && !shortened {
		return r.ExpiresAt
	}
	record := s.record(false, now) // when its connection ended is not known: it counts from now on
	fx.rows(MustCommit).Record = record
	if r.Connected {
		fx.State = true
		if s.will != nil {
			s.delayWill(now, fx)
		}
	}
	return record.ExpiresAt
}

// record is the Session's row for the store.
func (s *Session) record(connected bool, now time.Time) *Record {
	r := &Record{
		ID: s.ID, ClientID: s.ClientID, UserName: s.UserName, Version: s.version,
		ExpirySeconds: s.expirySeconds, Connected: connected,
	}
	if !connected && s.expirySeconds != NeverExpires {
		r.ExpiresAt = now.Add(seconds(s.expirySeconds))
	}
	return r
}

// Version is that of the connection attached now or last.
func (s *Session) Version() codec.Version { return s.version }

func seconds(n uint32) time.Duration { return time.Duration(n) * time.Second }
