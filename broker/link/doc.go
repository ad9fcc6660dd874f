// Package link is what a broker has of the network: listeners, sockets, Network
// Connections over TCP and WebSocket, and what is written to them. It knows no Session,
// no Client and no commit but by its number.
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
// waits in a buffer of 512 bytes, and what it writes is written by one of Writers.
//
// # Goroutines
//
// A Listener has one that accepts; of WebSocket, each socket has another until the
// request is answered. Each connection has one, Config.Serve, which reads. A Network has
// one for hangups, on Linux, and at most writersIdleMax that wait for something to write;
// more write at a time if that many peers do not read. A WebSocket that was closed has one
// that waits for the peer's close frame, for CloseWait at most. All end with the sockets,
// Network.Stop and Network.Close.
//
// # Locks
//
// Outbox.mu may be taken with any lock of the broker held. Below it are those of Commits
// and of the Transport; nothing is written while it is held. Apart from it there are, in
// this order, outermost first: webSocket.reading, webSocket.writing,
// webSocket.deadline, and the leaves: hangups.mu, waitingSockets.mu, Network.mu,
// Writers.mu. What is written to a connection may be written with locks of the broker
// held that do no I/O; nothing here calls the broker but Config.Serve, Config.Now and a
// Reader, and these with no lock held but webSocket.reading. The two that keep the frames
// of one WebSocket apart, reading and writing, are held during I/O on that socket, so
// Close, SetReadDeadline and TryWrite never wait for them.
//
// # Buffers
//
// ReadBuffers and OutBuffers are shared by all connections, of all brokers of a process.
// An idle connection has none of them: raw and webSocket give theirs back before they
// wait, and so does the Reader of each Transport. A buffer belongs to who has it from Get
// to Put; what a Reader got in Room it may keep until Idle, and a Transport keeps nothing
// of what it is given to write after its method has returned, but for a WebSocket that
// keeps its own frame.
package link
