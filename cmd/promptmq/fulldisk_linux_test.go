package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// A real file system without space: what was accepted waits, what is new is
// refused, the broker stays, and goes on by itself when there is space. It needs
// the right to mount, as a container usually gives.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=10m"); err != nil {
		t.Skipf("no file system of its own: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, 0) }) // after the server is gone
	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 5<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, "", "--data-dir", filepath.Join(disk, "data"))
	sub, _ := connectRaw(t, s.mqtt, codec.Version5, "sub", lasting)
	sub.subscribeOne("q/#", 1)
	sub.drop()

	const messages = 60 // of 100 kB: more than there is space for
	body := strings.Repeat("x", 100_000)
	pub, _ := connectRaw(t, s.mqtt, codec.Version5, "pub", nil)
	for i := range uint16(messages) {
		pub.publish(codec.Publish{QoS: 1, PacketID: 1 + i, Topic: codec.View("q/stored"), Payload: codec.View(fmt.Sprintf("%03d", i) + body)})
	}
	eventually(t, "the disk is full", func() bool { return s.metric("promptmq_store_full") == 1 })
	other, _ := connectRaw(t, s.mqtt, codec.Version5, "other", nil)
	if r := other.publish1(1, "q/refused", "not stored"); r != codec.QuotaExceeded {
		t.Errorf("new work: %v", r)
	}
	other.subscribeOne("live", 0)
	other.publish(codec.Publish{Topic: codec.View("live"), Payload: codec.View("QoS 0")})
	other.receive()
	if code, body := s.get("/ready"); code != 200 {
		t.Errorf("/ready: %d %s", code, body)
	}

	s.data = filepath.Join(disk, "data")
	if _, r := s.upgrade("--unchecked"); r.code == 0 || !strings.Contains(r.stderr, "the broker carries on: the store takes nothing: waiting for space on the disk") {
		t.Errorf("an upgrade, which could not open the store: %+v", r)
	}

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	// Within how much time is a matter of TestDiskFull in package broker.
	eventually(t, "new work is taken", func() bool { return s.metric("promptmq_store_full") == 0 })
	var accepted []int
	for i := range messages {
		switch r := pub.ack(codec.TypePuback).Reason; r {
		case codec.Success:
			accepted = append(accepted, i)
		case codec.QuotaExceeded:
		default:
			t.Errorf("message %d: %v", i, r)
		}
	}
	t.Logf("%d of %d messages accepted", len(accepted), messages)
	if len(accepted) == messages && s.metric("promptmq_store_commit_failures_total") == 0 {
		t.Error("the disk was never full")
	}
	s.kill()
	// The WAL goes into the database at the start, and for that there must be space.
	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	s.restart()
	sub, _ = connectRaw(t, s.mqtt, codec.Version5, "sub", func(c *codec.Connect) { lasting(c); c.CleanStart = false })
	for _, i := range accepted {
		p := sub.receive()
		if want := fmt.Sprintf("%03d", i); string(p.Payload[:3]) != want {
			t.Fatalf("message %s, want %s", p.Payload[:3], want)
		}
		sub.sendAck(codec.TypePuback, p.PacketID)
	}
	sub.quiet()
}
