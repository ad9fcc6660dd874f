package store

import "syscall"

// fileSystems are the names of what statfs(2) tells by a number: those of disks,
// which docs/storage.md says what was tried on, and those of others, by which a
// data directory is not on a disk of this machine alone.
var fileSystems = map[uint32]FileSystem{
	0xEF53: {"ext4", false}, 0x58465342: {"xfs", false}, 0x9123683E: {"btrfs", false}, 0xF2F52010: {"f2fs", false},
	0x2FC12FC1: {"zfs", false}, 0xCA451A4E: {"bcachefs", false}, 0x794C7630: {"overlay", false}, 0x4D44: {"vfat", false},
	0x2011BAB0: {"exfat", false}, 0x7366746E: {"ntfs3", false},
	0x01021994: {"tmpfs", true}, 0x858458F6: {"ramfs", true},
	0x6969: {"nfs", true}, 0x517B: {"smb", true}, 0xFF534D42: {"cifs", true}, 0xFE534D42: {"smb2", true},
	0x65735546: {"fuse", true}, 0x01021997: {"9p", true}, 0x786F4256: {"vboxsf", true}, 0x00C36400: {"ceph", true},
	0x47504653: {"gpfs", true}, 0x0BD00BD0: {"lustre", true}, 0x01161970: {"gfs2", true}, 0x7461636F: {"ocfs2", true},
}

// fileSystemOf returns what a directory is on.
func fileSystemOf(dir string) FileSystem {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return FileSystem{}
	}
	return fileSystems[uint32(s.Type)]
}
