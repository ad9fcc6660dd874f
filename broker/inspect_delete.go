package broker

import (
	"context"
	"slices"
)

// deletesAtOnce is how many retained messages are removed while nobody else can route, and
// deletesPerCommit how many in one commit.
const deletesAtOnce, deletesPerCommit = 64, 4096

// DeleteRetained removes the retained messages whose Topic Names a Topic Filter matches and
// that are retained when it is called; dryRun: it only counts them. When it returns they are
// gone from disk, unless its error is that of ctx or of a broker that stops.
func (b *Broker) DeleteRetained(ctx context.Context, filter string, dryRun bool) (n int, err error) {
	if err := b.checkInspected(filter, false); err != nil {
		return 0, err
	}
	versions, err := b.versionsOf(ctx, filter)
	if err != nil || dryRun {
		return len(versions), err
	}
	for some := range slices.Chunk(versions, deletesPerCommit) {
		var group uint64
		for few := range slices.Chunk(some, deletesAtOnce) {
			if ctx.Err() != nil {
				break
			}
			var removed int
			removed, group = b.deleteRetained(few)
			n += removed
		}
		if err := b.commits.WaitContext(ctx, group); err != nil {
			return n, err
		}
	}
	return n, ctx.Err()
}

// versionsOf returns the versions of the retained messages that a filter matches.
func (b *Broker) versionsOf(ctx context.Context, filter string) (versions []uint64, err error) {
	if found, whole := b.fewRetained(filter); whole {
		for _, r := range found {
			versions = append(versions, r.version)
		}
		return versions, nil
	}
	upTo := b.retained.version()
	err = b.eachRetained(ctx, filter, 0, func(r *retainedMessage) bool {
		if r.version <= upTo {
			versions = append(versions, r.version)
		}
		return r.version <= upTo
	})
	return versions, err
}

// deleteRetained removes the messages with these versions that are still retained, and
// returns how many they were and the group that has it.
func (b *Broker) deleteRetained(versions []uint64) (removed int, group uint64) {
	b.commits.Enter()
	defer b.commits.Leave()
	b.retained.mu.Lock()
	defer b.retained.mu.Unlock()
	for _, v := range versions {
		if r := b.retained.set.byVersion.get(v); r != nil {
			b.removeRetainedLocked(r.message.Topic)
			removed++
		}
	}
	b.commits.Later()
	return removed, b.commits.Number()
}
