package main

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestBindMeansWhatItSays: 0.0.0.0 is IPv4, [::] is IPv6, and no host is both,
// for each listener; the log says which.
func TestBindMeansWhatItSays(t *testing.T) {
	t.Parallel()
	shows(t, "metrics.bind")
	six := true
	if ln, err := net.Listen("tcp6", "[::1]:0"); err != nil {
		t.Logf("no IPv6 on this machine: %v", err)
		six = false
	} else {
		_ = ln.Close()
	}
	for _, c := range []struct {
		bind, logged string
		four, six    bool
	}{
		{"0.0.0.0:0", "0.0.0.0:", true, false},
		{"[::]:0", "[::]:", false, true},
		{":0", ":", true, true},
		{"127.0.0.1:0", "127.0.0.1:", true, false},
		{"[::1]:0", "[::1]:", false, true},
	} {
		if !six && (c.six || c.bind == ":0") && !c.four {
			continue
		}
		t.Run(c.bind, func(t *testing.T) {
			t.Parallel()
			for tries := 1; ; tries++ {
				wrong := wrongListeners(t, c.bind, c.logged, c.four, c.six && six, six)
				if wrong == "" {
					return
				}
				// Somebody else may have the same port of the other family.
				if tries == 3 {
					t.Fatal(wrong)
				}
				t.Log(wrong)
			}
		})
	}
}

// wrongListeners starts a server on bind and says which of its listeners is
// reached over a version of IP that it should not be, or not over one that it
// should be.
func wrongListeners(t *testing.T, bind, logged string, four, six, machineHasSix bool) (wrong string) {
	t.Helper()
	s := start(t, "", "--server-bind", bind, "--server-ws-bind", bind, "--metrics-bind", bind)
	for name, addr := range map[string]string{"mqtt": s.mqtt, "websocket": s.ws, "metrics": s.metrics} {
		if machineHasSix && !strings.HasPrefix(addr, logged) {
			t.Errorf("%s: the log says %q, not %q", name, addr, logged)
		}
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := listensOn(t, "127.0.0.1", port); got != four {
			wrong += fmt.Sprintf("%s on %s: reached over IPv4: %v; ", name, addr, got)
		}
		if got := listensOn(t, "::1", port); got != six {
			wrong += fmt.Sprintf("%s on %s: reached over IPv6: %v; ", name, addr, got)
		}
	}
	if port, ok := strings.CutPrefix(s.metrics, "[::]"); ok {
		s.metrics = "[::1]" + port // where the harness asks
	}
	s.stop()
	return wrong
}

// listensOn reports whether somebody does at this address.
func listensOn(t *testing.T, host, port string) bool {
	t.Helper()
	nc, err := net.Dial("tcp", net.JoinHostPort(host, port))
	if err == nil {
		_ = nc.Close()
		return true
	}
	if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.EADDRNOTAVAIL) && !errors.Is(err, syscall.EAFNOSUPPORT) && !errors.Is(err, syscall.ENETUNREACH) {
		t.Fatal(err)
	}
	return false
}

// TestCannotListen: what cannot be listened on ends the start with exit code 1,
// the key, the address, the reason and what to do.
func TestCannotListen(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, key := range []string{"server.bind", "server.ws-bind", "metrics.bind"} {
		for addr, want := range map[string][]string{
			taken.Addr().String():    {"address already in use", "end it, or choose another port"},
			"192.0.2.1:0":            {"cannot assign requested address", "no interface of this machine has that address"},
			"no-such-name.invalid:0": {"no-such-name.invalid", "takes an IP address, a name of this machine"},
		} {
			args := []string{"server", "--data-dir", filepath.Join(t.TempDir(), "data"),
				"--server-bind", "127.0.0.1:0", "--server-ws-bind", "127.0.0.1:0", "--metrics-bind", "127.0.0.1:0"}
			args = append(args, "--"+strings.ReplaceAll(key, ".", "-"), addr) // the last one wins
			r := run(t, nil, args...)
			for _, part := range append(want, `"level":"FATAL"`, key+`: cannot listen on \"`+addr+`\"`) {
				if r.code != exitFailure || !strings.Contains(r.stderr, part) {
					t.Errorf("%s %s: exit code %d, no %s in\n%s", key, addr, r.code, part, r.stderr)
				}
			}
		}
	}
}
