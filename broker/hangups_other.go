//go:build !linux

package broker

// hangups can watch nothing here.
type hangups struct{}

func newHangups() *hangups { return nil }

func (*hangups) close() {}

func (*hangups) watch(*socket, int32) {}
