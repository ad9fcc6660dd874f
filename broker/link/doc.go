// Package link is what a broker has of the network: listeners, sockets, Network
// Connections over TCP and WebSocket, and what is written to them. It knows no Session
// and no Client, and of commits only their numbers.
//
// # Listeners
//
// A Network has one Listener for each Kind that is to be open. A Kind accepts sockets
// and makes Transports of them, each in a file of its own: TCP in tcp.go, WebSocket in
// upgrade.go. The broker gets each new connection as an Accepted. All kinds share one
// limit of sockets, from accept to close: see acceptor.
//
// # Transports
//
// raw asks a socket without blocking, and handles what comes inside the call that waits.
// webSocket does the same below the frames. stream is for all that can only block: it
// waits with a buffer of 512 bytes, and one of Writers writes for it.
//
// # Outboxes
//
// All packets to a Client go through the Outbox of its connection, which holds
// acknowledgements back until their commit is on disk. Who queues packets has a Pending,
// and flushes it when it holds no lock.
//
// # Goroutines
//
// A Listener has one that accepts; each socket of WebSocket has another until its request
// is answered. Each connection has one, Config.Serve, which reads. A Network has one for
// hangups, on Linux, and at most writersIdleMax Writers that wait for something to write;
// more write at a time if that many peers do not read. A WebSocket that was closed has one
// until the peer has closed too: it waits for a write that is under way, and then for
// three times CloseWait at most. All end with their sockets, Network.Stop and
// Network.Close.
//
// # Locks
//
// Outbox.mu may be taken with any lock of the broker held. Below it are the locks of
// Commits and of the Transport. Nothing is written while it is held.
//
// The others, outermost first: webSocket.reading, webSocket.writing, webSocket.deadline,
// and the leaves hangups.mu, waitingSockets.mu, Network.mu and Writers.mu. The first two
// are held during I/O on their one socket, so Close, SetReadDeadline and TryWrite never
// wait for them.
//
// Nothing here calls the broker but Config.Serve, Config.Now, OutboxConfig.Recover and a
// Reader: with no lock held, except that Room and Idle of a Reader are called with
// webSocket.reading held.
//
// # Buffers
//
// ReadBuffers and OutBuffers are shared by all connections of the process. An idle
// connection has none of them: raw, webSocket and Readers give theirs back before they
// wait, and an Outbox when all is written. A buffer belongs to who has it, from Get to
// Put. What a Reader returns as Room it keeps until Idle. A Transport keeps nothing of what
// it is given to write.
package link
