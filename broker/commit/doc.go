// Package commit makes durable what the broker acknowledges: it gathers changes into
// groups and writes one group at a time, each in one transaction.
//
// It knows Sessions, by the Effects that they ask for, and Waiters, which it tells of
// commits. It knows no sockets, no Clients and no packets.
//
// # The states of a group
//
// One group is open at any time, and at most one more is not committed yet.
//
//	state      takes     has struck out           becomes
//	open       all       any queue entry          awaiting, if every entry was sent and may be acknowledged,
//	                                              and the ack wait is not skipped; else shut
//	awaiting   nothing   what is acknowledged     shut, when all is acknowledged, somebody must have a
//	                                              commit, the ack wait is over, or shutdown begins
//	shut       nothing   nothing                  writing; if nothing is left to write, committed
//	writing    nothing   nothing                  committed; if the store has failed for good, it stays
//	committed  nothing   nothing
//
// The Committer seals the open group, which then is open no more, as soon as it is free
// and was woken. An entry that moves to another Session is not struck out of an awaiting
// group, since its two groups are two transactions.
//
// A group must be committed if it has something that no acknowledgement makes needless.
// Then it awaits none, and a Waiter for it ends the ack wait of the group before.
//
// One may wait for a group until it is committed. Committed tells of a commit first; then
// Waiters are told, in no order, and Wait returns. When Run has ended, Wait returns
// ErrShuttingDown, and Waiters are told no more.
//
// A QoS 1 message of which all copies may be acknowledged before they are written has a
// Receipt, complete when the copies are acknowledged and the message is routed. The PUBACK
// that has it need not wait for its group.
//
// # Goroutines
//
// Run is the Committer's; it starts up to tellersMax more, which tell Waiters, and ends
// when these have. Only timers of the runtime live on, for lazyCommitAfter at most.
//
// # Locks
//
// The gate is the outermost lock of the broker. Committer.mu and group.mu are leaves:
// nothing is locked below either, and any lock of the broker may be held above. A Waiter
// is told with no lock held. Wait, Outwait, Flush and Shutdown block: they are called with
// no lock held, the gate among them.
//
// # Memory
//
// A group keeps the Messages of its entries until it is committed, or they are struck out.
// Overfull bounds the open group; its slices of entries come from a pool and go back to it
// after the commit.
package commit
