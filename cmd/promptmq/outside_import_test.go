//go:build outside

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// startMosquitto runs the mosquitto of a folder until stop is called.
func startMosquitto(t *testing.T, dir, addr string) (stop func()) {
	t.Helper()
	cmd := exec.Command(program(t, "mosquitto"), "-c", "mosquitto.conf")
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Cleanup(stop)
	awaitPort(t, addr)
	return stop
}

// TestOutsideImport: Mosquitto and the broker into which it was moved let the same users in, and
// give the same answers.
func TestOutsideImport(t *testing.T) {
	for name, world := range mosquittoWorlds {
		t.Run(name, func(t *testing.T) {
			addr := freeAddress(t)
			dir := mosquittoCopy(t, name, addr)
			stop := startMosquitto(t, dir, addr)
			want := world.ask(t, addr)
			logins := make(map[[2]string]bool)
			for _, user := range append(mosquittoUsers(t, name), "stranger", "") {
				for _, password := range []string{"pw of " + user, "pw of " + user + "x", ""} {
					logins[[2]string{user, password}] = logInWith(t, addr, user, password) == codec.Success
				}
			}
			stop()
			if *update {
				if err := os.WriteFile(filepath.Join(mosquittoFiles, name, "answers.txt"), []byte(want), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			s := moved(t, dir)
			wantAnswers(t, world.ask(t, s.listenerAddress("tcp-")), want)
			for who, in := range logins {
				if got := logInWith(t, s.listenerAddress("tcp-"), who[0], who[1]) == codec.Success; got != in {
					t.Errorf("%q logs in: %v, with Mosquitto %v", who, got, in)
				}
			}
			t.Logf("%d logins", len(logins))
		})
	}
}
