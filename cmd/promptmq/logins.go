package main

import (
	"log/slog"

	"github.com/x0a1b/promptmq/broker/login"
	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/config"
	"github.com/x0a1b/promptmq/metrics"
)

// logins say who Clients are.
type logins struct {
	chain   *login.Chain
	notices *notice.Log
}

// newLogins reads all that a configuration names for logins. close ends what it began.
func newLogins(cfg *config.Config, log *slog.Logger, counters *metrics.Broker) (*logins, error) {
	l := &logins{notices: notice.New(log, counters)}
	l.chain = login.New(cfg.Login, l.notices, counters)
	counters.Gauge("promptmq_login_hashes_waiting", func() float64 { return float64(l.chain.HashesWaiting()) })
	counters.Gauge("promptmq_addresses_banned", func() float64 { return float64(len(l.chain.Bans())) })
	take, faults := passwords(l.chain)(cfg)
	if len(faults) > 0 {
		l.close()
		return nil, faults
	}
	take()
	return l, nil
}

func (l *logins) close() { l.notices.Close() }
