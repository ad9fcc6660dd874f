// Package commit makes what the broker acknowledges durable: it gathers changes into
// groups and writes one group at a time, each in one transaction.
//
// It knows Sessions, by the Effects that they ask for, and who waits for a commit; it
// knows no sockets, no Clients and no packets.
//
// # The states of a group
//
// There is one open group at any time, and at most one more that is not committed yet.
//
//	state      may be added                  may be struck out                           goes on
//	open       anything, by who is in the    any queue entry                             sealed as soon as the Committer is
//	           gate                                                                      free and woken: to awaiting if all
//	                                                                                     of it was sent and may be
//	                                                                                     acknowledged, else to shut
//	awaiting   nothing                       entries that a Client acknowledges; not     to shut: all is acknowledged, or
//	                                         those that move to another Session: the     somebody must have a commit, or the
//	                                         two groups are two transactions             ack wait is over, or the end begins
//	shut       nothing                       nothing                                     to writing; if nothing is left of
//	                                                                                     it, to committed
//	writing    nothing                       nothing                                     to committed. An error tries again,
//	                                                                                     or ends the Committer: the group
//	                                                                                     stays in this state, and who waits
//	                                                                                     for it has ErrShuttingDown
//	committed  nothing                       nothing
//
// Committed tells of the commit first, then who waits is told: a Waiter by its method, in
// no order, who is in Wait by its return. In any state but committed more may wait.
//
// A group must be committed if it has something that no acknowledgement makes needless.
// Then it does not await any, and who waits for it ends the ack wait of the group before.
//
// A QoS 1 message of which all copies may be acknowledged before they are written has a
// Receipt. It is complete when all copies are acknowledged and the message is routed; the
// PUBACK that has it need not wait for its group.
//
// # Locks
//
// The gate is the outermost lock of the broker. Committer.mu and group.mu are leaves:
// nothing is locked below either, and any lock of the broker may be held above. A Waiter
// is told with no lock held. Wait, Outwait, Flush and Shutdown block and are called with no
// lock held, the gate among them.
package commit
