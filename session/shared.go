package session

// Orphans returns, of stored entries read in order after the Session has ended,
// those of Shared Subscriptions that another member may get: what is not done
// and, with QoS 2, cannot have been sent. [MQTT-4.8.2-4] [MQTT-4.8.2-5]
func (s *Session) Orphans(entries []Entry) []Entry {
	var orphans []Entry
	for _, e := range entries {
		if s.settled(e.Seq) {
			continue
		}
		if e.Share != "" && !(e.Seq < s.sent && e.QoS == 2) {
			orphans = append(orphans, e)
		}
	}
	return orphans
}

// TakeShared removes and returns the entries of these Shared Subscriptions
// (nil: of any) that may still go to another member: those never sent and,
// if sentToo, the QoS 1 messages that were sent and not acknowledged. A QoS 2
// message whose delivery has started stays. [MQTT-4.8.2-4] [MQTT-4.8.2-5]
// Only entries in memory are seen. With sentToo no connection is attached.
func (s *Session) TakeShared(shares map[string]bool, sentToo bool, fx *Effects) []Entry {
	if s.deliverState == nil {
		return nil
	}
	var taken []Entry
	for i := 0; i < len(s.queue); i++ {
		q := &s.queue[i]
		if q.Message == nil || q.Share == "" || (shares != nil && !shares[q.Share]) {
			continue
		}
		if q.sentBefore && (q.QoS == 2 || !sentToo) {
			continue
		}
		taken = append(taken, q.Entry)
	}
	for _, e := range taken {
		s.finish(s.window.index(e.Seq), fx)
	}
	s.check()
	return taken
}
