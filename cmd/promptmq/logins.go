package main

import (
	"fmt"
	"log/slog"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/login"
	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/config"
	"github.com/x0a1b/promptmq/metrics"
	"github.com/x0a1b/promptmq/store"
)

// logins say who Clients are.
type logins struct {
	chain   *login.Chain
	sources *sources
	notices *notice.Log
}

// newLogins reads all that a configuration names for logins. close ends what it began.
func newLogins(cfg *config.Config, log *slog.Logger, counters *metrics.Broker) (*logins, error) {
	l := &logins{notices: notice.New(log, counters)}
	l.chain = login.New(cfg.Login, l.notices, counters)
	counters.Gauge("promptmq_login_hashes_waiting", func() float64 { return float64(l.chain.HashesWaiting()) })
	counters.Gauge("promptmq_addresses_banned", func() float64 { return float64(len(l.chain.Bans())) })
	l.sources = newSources(counters, l.notices, l.chain.SetSources)
	if err := l.open(cfg); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// open reads the files.
func (l *logins) open(cfg *config.Config) error {
	for _, p := range l.parts() {
		take, faults := p(cfg)
		if len(faults) > 0 {
			return faults
		}
		take()
	}
	return l.offerSCRAM(cfg.Store.DataDir)
}

// setUsers takes over the users of the store.
func (l *logins) setUsers(stored map[string]*store.User) error {
	users := make([]login.User, 0, len(stored))
	for name, s := range stored {
		u, err := loginUser(s)
		if err != nil {
			return fmt.Errorf("the user %q of the store: %w", name, err)
		}
		users = append(users, u)
	}
	l.chain.SetUsers(users)
	return nil
}

func loginUser(stored *store.User) (u login.User, err error) {
	u = login.User{Name: stored.Name, Groups: stored.Groups, Disabled: stored.Disabled}
	if stored.Hash != "" {
		if u.Hash, err = access.ParseHash(stored.Hash); err != nil {
			return u, err
		}
	}
	if stored.Scram != "" {
		keys, err := access.ParseSCRAMKeys(stored.Scram)
		if err != nil {
			return u, err
		}
		u.SCRAM = &keys
	}
	return u, nil
}

// parts are what there is to reload.
func (l *logins) parts() []part { return []part{passwords(l.chain), l.sources.part} }

func (l *logins) close() {
	l.sources.close()
	l.notices.Close()
}
