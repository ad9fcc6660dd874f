//go:build unix

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/broker/admin"
)

// TestNobodyElseAdministers: another user of the machine reaches neither the socket nor the
// store, and is told who can.
func TestNobodyElseAdministers(t *testing.T) {
	t.Parallel()
	path, dir := asNobody(t)
	data := filepath.Join(dir, "data")
	s := start(t, "", "--data-dir", data)
	refused := func(want string) {
		t.Helper()
		if out, err := exec.Command(path, "user", "list", "--data-dir", data).CombinedOutput(); err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%v\n%s", err, out)
		}
	}
	refused("permission denied")
	if err := os.Chmod(data, 0o755); err != nil {
		t.Fatal(err)
	}
	refused("run this command as the user of the broker, or as root")
	// A mode that lets everybody connect, as a file system without modes has it.
	if err := os.Chmod(filepath.Join(data, "admin.sock"), 0o666); err != nil {
		t.Fatal(err)
	}
	refused("no answer")
	c := commander{t, data}
	c.wantUsers()
	s.stop()
}

// TestHostileAdministration: the socket of a running broker takes commands only, and the
// broker goes on.
func TestHostileAdministration(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	socket := filepath.Join(s.dataDir(), "admin.sock")
	for _, text := range []string{
		"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02ab", strings.Repeat("\xff", 100_000),
		"POST /api/v1/users HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n{\"name\":\"" + strings.Repeat("a", 2<<20),
		"POST /api/v1/users HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n{",
	} {
		c, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, text) // it may be closed before all is written
		_ = c.(*net.UnixConn).CloseWrite()
		_, _ = io.ReadAll(c)
		_ = c.Close()
	}
	client := http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", socket) }}}
	defer client.CloseIdleConnections()
	for path, bodies := range map[string][]string{
		"POST /users":               {``, `{}`, `{"name":"x"}`, `{"name":"x","hash":"secret"}`, `{"name":"x","hash":"$6$x$y"}`, `{"name":"","hash":"` + someHash + `"}`, `{"name":"x\u0000","hash":"` + someHash + `"}`, `{"name":"x","hash":"` + someHash + `","scram":"secret"}`, `{"name":"x","password":"secret","hash":"` + someHash + `"}`, `{"name":"x","password":"secret\n"}`, `{"name":"secret","password":{"a":"secret"}}`},
		"PUT /users/x/password":     {`{"hash":"` + someHash + `"}`, `null`},
		"POST /rules":               {`{}`, `{"rule":"deny"}`, `{"rule":"deny everyone all topic #\nallow everyone all topic #"}`, `{"rule":"deny everyone all topic #","position":-1}`},
		"DELETE /rules":             {``},
		"DELETE /rules?position=-1": {``},
		"DELETE /rules?position=9223372036854775807":         {``},
		"GET /rules/explain?action=publish":                  {``},
		"GET /rules/explain?action=publish&topic=":           {``},
		"GET /rules/explain?action=publish&topic=a&qos=3":    {``},
		"GET /rules/explain?action=subscribe&topic=$share/a": {``},
		"PATCH /users/x":     {`{"disabled":true}`, fmt.Sprintf(`{"groups":[%s"a"]}`, strings.Repeat(`"a",`, 1000))},
		"DELETE /bans/no":    {``},
		"GET /users?limit=0": {``}, "GET /users?limit=1001": {``}, "GET /users?limt=1": {``}, "GET /rules?cursor=secret": {``},
		"GET /nothing": {``}, "PUT /users": {`{}`},
	} {
		method, path, _ := strings.Cut(path, " ")
		for _, body := range bodies {
			r, err := http.NewRequestWithContext(t.Context(), method, "http://promptmq"+admin.Prefix+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			resp, err := client.Do(r)
			if err != nil {
				t.Fatalf("%s %s: %v", path, body, err)
			}
			text, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || resp.StatusCode < 400 || resp.StatusCode >= 500 || strings.Contains(string(text), "secret") || resp.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s %s %s: %s %s %v", method, path, body, resp.Status, text, err)
			}
		}
	}
	c := commander{t, s.dataDir()}
	c.wantUsers()
	c.wantRules()
	s.stop()
}

// someHash is of a password.
const someHash = "$argon2id$v=19$m=7168,t=5,p=1$c29tZXNhbHQxMjM0NTY3OA$2VphZxpqdygEp5TgU9Ymd8V5MIgP0YMMMy5n0GWRAN0"

// TestAdministrationOfALongPath: a data directory whose path is longer than a socket's may be.
func TestAdministrationOfALongPath(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), strings.Repeat("long/", 40), "data")
	s := start(t, "", "--data-dir", data)
	c := commander{t, data}
	c.add("ann", "secret")
	c.wantUsers("ann ")
	s.stop()
	c.wantUsers("ann ")
}

// TestNoSocket: what is in the place of the socket stays, and the broker serves without.
func TestNoSocket(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	if err := os.MkdirAll(filepath.Join(data, "admin.sock"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := start(t, "", "--data-dir", data)
	r := s.waitLog("no administration socket: commands such as promptmq user, status and reload do not reach this process")
	if r.text("level") != "WARN" || !strings.Contains(r.text("error"), "admin.sock is no socket") {
		t.Errorf("logged %v", r)
	}
	s.stop()
}
