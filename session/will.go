package session

import "time"

// Will returns the Will Message of the connection attached now or last, until it is
// published or removed; nil: there is none. Section 3.1.2.5.
func (s *Session) Will() *Will { return s.will }

// SetWill replaces the Will, or removes it with nil.
//
// Of a Durable Session it writes the Will, if there is or was one, to be committed soon.
func (s *Session) SetWill(w *Will, fx *Effects) { s.setWill(w, Soon, fx) }

func (s *Session) setWill(w *Will, u Urgency, fx *Effects) {
	if s.will == nil && w == nil {
		return
	}
	s.will = w
	if s.durable {
		r := fx.rows(u)
		r.HasWill, r.Will = true, w
	}
}

// delayWill makes the Will due after its Will Delay Interval.
func (s *Session) delayWill(now time.Time, fx *Effects) {
	w := *s.will
	w.DueAt = now.Add(seconds(w.DelaySeconds))
	s.SetWill(&w, fx)
}

// TakeDueWill removes and returns the Will if its Will Delay Interval has passed, for
// it to be published [MQTT-3.1.2-8] [MQTT-3.1.2-10]; nil: none is due.
//
// The removal is to be committed soon, and with what publishing the Will writes.
func (s *Session) TakeDueWill(now time.Time, fx *Effects) *Will {
	w := s.will
	if w == nil || w.DueAt.IsZero() || now.Before(w.DueAt) {
		return nil
	}
	s.SetWill(nil, fx)
	return w
}

// HoldsKeptWill reports whether what is stored is a Will and nothing else, of a Session
// that was not Durable and has ended with the last process: see Opening.KeepWill.
func (l *Loaded) HoldsKeptWill() bool {
	return l.Record.Connected && l.Record.ExpirySeconds == 0 && l.Will != nil &&
		len(l.Subscriptions) == 0 && len(l.State) == 0 && l.NextSeq == 0
}

// RestoreKeptWill returns a Session that has nothing but the Will of l, which
// HoldsKeptWill. It is not resumed: all that is to become of it is End.
func RestoreKeptWill(l *Loaded, limits *Limits) *Session {
	s := New(l.Record.ID, l.Record.ClientID, l.Record.UserName, false, limits)
	s.version, s.will, s.willKept = l.Record.Version, l.Will, true
	return s
}
