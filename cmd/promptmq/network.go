package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/broker/login"
	"github.com/x0a1b/promptmq/broker/trouble"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/config"
)

// A network is the API over the network.
type network struct{ web *admin.Web }

// part is what there is of it to reload: the tokens. The certificate is looked at by itself.
func (n *network) part(next *config.Config) (take func(), faults config.Errors) {
	tokens, fault := readTokens(next)
	if fault != nil {
		faults = append(faults, fault)
	}
	if next.Admin.TLSCert != "" && next.Admin.TLSKey != "" {
		if err := link.CheckPair(config.Absolute(next.Admin.TLSCert), config.Absolute(next.Admin.TLSKey)); err != nil {
			faults = append(faults, next.Fault("admin.tls-cert", err.Error()))
		}
	}
	return func() { n.web.SetTokens(tokens) }, faults
}

// readTokens reads the file that a configuration names, if it does.
func readTokens(c *config.Config) ([]admin.Token, *config.Error) {
	const key = "admin.tokens-file"
	if c.Admin.TokensFile == "" {
		return nil, nil
	}
	name := config.Absolute(c.Admin.TokensFile)
	text, err := login.ReadWhole(name, admin.TokensFileBytes)
	if err != nil {
		return nil, c.Fault(key, err.Error())
	}
	tokens, err := admin.ParseTokens(name, text)
	if err != nil {
		return nil, faultIn(name, key, err)
	}
	return tokens, nil
}

// serve opens the listener, unless there is none, until the returned function is called.
func (n *network) serve(cfg *config.Config, log *slog.Logger, passing *upgrades) (stop func(), err error) {
	if cfg.Admin.Bind == "" {
		return func() {}, nil
	}
	var sockets *link.Sockets
	if passesAdmin(cfg) {
		sockets = cfg.Broker.Sockets
	}
	ln, err := sockets.Listen(adminListener, "admin.bind", cfg.Admin.Bind)
	if err != nil {
		return nil, err
	}
	if passesAdmin(cfg) {
		passing.passes(adminListener, ln)
	}
	var conf *tls.Config
	end := func() {}
	if cfg.Admin.TLSCert != "" {
		pair, err := link.OpenPair(config.Absolute(cfg.Admin.TLSCert), config.Absolute(cfg.Admin.TLSKey), log, "admin")
		if err != nil {
			_ = ln.Close() // nobody was told of it
			return nil, config.Errors{cfg.Fault("admin.tls-cert", err.Error())}
		}
		conf, end = pair.Config(), pair.Close
	}
	n.web.Serve(ln, conf, newHTTPErrorLog(log, "admin"))
	log.Info("listening", "listener", "admin", "addr", ln.Addr().String(), "tls", conf != nil)
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), administrationEndsWithin)
		defer cancel()
		if err := n.web.Close(ctx); err != nil {
			log.Warn("a request of the API was cut off", trouble.RequestCutOff, "error", err)
		}
		end()
	}, nil
}

// An operators has the users of the store who may administer the broker.
type operators struct {
	stored *accounts
	chain  *login.Chain
}

// SignIn implements admin.Accounts. Only the password of a user of the store is one: what files and
// other sources say of somebody with the same name is for MQTT.
func (o *operators) SignIn(ctx context.Context, user, password string, from netip.Addr) error {
	who, err := o.chain.Authenticate(ctx, &access.Attempt{User: user, Password: []byte(password), HasUser: true, HasPassword: true, Address: from, Listener: "admin"})
	if r, refused := errors.AsType[*access.Refusal](err); refused {
		return refusalOf(r)
	}
	if err != nil || who.User != user || who.Method != access.ByPassword || o.stored.allUsers()[user] == nil {
		return wrongPassword()
	}
	return nil
}

func wrongPassword() error {
	return &admin.Error{Text: "user name or password is wrong", Status: http.StatusUnauthorized}
}

// refusalOf says why a login was refused, but not what of it was wrong.
func refusalOf(r *access.Refusal) error {
	switch r.Reason {
	case codec.ConnectionRateExceeded:
		return &admin.Error{Text: "too many logins failed: wait a while", Status: http.StatusTooManyRequests}
	case codec.QuotaExceeded, codec.ServerUnavailable:
		return &admin.Error{Text: "too many logins wait, or who knows the password does not answer", Status: http.StatusServiceUnavailable}
	}
	return wrongPassword()
}

// Account implements admin.Accounts.
func (o *operators) Account(user string) (a admin.Account, found bool) {
	u := o.stored.allUsers()[user]
	if u == nil || u.Disabled || u.Role == "" {
		return a, false
	}
	return admin.Account{Role: admin.Role(u.Role), Changed: u.Changed.Truncate(time.Millisecond)}, true
}

// Banned implements admin.Accounts.
func (o *operators) Banned(from netip.Addr) bool { return o.chain.Banned(from) }

// Failed implements admin.Accounts.
func (o *operators) Failed(from netip.Addr, token string) { o.chain.Failed(from, []byte(token)) }
