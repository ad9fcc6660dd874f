package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// selfSigned makes a certificate for localhost in a directory, in place of one that is there.
func selfSigned(t *testing.T, dir string) *x509.Certificate {
	t.Helper()
	if r := run(t, nil, "cert", "self-signed", "--force", "--out", dir, "--host", "localhost", "--host", "127.0.0.1"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	return readCert(t, filepath.Join(dir, certFile))
}

// dialTLS connects as one who trusts only the given certificate.
func dialTLS(t *testing.T, addr string, trusted *x509.Certificate) (*raw, error) {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(trusted)
	nc, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool, ServerName: "localhost"})
	if err != nil {
		return nil, err
	}
	p, ack := connectOver(t, nc, codec.Version5, "", nil)
	if ack.Reason != codec.Success {
		t.Errorf("CONNACK %v", ack.Reason)
	}
	return p, nil
}

// A listener with the certificate of `cert self-signed` is trusted by who was told to, and a
// reload has it go on with the next one; connections stay.
func TestReloadCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := selfSigned(t, dir)
	yaml := fmt.Sprintf("log: {level: info}\nserver:\n  listeners:\n  - kind: tls\n    address: 127.0.0.1:0\n    cert-file: %q\n    key-file: %q\n", filepath.Join(dir, certFile), filepath.Join(dir, keyFile))
	s := start(t, yaml)
	addr := s.listening("tls")
	stays, err := dialTLS(t, addr, first)
	if err != nil {
		t.Fatal(err)
	}
	second := selfSigned(t, dir)
	if _, err := dialTLS(t, s.listening("tls"), second); err != nil { // the files are watched, too
		if r := s.hangup(); r.text("msg") != "reloaded" {
			t.Fatalf("%v", r)
		}
		if _, err := dialTLS(t, addr, second); err != nil {
			t.Error(err)
		}
	}
	if _, err := dialTLS(t, addr, first); err == nil {
		t.Error("the first certificate is still in use")
	}
	// A file with a fault changes nothing, in it and elsewhere.
	for file, line := range map[string]string{certFile: ":6: server.listeners[0].cert-file: ", keyFile: ":6: server.listeners[0].cert-file: "} {
		path := filepath.Join(dir, file)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, whole[:len(whole)/2], 0o600); err != nil {
			t.Fatal(err)
		}
		s.write(strings.ReplaceAll(yaml, "info", "debug") + "    anonymous: no\n")
		r := s.hangup()
		if faults := r.texts("faults"); r.text("msg") != notReloaded || len(faults) != 1 || !strings.Contains(faults[0], line) {
			t.Errorf("%s: %v, want %s", file, r, line)
		}
		if _, err := dialTLS(t, addr, second); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stays.quiet()
	// At the start it is a fault of the configuration.
	if err := os.WriteFile(filepath.Join(dir, keyFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(t.TempDir(), "data")
	if r := run(t, nil, "server", "--config", yamlFile(t, yaml), "--data-dir", data); r.code != exitUsage || !strings.Contains(r.stderr, ":6: server.listeners[0].cert-file: ") {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
	if _, err := os.Stat(data); err == nil {
		t.Error("the data directory was made")
	}
}

// What can change of a listener changes, what cannot is named.
func TestReloadListeners(t *testing.T) {
	t.Parallel()
	entry := "{kind: tcp, name: one, address: '127.0.0.1:0'"
	yaml := func(more string) string { return "server:\n  listeners:\n  - " + entry + more + "}\n" }
	s := start(t, yaml(""))
	addr := s.listening("one")
	admitted := func() codec.ReasonCode {
		_, ack := connectRaw(t, addr, codec.Version5, "c", nil)
		return ack.Reason
	}
	if got := admitted(); got != codec.Success {
		t.Fatal(got)
	}
	s.write(yaml(", anonymous: no"))
	if r := s.hangup(); !slices.Equal(r.texts("changed"), []string{"server.listeners[one].anonymous"}) || len(r.texts("needs_restart")) > 0 {
		t.Errorf("%v", r)
	}
	if got := admitted(); got != codec.NotAuthorized {
		t.Errorf("anonymous: no: %v", got)
	}
	s.write(strings.ReplaceAll(yaml(", anonymous: no"), "127.0.0.1:0", "127.0.0.1:1"))
	if r := s.hangup(); len(r.texts("changed")) > 0 || !slices.Equal(r.texts("needs_restart"), []string{"server.listeners[one].address"}) {
		t.Errorf("%v", r)
	}
	if got := admitted(); got != codec.NotAuthorized {
		t.Errorf("with another address: %v", got)
	}
	s.write("server:\n  listeners:\n  - {kind: tcp, name: two, address: '127.0.0.1:0'}\n")
	if r := s.hangup(); len(r.texts("changed")) > 0 || !slices.Equal(r.texts("needs_restart"), []string{"server.listeners[one]", "server.listeners[two]"}) {
		t.Errorf("%v", r)
	}
	if got := admitted(); got != codec.NotAuthorized {
		t.Errorf("without the entry: %v", got)
	}
	s.write(yaml(""))
	if r := s.hangup(); !slices.Equal(r.texts("changed"), []string{"server.listeners[one].anonymous"}) {
		t.Errorf("%v", r)
	}
	if got := admitted(); got != codec.Success {
		t.Errorf("as at the start: %v", got)
	}
}
