package main

import (
	"path/filepath"
	"syscall"
	"testing"
)

// A file system that is no longer mounted is as gone as a folder. It needs the
// right to mount, as a container usually gives.
func TestStoreGoneMount(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=100m"); err != nil {
		t.Skipf("no file system of its own: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }) // if the test did not
	data := filepath.Join(dir, "data")
	s := startBinary(t, binary, nil, "", "--data-dir", data)
	s.data = data
	acked := publishAndHarm(t, s, func(string) error { return syscall.Unmount(dir, syscall.MNT_DETACH) })
	if acked > 0 {
		t.Errorf("%d messages were acknowledged afterwards", acked)
	}
	checkGone(t, s, "promptmq.db")
}
