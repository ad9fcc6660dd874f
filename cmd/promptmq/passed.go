package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/config"
)

// The names of the listeners that are not of the broker, where sockets are passed.
const (
	metricsListener = "metrics"
	adminListener   = "admin"
)

// wantedListeners are those that a configuration asks for. The socket in the data directory is
// not among them: who connects to that waits for who has the directory.
func wantedListeners(cfg *config.Config) (all []link.Wanted) {
	for _, l := range cfg.Broker.AllListeners() {
		all = append(all, link.Wanted{Name: l.Name, Key: l.Key, Address: l.Address, Unix: l.Kind == link.KindUnix, Mode: l.Mode})
	}
	if cfg.Metrics.Enabled {
		all = append(all, link.Wanted{Name: metricsListener, Key: "metrics.bind", Address: cfg.Metrics.Bind})
	}
	if passesAdmin(cfg) {
		all = append(all, link.Wanted{Name: adminListener, Key: "admin.bind", Address: cfg.Admin.Bind})
	}
	return all
}

// passesAdmin reports whether the listener of the API can be passed: its name is its own.
func passesAdmin(cfg *config.Config) bool {
	return cfg.Admin.Bind != "" && !slices.ContainsFunc(cfg.Broker.Listeners, func(l link.ListenerConfig) bool { return l.Name == adminListener })
}

// firstPassed is the descriptor of the first socket that systemd passes.
const firstPassed = 3

// passedBySystemd returns the sockets of LISTEN_FDS, if they are for this process.
func passedBySystemd() ([]link.Socket, error) {
	pid, fds, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	if fds == "" || pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"} {
		_ = os.Unsetenv(name) // they are for this process alone
	}
	n, err := strconv.Atoi(fds)
	if err != nil || n < 0 || n > 1000 {
		return nil, fmt.Errorf("LISTEN_FDS=%q is no number of sockets", fds)
	}
	list := strings.Split(names, ":")
	sockets := make([]link.Socket, n)
	for i := range sockets {
		closeOnExec(uintptr(firstPassed + i))
		name := "unknown" // as sd_listen_fds_with_names(3) has it
		if i < len(list) && list[i] != "" {
			name = list[i]
		}
		sockets[i] = link.Socket{Name: name, Keep: true, File: os.NewFile(uintptr(firstPassed+i), name)}
	}
	return sockets, nil
}

// errPassed is returned for sockets that do not fit the configuration.
func errPassed(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("systemd passed sockets that do not fit the configuration; FileDescriptorName= of a socket unit has the name of a listener:\n%w", errors.Join(errs...))
}
