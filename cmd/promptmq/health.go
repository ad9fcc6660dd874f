package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/x0a1b/promptmq/broker/admin"
	"github.com/x0a1b/promptmq/config"
	"github.com/x0a1b/promptmq/store"
)

type healthCommand struct {
	place
	MetricsBind string        `name:"metrics-bind" placeholder:"ADDRESS" xor:"place" help:"Address of the metrics listener to ask, here or elsewhere, and nothing else."`
	Live        bool          `help:"Only whether the process answers, as /health does, not whether it serves clients."`
	Timeout     time.Duration `default:"5s" help:"How long an answer may take."`
}

// probeBytesMax is more than a probe answers.
const probeBytesMax = 64 << 10

// errNoProbe says that nobody answers on the metrics listener who is a broker.
var errNoProbe = errors.New("no broker answers")

// Run implements the command. What is wrong is said on one line, with code 1 whatever it is: the
// health check of a container knows no other.
func (c *healthCommand) Run() error {
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	err := c.probe(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("there was no answer within %v", c.Timeout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "promptmq: "+strings.ReplaceAll(err.Error(), "\n", "; "))
		return errLogged
	}
	word := "ready"
	if c.Live {
		word = "alive"
	}
	_, err = fmt.Println(word)
	return err
}

// probe asks the broker that is named: what names one alone is asked alone.
func (c *healthCommand) probe(ctx context.Context) error {
	if c.MetricsBind != "" {
		return c.probeMetrics(ctx, c.MetricsBind)
	}
	if a, err := c.elsewhere(c.DataDir != ""); a != nil || err != nil {
		return c.probeAPI(ctx, a, err)
	}
	if c.DataDir != "" {
		return c.probeSocket(ctx, config.Absolute(c.DataDir))
	}
	cfg, err := c.load()
	if err != nil {
		return err
	}
	err = errNoProbe
	if _, port, _ := net.SplitHostPort(cfg.Metrics.Bind); cfg.Metrics.Enabled && port != "0" {
		if err = c.probeMetrics(ctx, cfg.Metrics.Bind); err == nil && stopped(ctx, cfg.Store.DataDir) {
			return fmt.Errorf("none runs on %s: what answers on %s is another broker", cfg.Store.DataDir, cfg.Metrics.Bind)
		}
		if !errors.Is(err, errNoProbe) {
			return err
		}
	}
	// The listener may be set in a way that is not seen from here, as by flags of the server.
	if other := c.probeSocket(ctx, cfg.Store.DataDir); !errors.Is(other, admin.ErrNobody) {
		return other
	}
	return fmt.Errorf("%w, and none runs on %s: say where one does with --config, --data-dir, --metrics-bind or --url", err, cfg.Store.DataDir)
}

// stopped reports whether there is a database of which it can be said that no broker has it.
func stopped(ctx context.Context, dir string) bool {
	if !store.Exists(dir) {
		return false
	}
	if _, err := dial(ctx, dir); !errors.Is(err, admin.ErrNobody) {
		return false
	}
	_, err := store.LookStopped(dir) // the socket alone may be missing
	return err == nil
}

func (c *healthCommand) probeSocket(ctx context.Context, dir string) error {
	a, err := dial(ctx, dir)
	if errors.Is(err, admin.ErrNobody) {
		return nobodyRuns{dir}
	}
	return c.probeAPI(ctx, a, err)
}

func (c *healthCommand) probeAPI(ctx context.Context, a *administered, err error) error {
	return doWith(ctx, a, err, func(ctx context.Context, a *administered) error {
		health, err := admin.Call[admin.Health](ctx, a.Client, http.MethodGet, "/health", nil)
		if err == nil && !health.Ready && !c.Live {
			err = fmt.Errorf("not ready: %s", health.NotReady)
		}
		return err
	})
}

// probeMetrics asks the metrics listener at an address that may be that of all interfaces.
func (c *healthCommand) probeMetrics(ctx context.Context, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("--metrics-bind: %s is no address such as 127.0.0.1:9090", address)
	}
	hosts := []string{host}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		hosts = []string{"127.0.0.1", "::1"}
	}
	var first error
	for _, host := range hosts {
		if err := c.probeAt(ctx, net.JoinHostPort(host, port)); !errors.Is(err, errNoProbe) {
			return err
		} else if first == nil {
			first = err
		}
	}
	return first
}

// probeAt returns an errNoProbe if what is there is no broker: another program may have the port.
func (c *healthCommand) probeAt(ctx context.Context, address string) error {
	path, want := "/ready", "ready"
	if c.Live {
		path, want = "/health", "ok"
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r) // whatever proxy the environment names
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%w on %s: %w", errNoProbe, address, err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	var answer struct{ Status, Reason string }
	text, err := io.ReadAll(io.LimitReader(resp.Body, probeBytesMax))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil || json.Unmarshal(text, &answer) != nil || answer.Status == "":
		return fmt.Errorf("%w on %s: what listens there is another program", errNoProbe, address)
	case resp.StatusCode != http.StatusOK || answer.Status != want:
		return fmt.Errorf("%s: %s", escaped(answer.Status), escaped(answer.Reason))
	}
	return nil
}
