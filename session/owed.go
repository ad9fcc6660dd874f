package session

// Owes reports whether it is stored, or is to be, what the subscription with this filter
// is owed of the retained messages.
func (s *Session) Owes(filter string) bool {
	if s.deliverState == nil { // it is not Durable
		return false
	}
	_, ok := s.owed[filter]
	return ok
}

// Owe notes what a subscription has still to be sent of the retained messages, each time
// that changes.
//
// Of a Durable Session it is written lazily, and with the entries that were just queued
// for it: a crash makes the Client get nothing again, and miss nothing of the rest.
func (s *Session) Owe(filter string, o Owed, fx *Effects) {
	if !s.durable {
		return
	}
	first := !s.Owes(filter)
	if first {
		if s.owed == nil {
			s.owed = make(map[string]struct{})
		}
		s.owed[filter] = struct{}{}
	}
	r := fx.rows(Lazily)
	r.Owed = append(r.Owed, OwedRow{Filter: filter, Owed: o, First: first})
}

// Disown notes that nothing is owed to a subscription any more.
//
// What Owe wrote is removed lazily, and never written if it is of the same group.
func (s *Session) Disown(filter string, fx *Effects) {
	if !s.Owes(filter) {
		return
	}
	if delete(s.owed, filter); len(s.owed) == 0 {
		s.owed = nil
	}
	r := fx.rows(Lazily)
	r.Owed = append(r.Owed, OwedRow{Filter: filter})
}

// restoreOwed brings back what is stored for subscriptions that there are: of a damaged
// store some may not have been recovered.
func (s *Session) restoreOwed(owed map[string]Owed) {
	for filter := range owed {
		if s.subscriptions[filter] == nil {
			continue
		}
		if s.owed == nil {
			s.owed = make(map[string]struct{})
		}
		s.owed[filter] = struct{}{}
	}
}
