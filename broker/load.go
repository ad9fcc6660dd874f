package broker

import (
	"fmt"
	"sync"
	"time"

	"github.com/x0a1b/promptmq/broker/commit"
	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/session"
)

// A loader gathers the Sessions of a store. If there are two of one Client Identifier,
// the older one has ended and was not yet removed: it is stale.
type loader struct {
	byClient map[string]*session.Loaded
	stale    []*session.Loaded
}

// add takes one Session of the store. It returns no error.
func (l *loader) add(s *session.Loaded) error {
	other := l.byClient[s.Record.ClientID]
	switch {
	case other == nil:
	case other.Record.ID > s.Record.ID:
		l.stale = append(l.stale, s)
		return nil
	default:
		l.stale = append(l.stale, other)
	}
	l.byClient[s.Record.ClientID] = s
	return nil
}

// load brings back what the store holds, and gives Sessions, Wills and retained messages
// their times: Start then fires what is due. Wills whose connection ended with the last
// process become due after WillGrace. It returns when what it changed is on disk.
func (b *Broker) load() error {
	start := b.clock.Now()
	now := start.Truncate(time.Millisecond) // as times are stored, so that what is due now is due before anybody is served
	l := loader{byClient: make(map[string]*session.Loaded)}
	// Nothing may be committed while Load reads.
	b.commits.Enter()
	unlock := sync.OnceFunc(b.commits.Leave)
	defer unlock()
	var all []*retainedMessage
	shares := make(retainedShares)
	err := b.store.Load(l.add, func(_ string, r *session.RetainedWrite) error {
		all = append(all, &retainedMessage{message: r.Message, version: r.Version, owner: shares.of(r.UserName)})
		return nil
	})
	if err != nil {
		return fmt.Errorf("loading the store: %w", err)
	}
	b.restoreRetained(all, shares)
	wills := 0
	var w pending // only its Effects: nothing is sent
	for _, s := range l.byClient {
		if s.HoldsKeptWill() {
			b.restoreWill(s, now)
			wills++
			continue
		}
		if err := b.restoreSession(s, now, &w); err != nil {
			return fmt.Errorf("loading the session of client %q: %w", notice.Shown(s.Record.ClientID), err)
		}
	}
	for _, s := range l.stale { // now that all members of Shared Subscriptions are there
		if err := b.endStale(s, now, &w); err != nil {
			return fmt.Errorf("loading an ended session of client %q: %w", notice.Shown(s.Record.ClientID), err)
		}
	}
	unlock()
	b.log.Info("store loaded", "sessions", len(l.byClient)-wills, "wills", wills, "retained", len(all), "took", b.clock.Now().Sub(start))
	return b.commits.Flush()
}

// endStale does the rest for a Session that had ended when the last process ended: it
// hands over its messages of Shared Subscriptions, and removes it from the store. The
// caller holds the gate.
func (b *Broker) endStale(l *session.Loaded, now time.Time, w *pending) error {
	s, err := session.Restore(l, &b.limits)
	if err != nil {
		return err
	}
	if !s.LeavesOrphans() {
		w.fx.Reset()
		s.End(now, &w.fx)
		b.commits.Merge(new(commit.Part), s, &w.fx, nil)
		return nil
	}
	cl := b.registry.acquire(b, s.ClientID)
	cl.mu.Unlock()
	b.background.Add(1)
	go b.endSpilled(s, cl, 0)
	return nil
}

// restoreSession makes the Client of a stored Session. The caller holds the gate.
func (b *Broker) restoreSession(l *session.Loaded, now time.Time, w *pending) error {
	s, err := session.Restore(l, &b.limits)
	if err != nil {
		return err
	}
	b.router.mu.Lock()
	b.retained.mu.Lock()
	cl := b.registry.acquire(b, s.ClientID)
	cl.sess = s
	cl.hints.setDurable(true)
	cl.hints.setFull(s.FullBy())
	b.sessions.Add(1)
	b.countNames(s, 1)
	for sub := range s.Subscriptions() {
		b.router.subscribeLocked(cl, binding{sub: sub, sess: s.ID})
	}
	cl.restoreOwedLocked(l.Owed)
	b.retained.mu.Unlock()
	b.router.mu.Unlock()
	b.sessionBytes.Add(willBytes(s))
	w.fx.Reset()
	expiresAt := s.Resume(&l.Record, b.options().MaxSessionExpirySeconds, now, &w.fx)
	cl.applyLocked(now, w)
	stored := cl.storedLocked()
	stored.expiresAt, stored.leftAt = dueAt(expiresAt), leftAt(&l.Record, now)
	cl.scheduleLocked()
	cl.mu.Unlock()
	return nil
}

// leftAt is when the connection of a stored Session ended, as in stored.leftAt.
func leftAt(r *session.Record, now time.Time) moment {
	if r.Connected || r.ExpiresAt.IsZero() {
		return -momentOf(now)
	}
	return momentOf(r.ExpiresAt.Add(-time.Duration(r.ExpirySeconds) * time.Second))
}
