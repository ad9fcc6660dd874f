package bench

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/x0a1b/promptmq/codec"
)

// A Runner says which broker is measured and how it is watched.
type Runner struct {
	URL          string        `name:"url" default:"tcp://127.0.0.1:1883" placeholder:"URL" help:"Broker: tcp:// or tls://host:port, ws:// or wss://host:port/path for WebSocket, or unix:///path of a Unix socket."`
	CAFile       string        `name:"ca-file" placeholder:"FILE" help:"Authorities of the broker's certificate, in PEM, instead of those of the system."`
	Protocol     string        `enum:"5,3.1.1" default:"5" help:"MQTT version: 5 or 3.1.1."`
	UserName     string        `name:"user-name" aliases:"username" short:"u" placeholder:"NAME" help:"User Name of every connection."`
	Password     string        `aliases:"pw" short:"P" xor:"password" placeholder:"TEXT" help:"Password of every connection, which others on the machine can see while the command runs: rather use --password-file."`
	PasswordFile string        `name:"password-file" xor:"password" placeholder:"FILE" help:"File with the password."`
	Timeout      time.Duration `default:"10s" help:"How long a connection may take, and how long nothing may arrive before the run is given up."`
	PID          int           `name:"pid" xor:"process" placeholder:"N" help:"The broker's process on this machine: adds its CPU time and memory from /proc."`
	PIDFile      string        `name:"pid-file" xor:"process" placeholder:"FILE" help:"The same, from a file that is read anew after a restart of the broker."`
	Durability   string        `default:"unknown" placeholder:"TEXT" help:"What an acknowledgement of this broker promises; only put beside the result."`

	// Progress is called with the state of the run, several times a second;
	// nil: nobody watches.
	Progress func(text string) `kong:"-"`
}

// errNothingMeasured fails a run that was too short for this broker.
var errNothingMeasured = errors.New("no message was delivered while the run was measured")

// A Scenario is one kind of measurement with its settings.
type Scenario interface {
	// Measure runs it. A broker that refuses, drops or stalls gives a Result
	// with a Failure; an error is returned if there could be no measurement.
	Measure(ctx context.Context, r *Runner) (*Result, error)
}

// Validate checks what a command line may have wrong.
func (r *Runner) Validate() error {
	if _, err := r.address(); err != nil {
		return err
	}
	if _, err := r.tlsConfig(); err != nil {
		return err
	}
	if r.PasswordFile != "" {
		text, err := os.ReadFile(r.PasswordFile)
		if err != nil {
			return fmt.Errorf("--password-file: %w", err)
		}
		r.Password = strings.TrimRight(string(text), "\r\n")
	}
	if r.Timeout <= 0 {
		return fmt.Errorf("--timeout %v: must be positive", r.Timeout)
	}
	if r.PID < 0 {
		return fmt.Errorf("--pid %d: must be positive", r.PID)
	}
	if r.watched() {
		if _, err := r.usage(); err != nil {
			return err
		}
	}
	return nil
}

// address is the broker's URL, taken apart.
func (r *Runner) address() (*url.URL, error) {
	u, err := url.Parse(r.URL)
	if err != nil {
		return nil, fmt.Errorf("--url %s: %w", r.URL, errors.Unwrap(err))
	}
	switch {
	case u.Scheme == "unix" && u.Host == "" && u.Path != "":
		return u, nil
	case u.Scheme == "unix":
		return nil, fmt.Errorf("--url %s: must be unix:// and the absolute path of a socket", r.URL)
	case !slices.Contains([]string{"tcp", "tls", "ws", "wss"}, u.Scheme):
		return nil, fmt.Errorf("--url %s: must begin with tcp://, tls://, ws://, wss:// or unix://", r.URL)
	}
	if u.Hostname() == "" || u.Port() == "" {
		return nil, fmt.Errorf("--url %s: must name host and port", r.URL)
	}
	return u, nil
}

// ValidateTLS checks that connections are over TLS.
func (r *Runner) ValidateTLS() error {
	u, err := r.address()
	if err == nil && u.Scheme != "tls" && u.Scheme != "wss" {
		err = fmt.Errorf("--url %s: must begin with tls:// or wss://: there is no other handshake", r.URL)
	}
	return err
}

// tlsConfig is that of connections over TLS.
func (r *Runner) tlsConfig() (*tls.Config, error) {
	if r.CAFile == "" {
		return &tls.Config{}, nil
	}
	pem, err := os.ReadFile(r.CAFile)
	if err != nil {
		return nil, fmt.Errorf("--ca-file: %w", err)
	}
	c := &tls.Config{RootCAs: x509.NewCertPool()}
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--ca-file %s: there is no certificate in PEM in it", r.CAFile)
	}
	return c, nil
}

func (r *Runner) version() codec.Version {
	if r.Protocol == "3.1.1" {
		return codec.Version311
	}
	return codec.Version5
}

func (r *Runner) result(scenario string) *Result {
	return &Result{Scenario: scenario, URL: r.URL, Protocol: r.Protocol, Durability: r.Durability}
}

func (r *Runner) progress(text string, args ...any) {
	if r.Progress != nil {
		r.Progress(fmt.Sprintf(text, args...))
	}
}

// mayOpen fails if the system does not let this process hold so many
// connections. The runtime has raised the limit as far as it may.
func mayOpen(connections int) error {
	const others = 50 // files that a run needs beside
	if limit := openFilesMax(); limit > 0 && connections+others > limit {
		return fmt.Errorf("%d connections need as many open files, and the limit is %d (ulimit -Hn); the broker needs them too", connections, limit)
	}
	return nil
}

// name returns a topic or Client Identifier prefix that no other run uses.
func (r *Runner) name() string { return "bench" + rand.Text()[:8] }

// source returns the n-th local address for a connection, nil for the one the
// system chooses. The loopback network has 16 million of them, and a broker is
// reached from each over 28,000 ports only.
func (r *Runner) source(n int) *net.TCPAddr {
	u, err := r.address()
	if err != nil || n < 0 {
		return nil
	}
	host := net.ParseIP(u.Hostname()).To4()
	if u.Hostname() == "localhost" {
		host = net.IPv4(127, 0, 0, 1).To4()
	}
	if host == nil || !host.IsLoopback() || !manyLoopbacks {
		return nil
	}
	n %= 250
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+n))}
}

// forget ends Sessions that outlived their connections, so that a run leaves
// nothing behind, also when it failed or was interrupted.
func (r *Runner) forget(ctx context.Context, ids []string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.Timeout)
	defer cancel()
	for _, id := range ids {
		c, err := r.connect(ctx, connecting{id: id, source: -1})
		if err != nil {
			return // the broker is gone, and will not come back for the others
		}
		c.leave()
	}
}
