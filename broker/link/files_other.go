//go:build !unix

package link

// openFilesMax is how many files and sockets the process may have open; 0: not known.
func openFilesMax() uint64 { return 0 }
