//go:build unix

package link

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// passedBy returns a socket as another process would pass it.
func passedBy(t *testing.T, name, network, address string) Socket {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		if network == "tcp6" || strings.HasPrefix(address, "[") {
			t.Skip("no IPv6: ", err)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	f, err := descriptorOf(ln)
	if err != nil {
		t.Fatal(err)
	}
	return Socket{Name: name, Keep: true, File: f}
}

// TestAssign: a socket is for the listener of its name, else for that of its address, and both
// have to say the same.
func TestAssign(t *testing.T) {
	for _, c := range []struct {
		what, name, network, bound string
		wanted                     string // PORT: of the socket
		fault                      string // none: it is taken
	}{
		{"by name", "a", "tcp4", "127.0.0.1:0", "127.0.0.1:PORT", ""},
		{"by name, on any port", "a", "tcp4", "127.0.0.1:0", "127.0.0.1:0", ""},
		{"by name of a host", "a", "tcp4", "127.0.0.1:0", "localhost:PORT", ""},
		{"by address", "other", "tcp4", "127.0.0.1:0", "127.0.0.1:PORT", ""},
		{"neither", "other", "tcp4", "127.0.0.1:0", "127.0.0.1:1", `"other"`},
		{"any port is no address", "other", "tcp4", "127.0.0.1:0", "127.0.0.1:0", `"other"`},
		{"another port", "a", "tcp4", "127.0.0.1:0", "127.0.0.1:1", "make them the same"},
		{"another address", "a", "tcp4", "127.0.0.1:0", "127.0.0.2:PORT", "make them the same"},
		{"less than the machine", "a", "tcp4", "127.0.0.1:0", ":PORT", "make them the same"},
		{"more than an address", "a", "tcp4", "0.0.0.0:0", "127.0.0.1:PORT", "make them the same"},
		{"all of IPv4", "a", "tcp4", "0.0.0.0:0", "0.0.0.0:PORT", ""},
		{"all of both", "a", "tcp", "[::]:0", ":PORT", ""},
		{"both for IPv6 alone", "a", "tcp", ":0", "[::]:PORT", "make them the same"},
		{"IPv6 alone", "a", "tcp6", "[::]:0", "[::]:PORT", ""},
	} {
		p := passedBy(t, c.name, c.network, c.bound)
		ln, err := listenerOf(&p)
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		_ = ln.Close()
		s, errs := Assign([]Socket{p}, []Wanted{{Name: "a", Key: "server.bind", Address: strings.ReplaceAll(c.wanted, "PORT", port)}})
		switch {
		case c.fault == "" && (len(errs) > 0 || s.take("a") == nil):
			t.Errorf("%s: it is not taken: %v", c.what, errs)
		case c.fault != "" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), c.fault) || s.take("a") != nil):
			t.Errorf("%s: %v", c.what, errs)
		}
		s.Close()
	}
}

// TestAssignMore: two sockets for one listener, and what is no socket that listens.
func TestAssignMore(t *testing.T) {
	one, two := passedBy(t, "a", "tcp4", "127.0.0.1:0"), passedBy(t, "a", "tcp4", "127.0.0.1:0")
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	s, errs := Assign([]Socket{one, two, {Name: "file", File: file}}, []Wanted{{Name: "a", Address: "127.0.0.1:0"}})
	if len(errs) != 2 || !strings.Contains(errs[0].Error(), "two sockets") || !strings.Contains(errs[1].Error(), `"file"`) || s.take("a") == nil {
		t.Errorf("%v", errs)
	}
}

// TestAssignUnix: the mode of a Unix socket that another made is no wider than what is
// configured, and the socket is left to who made it.
func TestAssignUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	wanted := []Wanted{{Name: "a", Key: "k", Address: path, Unix: true}}
	p := passedBy(t, "a", "unix", path)
	ln, err := listenerOf(&p)
	if err != nil {
		t.Fatal(err)
	}
	again := p
	if again.File, err = descriptorOf(ln); err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, errs := Assign([]Socket{p}, wanted); len(errs) != 1 || !strings.Contains(errs[0].Error(), "SocketMode=0600") {
		t.Errorf("%v", errs)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	s, errs := Assign([]Socket{again}, wanted)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	s.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the socket of another was removed: %v", err)
	}
}

// TestAssignUnixUnused: a process that gives up before it listens leaves the path to the one that
// passed the socket, and listens on.
func TestAssignUnixUnused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	p := passedBy(t, "a", "unix", path)
	p.Keep = false
	s, errs := Assign([]Socket{p}, []Wanted{{Name: "a", Key: "k", Address: path, Unix: true}})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	s.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the path of another process was removed: %v", err)
	}
}
