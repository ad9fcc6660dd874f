//go:build outside && linux

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// An image is the root directory that the Dockerfile makes, without an engine.
type image struct {
	t    *testing.T
	root string
	container
}

// newImage lays out the image with a configuration beside it, read only but for its data.
func newImage(t *testing.T, yaml string) *image {
	t.Helper()
	i := &image{t: t, root: filepath.Join(t.TempDir(), "root"), container: readContainer(t)}
	for _, dir := range []string{"usr/local/bin", "app/data"} {
		if err := os.MkdirAll(filepath.Join(i.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(i.root, "app", "data")
	if err := os.Chown(data, i.id(), i.id()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(i.root, "config.yaml"), []byte(yaml), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := output(t, "cp", released(t)("promptmq-linux-amd64"), filepath.Join(i.root, "usr/local/bin/promptmq")); err != nil {
		t.Fatal(out, err)
	}
	i.mount(i.root, i.root, syscall.MS_BIND)
	i.mount(data, data, syscall.MS_BIND)
	i.mount("", i.root, syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY)
	return i
}

func (i *image) mount(from, to string, flags uintptr) {
	i.t.Helper()
	if err := syscall.Mount(from, to, "", flags, ""); err != nil {
		i.t.Fatalf("mount %s: %v", to, err)
	}
	if flags&syscall.MS_REMOUNT == 0 {
		i.t.Cleanup(func() { _ = syscall.Unmount(to, syscall.MNT_DETACH) })
	}
}

// id is that of the user and of the group.
func (i *image) id() int {
	user, _, _ := strings.Cut(i.user, ":")
	id, err := strconv.Atoi(user)
	if err != nil || i.user != user+":"+user {
		i.t.Fatalf("USER %s", i.user)
	}
	return id
}

// command is one that an engine would run in a container of the image.
func (i *image) command(args ...string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Path, cmd.Dir, cmd.Env = args[0], i.workdir, []string{"PATH=/usr/local/bin:/usr/bin:/bin"}
	cmd.Err = nil // it is not there, but in the image
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: i.root, Credential: &syscall.Credential{Uid: uint32(i.id()), Gid: uint32(i.id())}}
	return cmd
}

func (i *image) healthy() bool {
	out, err := i.command(i.health...).CombinedOutput()
	return err == nil && strings.TrimSpace(string(out)) == "ready"
}

// The image as the owner's page runs it: with a configuration, as a user without rights, on a
// root that cannot be written. The data are there after a restart.
func TestOutsideImage(t *testing.T) {
	mqtt := freeAddress(t)
	i := newImage(t, "server: {bind: \""+mqtt+"\", ws-bind: \"\"}\nmetrics: {bind: \""+freeAddress(t)+"\"}\n")
	for round := range 2 {
		server := i.command(append(i.entrypoint, "--config", "/config.yaml")...)
		var log bytes.Buffer
		server.Stderr = &log
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- server.Wait() }()
		t.Cleanup(func() { _ = server.Process.Kill() })
		eventually(t, "the health check says so", i.healthy)
		c, _ := connectRaw(t, mqtt, codec.Version5, "one", nil)
		if round == 0 {
			c.publish(codec.Publish{QoS: 1, PacketID: 1, Retain: true, Topic: codec.View("kept"), Payload: codec.View("x")})
			c.ack(codec.TypePuback)
		} else {
			c.subscribeOne("kept", 0)
			if p := c.receive(); string(p.Payload) != "x" {
				t.Errorf("%q", p.Payload)
			}
		}
		if err := server.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Errorf("%v\n%s", err, log.String())
		}
		if i.healthy() {
			t.Error("healthy without a broker")
		}
	}
	if err := os.WriteFile(filepath.Join(i.root, "app", "new"), nil, 0o600); err == nil {
		t.Error("the root can be written")
	}
}

// The add-on: its options become users of the broker, and those that are gone are.
func TestOutsideHomeAssistant(t *testing.T) {
	program(t, "jq")
	dir, bin, mqtt := t.TempDir(), t.TempDir(), freeAddress(t)
	if err := os.Symlink(binary, filepath.Join(bin, "promptmq")); err != nil {
		t.Fatal(err)
	}
	login := func(user, password string) codec.ReasonCode {
		c := dialRaw(t, mqtt, codec.Version5)
		defer c.drop()
		_, ack := connectOver(t, c.Conn, codec.Version5, "", func(p *codec.Connect) {
			p.HasUserName, p.UserName, p.HasPassword, p.Password = true, codec.View(user), true, codec.View(password)
		})
		return ack.Reason
	}
	for _, round := range []struct {
		options   string
		good, bad [2]string
	}{
		{`[{"username": "a", "password": "first one"}, {"username": "b", "password": "second"}]`, [2]string{"a", "first one"}, [2]string{"b", "first one"}},
		{`[{"username": "b", "password": "third"}]`, [2]string{"b", "third"}, [2]string{"a", "first one"}},
	} {
		if err := os.WriteFile(filepath.Join(dir, "options.json"), []byte(`{"logins": `+round.options+`, "anonymous": false, "log_level": "info"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(filepath.Join(root, "deploy/home-assistant/run.sh"), "--server-bind", mqtt, "--server-ws-bind=", "--metrics-bind", freeAddress(t))
		cmd.Env = append(environ("DATA="+dir), "PATH="+bin+":"+os.Getenv("PATH"))
		var log bytes.Buffer
		cmd.Stderr = &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		eventually(t, "the broker and its users are there", func() bool {
			r := run(t, nil, "user", "list", "--data-dir", filepath.Join(dir, "promptmq"))
			return r.code == 0 && strings.Count(r.stdout, "enabled") == strings.Count(round.options, "username") && login(round.good[0], round.good[1]) == codec.Success
		})
		if reason := login(round.bad[0], round.bad[1]); reason == codec.Success {
			t.Errorf("%q is let in", round.bad)
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v\n%s", err, log.String())
		}
	}
}
