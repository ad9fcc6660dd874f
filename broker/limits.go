package broker

import "github.com/x0a1b/promptmq/broker/rate"

// MemoryDefault, as Limits.Memory, stands for memory.DefaultLimit. A Broker does not know
// it: who reads the settings puts the figure in its place.
const MemoryDefault = -1

// Limits are against load. 0: there is no such limit. SetOptions takes them over, but for
// Memory: rates of Clients for the next CONNECT of each; what there is beyond a limit
// of a user stays.
type Limits struct {
	// Memory is how many bytes the process should need at most: see overload. It is static.
	Memory int64
	// ConnectionRate and ConnectionRatePerAddress are how many Network Connections each
	// listener accepts in a second, of all and of each address. One more is closed.
	ConnectionRate, ConnectionRatePerAddress rate.Limit
	// MessageRate and ByteRate are how many PUBLISH packets, and bytes of any, a Client may
	// send in a second. One that sends more is not read for a while.
	MessageRate, ByteRate rate.Limit
	// SessionsPerUser is the most Sessions of one user. Those of anonymous Clients are not
	// counted.
	SessionsPerUser int
	// RetainedMessagesPerUser and RetainedBytesPerUser bound what one user has retained, in
	// Message.Bytes. What anonymous Clients have retained is not counted.
	RetainedMessagesPerUser int
	RetainedBytesPerUser    int64
}
