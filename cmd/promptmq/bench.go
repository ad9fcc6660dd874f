package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/x0a1b/promptmq/bench"
)

type benchCommand struct {
	Throughput throughputCommand `cmd:"" help:"Messages per second, publishers to subscribers in groups."`
	FanIn      fanInCommand      `cmd:"" help:"The same, many publishers to one subscriber."`
	FanOut     fanOutCommand     `cmd:"" help:"The same, one publisher to many subscribers."`
	Shared     sharedCommand     `cmd:"" help:"The same, to a shared subscription: each message to one of its subscribers."`
	//lint:ignore SA5008 kong takes set more than once
	Latency latencyCommand `cmd:"" set:"publishers=10" set:"subscribers=10" set:"rate=5000" help:"How long messages take at an offered rate, from the moment at which they should have been sent."`
	//lint:ignore SA5008 kong takes set more than once
	Quiet      quietCommand      `cmd:"" set:"publishers=4000" set:"subscribers=4000" set:"rate=4000" help:"The same over thousands of connections that each have a message now and then."`
	Connect    connectCommand    `cmd:"" help:"A storm of connections: CPU time of each."`
	Handshakes handshakesCommand `cmd:"" help:"A storm of TLS handshakes, full or resumed: CPU time of each."`
	Idle       idleCommand       `cmd:"" help:"Many connections that say nothing: memory of each."`
	Filters    filtersCommand    `cmd:"" help:"Many subscriptions, one in ten with wildcards: CPU time of a subscribe and of a publish."`
	Retained   retainedCommand   `cmd:"" help:"A flood of retained messages, and one subscriber that fetches them all."`
	Durable    durableCommand    `cmd:"" help:"Queues for absent sessions, perhaps over a kill of the broker: what was acknowledged, and what of it was lost."`
	Peers      peersCommand      `cmd:"" help:"Compare brokers in one sitting: PromptMQ, mosquitto if installed, the relay and others."`
	Listeners  listenersCommand  `cmd:"" help:"Compare the kinds of listeners of PromptMQ in one sitting: tcp, unix, ws, tls and wss."`
	Relay      relayCommand      `cmd:"" help:"Start a relay that only forwards PUBLISH packets: the floor below which no broker can get."`
}

// errFailed is returned when the broker failed a run, which the Result says.
var errFailed = errors.New("the run failed")

// benchFlags are the flags of every scenario.
type benchFlags struct {
	bench.Runner `embed:""`
	JSON         bool `name:"json" help:"Print one line of JSON instead of a table."`
}

// measure runs the scenario and prints its Result.
func (c *benchFlags) measure(s bench.Scenario) error {
	ctx, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer restore()
	if isTerminal(os.Stderr) {
		c.Progress = func(text string) { fmt.Fprintf(os.Stderr, "\r\x1b[K%s", text) }
	}
	res, err := s.Measure(ctx, &c.Runner)
	if c.Progress != nil {
		c.Progress("") // the line is empty for what follows
	}
	if err != nil {
		return err
	}
	if c.JSON {
		err = res.WriteJSON(os.Stdout)
	} else {
		err = res.WriteTable(os.Stdout)
	}
	if err == nil && res.Failure != "" {
		err = errFailed
	}
	return err
}

// isTerminal reports whether somebody watches f.
func isTerminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "" && os.Getenv("TERM") != "dumb"
}

type throughputCommand struct {
	benchFlags       `embed:""`
	bench.Throughput `embed:""`
}

// Validate checks the flags.
func (c *throughputCommand) Validate() error {
	return errors.Join(c.Runner.Validate(), c.Throughput.Validate())
}

// Run implements the command.
func (c *throughputCommand) Run() error {
	return c.measure(&c.Throughput)
}

type fanInCommand struct {
	throughputCommand `embed:""`
}

// Validate sets the pattern and checks the flags.
func (c *fanInCommand) Validate() error {
	c.Pattern = bench.FanIn
	return c.throughputCommand.Validate()
}

type fanOutCommand struct {
	throughputCommand `embed:""`
}

// Validate sets the pattern and checks the flags.
func (c *fanOutCommand) Validate() error {
	c.Pattern = bench.FanOut
	return c.throughputCommand.Validate()
}

type sharedCommand struct {
	throughputCommand `embed:""`
}

// Validate sets the pattern and checks the flags.
func (c *sharedCommand) Validate() error {
	c.Pattern = bench.Shared
	return c.throughputCommand.Validate()
}

type latencyCommand struct {
	benchFlags    `embed:""`
	bench.Latency `embed:""`
}

// Validate checks the flags.
func (c *latencyCommand) Validate() error {
	return errors.Join(c.Runner.Validate(), c.Latency.Validate())
}

// Run implements the command.
func (c *latencyCommand) Run() error { return c.measure(&c.Latency) }

type quietCommand struct {
	latencyCommand
}

// Run implements the command.
func (c *quietCommand) Run() error {
	c.Scenario = "quiet"
	return c.latencyCommand.Run()
}

type relayCommand struct {
	Bind string `default:"127.0.0.1:18830" placeholder:"ADDRESS" help:"host:port to listen on."`
}

// Run implements the command.
func (c *relayCommand) Run() error {
	relay, err := bench.ListenRelay(c.Bind)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "relay on %v: scenarios throughput, fan-in, fan-out, latency, quiet, connect and idle; no wildcards, no sessions\n", relay.Addr())
	ctx, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer restore()
	return relay.Serve(ctx)
}

type connectCommand struct {
	benchFlags    `embed:""`
	bench.Connect `embed:""`
}

// Validate checks the flags.
func (c *connectCommand) Validate() error {
	return errors.Join(c.Runner.Validate(), c.Connect.Validate())
}

// Run implements the command.
func (c *connectCommand) Run() error { return c.measure(&c.Connect) }

type idleCommand struct {
	benchFlags `embed:""`
	bench.Idle `embed:""`
}

// Validate checks the flags.
func (c *idleCommand) Validate() error { return errors.Join(c.Runner.Validate(), c.Idle.Validate()) }

// Run implements the command.
func (c *idleCommand) Run() error { return c.measure(&c.Idle) }

type filtersCommand struct {
	benchFlags    `embed:""`
	bench.Filters `embed:""`
}

// Validate checks the flags.
func (c *filtersCommand) Validate() error {
	return errors.Join(c.Runner.Validate(), c.Filters.Validate())
}

// Run implements the command.
func (c *filtersCommand) Run() error { return c.measure(&c.Filters) }

type retainedCommand struct {
	benchFlags     `embed:""`
	bench.Retained `embed:""`
}

// Validate checks the flags.
func (c *retainedCommand) Validate() error {
	return errors.Join(c.Runner.Validate(), c.Retained.Validate())
}

// Run implements the command.
func (c *retainedCommand) Run() error { return c.measure(&c.Retained) }

type durableCommand struct {
	benchFlags    `embed:""`
	bench.Durable `embed:""`
}

// Validate checks the flags.
func (c *durableCommand) Validate() error {
	return errors.Join(c.Runner.Validate(), c.Durable.Validate())
}

// Run implements the command.
func (c *durableCommand) Run() error { return c.measure(&c.Durable) }

type handshakesCommand struct {
	benchFlags       `embed:""`
	bench.Handshakes `embed:""`
}

// Validate checks the flags.
func (c *handshakesCommand) Validate() error {
	return errors.Join(c.Runner.Validate(), c.ValidateTLS(), c.Handshakes.Validate())
}

// Run implements the command.
func (c *handshakesCommand) Run() error { return c.measure(&c.Handshakes) }

type peersCommand struct {
	bench.Peers `embed:""`
}

// Validate checks the flags.
func (c *peersCommand) Validate() error { return c.Peers.Validate() }

// Run implements the command.
func (c *peersCommand) Run() error { return compare(&c.Comparison, c.Compare) }

type listenersCommand struct {
	bench.Listeners `embed:""`
}

// Validate checks the flags.
func (c *listenersCommand) Validate() error { return c.Listeners.Validate() }

// Run implements the command.
func (c *listenersCommand) Run() error { return compare(&c.Comparison, c.Compare) }

// compare runs a Comparison of this binary and prints where its table is.
func compare(c *bench.Comparison, run func(context.Context) error) (err error) {
	if c.Binary, err = os.Executable(); err != nil {
		return err
	}
	c.Version = version()
	c.Log = func(text string, args ...any) { fmt.Fprintf(os.Stderr, text+"\n", args...) }
	ctx, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer restore()
	if err := run(ctx); err != nil {
		return err
	}
	_, err = fmt.Println(c.Out)
	return err
}
