package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Handshakes is a storm of clients that finish a TLS handshake, say nothing, and close.
type Handshakes struct {
	Connections int  `default:"10000" placeholder:"N" help:"Handshakes to make."`
	Parallel    int  `default:"32" placeholder:"N" help:"How many at the same time."`
	Resumed     bool `help:"Clients resume a TLS session, as those do that come again; else each handshake is a full one."`
}

// Validate checks the settings.
func (o *Handshakes) Validate() error {
	return (&Connect{Connections: o.Connections, Parallel: o.Parallel}).Validate()
}

// Measure implements Scenario.
func (o *Handshakes) Measure(ctx context.Context, r *Runner) (*Result, error) {
	res := r.result("handshakes")
	res.setup("connections", float64(o.Connections))
	res.setup("parallel", float64(o.Parallel))
	config, err := r.tlsConfig()
	if err != nil {
		return nil, err
	}
	u, err := r.address()
	if err != nil {
		return nil, err
	}
	config.ServerName = u.Hostname()
	if o.Resumed {
		res.setup("resumed", 1)
		config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	}
	s := &shaking{r, u.Host, config}
	// The first gets the ticket that the others resume with; and a broker that cannot be reached
	// is an error and not a failure.
	if _, _, err := s.shake(ctx, -1); err != nil {
		return nil, err
	}
	return measureStorm(ctx, r, res, "handshake", o.Connections, o.Parallel, func(ctx context.Context, i int) (time.Duration, error) {
		took, resumed, err := s.shake(ctx, i)
		if err == nil && resumed != o.Resumed {
			err = errors.New("the broker did not resume a TLS session")
		}
		return took, err
	})
}

// shaking makes connections that are TLS only.
type shaking struct {
	r      *Runner
	host   string
	config *tls.Config
}

// shake makes one, and waits until the broker has closed it too: then its side of the handshake
// is done, and its ticket has come. took is for TCP and TLS.
func (s *shaking) shake(ctx context.Context, source int) (took time.Duration, resumed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.r.Timeout)
	defer cancel()
	var d net.Dialer
	if local := s.r.source(source); local != nil {
		d.LocalAddr = local
	}
	began := time.Now()
	nc, err := (&tls.Dialer{NetDialer: &d, Config: s.config}).DialContext(ctx, "tcp", s.host)
	if err != nil {
		return 0, false, err
	}
	defer nc.Close()
	took = time.Since(began)
	c := nc.(*tls.Conn)
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return 0, false, err
	}
	if err := c.CloseWrite(); err != nil {
		return 0, false, err
	}
	if _, err := io.Copy(io.Discard, c); err != nil {
		return 0, false, fmt.Errorf("after the handshake: %w", err)
	}
	return took, c.ConnectionState().DidResume, nil
}
