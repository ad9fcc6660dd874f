//go:build !linux

package link

// hangups can watch nothing here.
type hangups struct{}

func newHangups() *hangups { return nil }

func (*hangups) close() {}

func (*hangups) watch(*socket) {}

func (*hangups) forget(*socket) {}
