// Package commit makes what the broker acknowledges durable: it gathers changes into
// groups and writes one group at a time, each in one transaction.
//
// It knows Sessions, by the Effects that they ask for, and who waits for a commit; it
// knows no sockets, no Clients and no packets.
//
// # Locks
//
// The gate is the outermost lock of the broker. Below it, and below any lock of the
// broker, are Committer.mu and group.mu, in this order. A Waiter is told with no lock
// held.
package commit
