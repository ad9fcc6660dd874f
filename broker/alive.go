package broker

import (
	"context"
	"fmt"
)

// Alive returns nil if the broker does its work: its listeners accept, the locks that every
// CONNECT takes are let go of, and a commit comes to an end before ctx ends. A disk that is
// full or does not answer, which no restart would cure, is no error: waits says so. Where
// the broker hangs Alive may hang too, and that is the answer.
func (b *Broker) Alive(ctx context.Context) (waits string, err error) {
	if err := b.network.Accepting(); err != nil {
		return "", err
	}
	_ = b.registry.find("") // takes its lock
	if waits, err = b.commits.Answers(ctx); err != nil {
		err = fmt.Errorf("no commit comes to an end: %w", err)
	}
	return waits, err
}
