//go:build !unix

package metrics

// OpenFilesMax is not known here.
func OpenFilesMax() uint64 { return 0 }
