package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// TestClientTransports: pub and sub over TLS, WebSocket and both, by flags and by URL; a certificate
// that nobody vouches for is refused.
func TestClientTransports(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	selfSigned(t, dir)
	cert := filepath.Join(dir, certFile)
	s := start(t, fmt.Sprintf("server: {listeners: [{kind: tls, address: '127.0.0.1:0', cert-file: %[1]q, key-file: %[2]q}, "+
		"{kind: wss, address: '127.0.0.1:0', cert-file: %[1]q, key-file: %[2]q}]}", cert, filepath.Join(dir, keyFile)))
	_, secure, _ := strings.Cut(s.listening("tls"), ":")
	_, webSecure, _ := strings.Cut(s.listening("wss"), ":")
	_, web, _ := strings.Cut(s.ws, ":")
	for i, test := range []string{
		"-h localhost --cafile " + cert + " -p " + secure + " -t TOPIC",
		"-h localhost --insecure -p " + secure + " -t TOPIC",
		"--ws -h 127.0.0.1 -p " + web + " -t TOPIC",
		"--ws --cafile " + cert + " -p " + webSecure + " -t TOPIC",
		"-L mqtt://" + s.mqtt + "/TOPIC",
		"-L mqtts://localhost:" + secure + "/TOPIC --cafile " + cert,
		"-L ws://" + s.ws + "/mqtt -t TOPIC",
		"-L wss://localhost:" + webSecure + "/mqtt --cafile " + cert + " -t TOPIC",
	} {
		flags := strings.Fields(strings.ReplaceAll(test, "TOPIC", fmt.Sprintf("t/%d", i)))
		text := fmt.Sprintf("by %d", i)
		if r := run(t, nil, append([]string{"pub", "-m", text, "-r", "-q", "1"}, flags...)...); r.code != 0 {
			t.Errorf("pub %s: code %d, %s", test, r.code, r.stderr)
			continue
		}
		if r := run(t, nil, append([]string{"sub", "-C", "1", "-q", "1"}, flags...)...); r.code != 0 || r.stdout != text+"\n" {
			t.Errorf("sub %s: %+v", test, r)
		}
	}
	r := run(t, nil, "pub", "-L", "mqtts://localhost:"+secure+"/t", "-m", "x")
	if r.code != exitFailure || !strings.Contains(r.stderr, "certificate") {
		t.Errorf("a certificate of nobody: %+v", r)
	}
	_, plain, _ := strings.Cut(s.mqtt, ":")
	for flags, want := range map[string]string{
		"-h 127.0.0.1 -p " + secure:                      "is it a port with TLS?",
		"-h localhost -p " + plain + " --cafile " + cert: "is it a port without TLS?",
	} {
		r := run(t, nil, append([]string{"pub", "-t", "t", "-m", "x"}, strings.Fields(flags)...)...)
		if r.code != exitFailure || !strings.Contains(r.stderr, want) || !strings.Contains(r.stderr, `under "tls-mismatch"`) {
			t.Errorf("pub %s: %+v", flags, r)
		}
	}
}

// A detour is an address that stays while a server gets others.
type detour struct {
	net.Listener
	to atomic.Pointer[string]
}

func newDetour(t *testing.T, to string) *detour {
	t.Helper()
	d := new(detour)
	d.to.Store(&to)
	d.Listener = acceptEach(t, d.pass)
	return d
}

func (d *detour) pass(near net.Conn) {
	defer func() { _ = near.Close() }()
	far, err := net.Dial("tcp", *d.to.Load())
	if err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(far, near)
		_ = far.Close()
	}()
	_, _ = io.Copy(near, far)
}

// TestClientsThroughKill: lines that pub sends at QoS 2 over a kill -9 of the broker come out of sub
// once each and in order, since both connect again.
func TestClientsThroughKill(t *testing.T) {
	t.Parallel()
	const lines = 600
	s := start(t, "")
	d := newDetour(t, s.mqtt)
	host, port, _ := strings.Cut(d.Addr().String(), ":")
	command := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), binary, append([]string{args[0], "-h", host, "-p", port, "-q", "2", "-t", "a", "-c", "-i", args[0]}, args[1:]...)...)
		cmd.Env = environ()
		return cmd
	}
	if out, err := command("sub", "-E").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	sub := command("sub", "-C", fmt.Sprint(lines), "--quiet")
	shown, err := sub.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	pub := command("pub", "-l")
	var said bytes.Buffer
	pub.Stderr = &said
	in, err := pub.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []*exec.Cmd{sub, pub} {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	}
	go func() {
		for i := range lines {
			_, _ = fmt.Fprintln(in, i)
		}
		_ = in.Close()
	}()
	got := bufio.NewScanner(shown)
	for i := range lines {
		if !got.Scan() || got.Text() != fmt.Sprint(i) {
			t.Fatalf("line %d is %q, %v", i, got.Text(), got.Err())
		}
		if i == lines/3 {
			s.kill()
			s.restart()
			d.to.Store(&s.mqtt)
		}
	}
	if err := pub.Wait(); err != nil {
		t.Errorf("pub: %v\n%s", err, said.Bytes())
	}
	if err := sub.Wait(); err != nil {
		t.Errorf("sub: %v", err)
	}
}
