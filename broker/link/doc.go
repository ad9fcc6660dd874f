// Package link is what a broker has of the network: listeners, sockets, TLS, Network
// Connections over TCP, Unix sockets and WebSocket, and what is written to them. It knows no
// Session and no Client, and of commits only their numbers.
//
// # Listeners
//
// A Network has one Listener for each ListenerConfig, of the kinds in listener.go and of
// those that files of their own add. A socket begins (begin.go) with what comes before MQTT,
// or before the request for a WebSocket: a header of the PROXY protocol, a TLS handshake. The
// broker gets each new connection as an Accepted, and may ask PeerOf what is known of its
// peer. All listeners share one limit of sockets, from accept to close, and each may have one
// of its own: see acceptor. handshakes bounds how many handshakes are under way. The files of
// TLS are watched (reload.go), and what can change of the settings does (update.go).
//
// # Transports
//
// raw asks a socket without blocking, and handles what comes inside the call that waits.
// secure does the same below TLS, and webSocket below the frames, over either. stream is for
// all that can only block: it waits with a buffer of 512 bytes, and one of Writers writes for
// it.
//
// # Outboxes
//
// All packets to a Client go through the Outbox of its connection, which holds
// acknowledgements back until their commit is on disk. Who queues packets has a Pending,
// and flushes it when it holds no lock.
//
// # Goroutines
//
// A Listener has one that accepts, one of WebSocket another that sends Pings; each socket of
// WebSocket has one until its request is answered, and each that begins with something else
// until that is done. Each connection has one, Config.Serve, which reads. A Network has one
// for hangups, on Linux, one that watches the files of TLS, and at most writersIdleMax Writers
// that wait for something to write; more write at a time if that many peers do not read. A WebSocket that was closed has one
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
// and the leaves hangups.mu, waitingSockets.mu, Network.mu, Writers.mu, handshakes.mu and
// pings.mu. The first two are held during I/O on their one socket, so Close, SetReadDeadline
// and TryWrite never wait for them. Below webSocket.writing is secure.writing, which is like
// it; below that are the locks of crypto/tls, and the leaf secure.encrypting.
//
// Nothing here calls the broker but Config.Serve, Config.Now, Config.Banned, OutboxConfig.Recover
// and a Reader: with no lock held, except that Room and Idle of a Reader are called with
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
