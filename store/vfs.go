package store

import (
	"errors"
	"sync"
	"syscall"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"
)

// spaceVFS is the name of the operating system's files as the store uses them.
// go-sqlite3 v0.36.0 means to report a write without space as SQLITE_FULL, but
// looks for a bare errno where os.File wraps it, and so reports an I/O error
// like any other: TestFullDisk of cmd/promptmq has a real full disk.
const spaceVFS = "promptmq"

var registerVFS = sync.OnceFunc(func() {
	vfs.Register(spaceVFS, spaceFiles{vfs.Find("os").(vfs.VFSFilename)})
})

type spaceFiles struct{ vfs.VFSFilename }

func (v spaceFiles) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, flags, err := v.VFSFilename.OpenFilename(name, flags)
	if whole, ok := f.(osFile); ok && err == nil {
		return spaceFile{whole}, flags, nil
	}
	return f, flags, err
}

// An osFile has all that the operating system's files can do for SQLite.
type osFile interface {
	vfs.File
	vfs.FileLockState
	vfs.FileHasMoved
	vfs.FileSizeHint
	vfs.FilePersistWAL
	vfs.FilePowersafeOverwrite
	vfs.FileSharedMemory
	vfs.FileMemoryMapper
}

type spaceFile struct{ osFile }

func (f spaceFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.osFile.WriteAt(p, off)
	if isNoSpace(err) {
		return n, sqlite3.FULL
	}
	return n, err
}

func isNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
