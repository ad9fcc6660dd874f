package store

import "syscall"

// fileSystems are the names of what statfs(2) tells by a number: those of disks,
// and those of which it is doubtful. docs/storage.md says what was tried.
var fileSystems = map[uint32]FileSystem{
	0xEF53: {"ext4", ""}, 0x58465342: {"xfs", ""}, 0x9123683E: {"btrfs", ""}, 0xF2F52010: {"f2fs", ""},
	0x2FC12FC1: {"zfs", ""}, 0xCA451A4E: {"bcachefs", ""}, 0x794C7630: {"overlay", ""}, 0x4D44: {"vfat", ""},
	0x2011BAB0: {"exfat", ""}, 0x7366746E: {"ntfs3", ""},
	0x01021994: {"tmpfs", inMemory}, 0x858458F6: {"ramfs", inMemory},
	0x6969: {"nfs", elsewhere}, 0x517B: {"smb", elsewhere}, 0xFF534D42: {"cifs", elsewhere}, 0xFE534D42: {"smb2", elsewhere},
	0x65735546: {"fuse", elsewhere}, 0x01021997: {"9p", elsewhere}, 0x786F4256: {"vboxsf", elsewhere}, 0x00C36400: {"ceph", elsewhere},
	0x47504653: {"gpfs", elsewhere}, 0x0BD00BD0: {"lustre", elsewhere}, 0x01161970: {"gfs2", elsewhere}, 0x7461636F: {"ocfs2", elsewhere},
}

// fileSystemOf returns what a directory is on.
func fileSystemOf(dir string) FileSystem {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return FileSystem{}
	}
	return fileSystems[uint32(s.Type)]
}

// freeBytes is how much the process may still write to the file system of a directory; -1: it
// is not known.
func freeBytes(dir string) int64 {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return -1
	}
	return int64(s.Bavail) * int64(s.Bsize) // 32 bits wide, or unsigned, on some systems
}
