package main

import (
	"context"
	"sync"
	"time"

	"github.com/x0a1b/promptmq/broker/login"
	"github.com/x0a1b/promptmq/broker/notice"
	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/config"
	"github.com/x0a1b/promptmq/metrics"
)

// sources are who is asked about Clients, beside the users and passwords that are known here:
// tokens, and a directory over HTTP.
type sources struct {
	counters *metrics.Broker
	notices  *notice.Log
	set      func(sources ...login.Source)

	mu       sync.Mutex // guards the following
	tokens   *login.Tokens
	callback *login.Callback
	asked    login.CallbackOptions // of callback
	stop     context.CancelFunc    // what tokens fetches
}

// newSources has set called with the sources when there are some, and when they change.
func newSources(counters *metrics.Broker, notices *notice.Log, set func(sources ...login.Source)) *sources {
	s := &sources{counters: counters, notices: notices, set: set, stop: func() {}}
	counters.Gauge("promptmq_callback_breaker_open", s.breakerOpen)
	return s
}

// part reads the files that the configuration names, and makes of it what is asked.
func (s *sources) part(next *config.Config) (take func(), faults config.Errors) {
	tokens, wrong := s.newTokens(next)
	callback, wrongCallback := s.newCallback(next)
	faults = faultsOf(next, append(wrong, wrongCallback...))
	return func() { s.take(tokens, callback, next.Callback) }, faults
}

// faultsOf says where the faults of a source stand: in a file that a key names, or where the
// key stands.
func faultsOf(c *config.Config, found login.SettingErrors) (faults config.Errors) {
	for _, f := range found {
		if f.File != "" {
			faults = append(faults, faultIn(f.File, f.Key, f.Err))
		} else {
			faults = append(faults, c.Fault(f.Key, f.Err.Error()))
		}
	}
	return faults
}

// absolute is config.Absolute, or "".
func absolute(name string) string {
	if name == "" {
		return ""
	}
	return config.Absolute(name)
}

func (s *sources) newTokens(c *config.Config) (*login.Tokens, login.SettingErrors) {
	if !c.Tokens.Configured() {
		return nil, nil
	}
	o := c.Tokens
	o.KeyFile, o.SecretFile, o.CAFile = absolute(o.KeyFile), absolute(o.SecretFile), absolute(o.CAFile)
	return login.NewTokens(o, time.Now, func(err error) {
		if err == nil {
			s.counters.KeySetFetches("ok").Inc()
			return
		}
		s.counters.KeySetFetches("failed").Inc()
		s.notices.Warn("key set", "", "the keys of tokens could not be fetched; those that there are stay", trouble.KeySet, "key", "auth.jwt.jwks-url", "error", err)
	})
}

// newCallback returns the one that there is if nothing about it has changed: its breaker and
// what it remembers stay.
func (s *sources) newCallback(c *config.Config) (*login.Callback, login.SettingErrors) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Callback.URL == "" {
		return nil, nil
	}
	if s.callback != nil && s.asked == c.Callback && c.Callback.CAFile == "" {
		return s.callback, nil
	}
	o := c.Callback
	o.CAFile = absolute(o.CAFile)
	return login.NewCallback(o, time.Now, login.CallbackEvents{
		Asked: func(outcome string) { s.counters.CallbackLogins(outcome).Inc() },
		Failed: func(err error, opened bool) {
			text := "a login could not be asked about"
			if opened {
				text = "logins are not asked about for a while: there were too many failures in a row"
			}
			s.notices.Warn("callback", "", text, trouble.LoginCallback, "key", "auth.http.url", "error", err)
		},
	})
}

func (s *sources) take(tokens *login.Tokens, callback *login.Callback, asked login.CallbackOptions) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
	s.stop = func() {}
	var list []login.Source
	if tokens != nil {
		tokens.Inherit(s.tokens)
		var ctx context.Context
		ctx, s.stop = context.WithCancel(context.Background())
		go tokens.Run(ctx)
		list = append(list, tokens)
	}
	if callback != nil {
		list = append(list, callback)
	}
	s.tokens, s.callback, s.asked = tokens, callback, asked
	s.set(list...)
}

// close ends what is fetched.
func (s *sources) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
}

func (s *sources) breakerOpen() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.callback != nil && s.callback.Open() {
		return 1
	}
	return 0
}

// filesOfSources is how many files may be open to ask who Clients are: connections, and what
// it takes to look their names up.
func filesOfSources(c *config.Config) (n int) {
	const lookUp = 4
	if c.Callback.URL != "" {
		n += c.Callback.Concurrency + lookUp
	}
	if c.Tokens.KeysURL != "" {
		n += 1 + lookUp
	}
	return n
}
