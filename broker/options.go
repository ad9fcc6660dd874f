package broker

import (
	"log/slog"
	"time"

	"github.com/x0a1b/promptmq/broker/access"
	"github.com/x0a1b/promptmq/broker/link"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/metrics"
	"github.com/x0a1b/promptmq/session"
)

// Options are the settings of a Broker. DefaultOptions has a value for each;
// the config package checks what an operator wrote.
type Options struct {
	// Bind and WSBind are the TCP and WebSocket listeners, host:port as Listen
	// takes it; empty: not opened.
	Bind, WSBind string
	// WSOrigins says which pages may connect over WebSocket: SameOrigin,
	// AnyOrigin, or a list, parted by commas, of origins, of hosts, of patterns
	// of either, and of SameOrigin.
	WSOrigins string
	// WSPingInterval is after which silence the listener of WSBind sends a Ping frame; 0:
	// never.
	WSPingInterval time.Duration
	// Listeners are those beside Bind and WSBind.
	Listeners []link.ListenerConfig
	// Sockets were passed for listeners; nil: none.
	Sockets *link.Sockets
	// ConnectTimeout is how long a new connection may take from accept to its
	// CONNECT.
	ConnectTimeout time.Duration
	// ReadTimeout is how long a packet whose first byte has come may take to
	// arrive whole, beyond the time that it takes at ReadRateMin bytes a second.
	ReadTimeout time.Duration
	ReadRateMin int
	// WriteTimeout is how long a peer may take no bytes while bytes wait for
	// it; then its Network Connection is closed and its Session kept.
	WriteTimeout time.Duration
	// ReadBuffer is the most one read takes from a socket, in bytes.
	ReadBuffer int
	// ShutdownNotice says that v5 Clients get DISCONNECT 0x8B when the broker ends.
	// libmosquitto 2.0 takes it for the end and does not connect again.
	ShutdownNotice bool
	// ShutdownRate is the most connections that are ended in a second when the broker ends, as
	// far as that takes no longer than shutdownSpread; 0: there is no such limit.
	ShutdownRate int
	// WriteBuffer is how many bytes may gather for a connection before they
	// are written without waiting for the rest of the batch.
	WriteBuffer int

	// MaxQoS is the Maximum QoS. Section 3.2.2.3.4.
	MaxQoS codec.QoS
	// MaxConnections is the most Network Connections at a time.
	MaxConnections int
	// FilesBeside is how many files and sockets the process may have open for what is no part
	// of the broker, its store, metrics and commands: a directory that is asked about Clients.
	FilesBeside int
	// MaxInflight is the most QoS 1 and 2 messages on their way to a Client;
	// the Client's Receive Maximum can only lower it.
	MaxInflight uint16
	// ReceiveMaximum is what CONNACK tells Clients. Section 3.2.2.3.3.
	ReceiveMaximum uint16
	// KeepAliveSeconds is the longest Keep Alive: a v5 Client that asks for
	// more, or for none, is given it as Server Keep Alive. 0: no limit.
	KeepAliveSeconds uint16
	// RetainAvailable, WildcardAvailable and SharedSubAvailable: section 3.2.2.3.
	RetainAvailable, WildcardAvailable, SharedSubAvailable bool
	// MaxPacketSize is the Maximum Packet Size in bytes. Section 3.2.2.3.6.
	MaxPacketSize uint32
	// TopicAliasMaximum: section 3.2.2.3.8; also the most aliases the Server
	// itself uses towards a Client.
	TopicAliasMaximum uint16
	// MaxTopicLevels is the most levels of a Topic Name or Topic Filter.
	MaxTopicLevels int
	// MaxSubscriptions is the most subscriptions of one Session.
	MaxSubscriptions int
	// MaxSessions is the most Sessions, connected or not.
	MaxSessions int
	// MaxQueuedMessages and MaxQueuedBytes bound the queue of one Session.
	MaxQueuedMessages int
	MaxQueuedBytes    int64
	// QueuePolicy says what becomes of a PUBLISH with QoS 1 or 2 while the queue
	// of a matching Session is full: a session.QueuePolicy. With Reject it is
	// refused with 0x97 (Quota exceeded), unless it removes a retained message:
	// that, and a Will, is dropped for that queue.
	QueuePolicy string
	// MaxSessionExpirySeconds is the longest Session Expiry Interval: a v5
	// Client that asks for more is told so in CONNACK, and a 3.x Session without
	// the clean session flag is given it. session.NeverExpires: no limit.
	MaxSessionExpirySeconds uint32
	// WillGrace is how long after a start the Client of a Session that ended with the
	// last process may come back before its Will is published.
	WillGrace time.Duration
	// MaxRetainedMessages and MaxRetainedBytes bound the retained messages.
	MaxRetainedMessages int
	MaxRetainedBytes    int64

	// SysInterval is the time between two looks at what has changed of $SYS; 0: there is
	// none.
	SysInterval time.Duration

	// MaxUserProperties is the most User Properties of one CONNECT, of its Will, of one
	// PUBLISH or SUBSCRIBE. 0: no limit.
	MaxUserProperties int

	Limits Limits

	// CleanupInterval is how long it takes from the end of one cleanup of the
	// queues to the next. CleanupBatch is about how many messages it looks at
	// before it commits what it removed.
	CleanupInterval time.Duration
	CleanupBatch    int
	// MaxMessageAge is how long a QoS 1 or 2 message may be queued for a Session
	// before a cleanup removes it. 0: no limit.
	MaxMessageAge time.Duration

	// AllowAnonymous admits Clients from other machines without credentials;
	// Clients from loopback are always admitted.
	AllowAnonymous bool
	// Authenticator says who Clients are: see Broker.SetAuthenticator.
	Authenticator Authenticator
	// Policy has the rules of what Clients may do: see Broker.SetPolicy. What is due at the
	// start is decided by it.
	Policy *access.Policy
	// Directory knows the users that are not connected: see Broker.SetDirectory.
	Directory Directory

	// Version is that of the program, and StoreSizes tells how many bytes the database and its
	// write-ahead log have, and how many are free on their disk, negative if that is not
	// known; nil: nobody knows. Both are for Broker.Numbers.
	Version    string
	StoreSizes func() (database, wal, free int64)

	// SystemClock replaces time.Now as the clock of the system; nil: it does not.
	SystemClock func() time.Time

	Logger  *slog.Logger
	Metrics *metrics.Broker
}

// DefaultOptions returns the settings a Broker has when nothing is said.
func DefaultOptions() Options {
	return Options{
		Bind:                    ":1883",
		WSBind:                  ":8080",
		WSOrigins:               SameOrigin,
		WSPingInterval:          50 * time.Second,
		ConnectTimeout:          10 * time.Second,
		ReadTimeout:             30 * time.Second,
		ReadRateMin:             1000,
		WriteTimeout:            30 * time.Second,
		ShutdownRate:            10000,
		ReadBuffer:              32 << 10,
		WriteBuffer:             32 << 10,
		MaxQoS:                  2,
		MaxConnections:          10000,
		MaxInflight:             20,
		ReceiveMaximum:          65535,
		RetainAvailable:         true,
		WildcardAvailable:       true,
		SharedSubAvailable:      true,
		MaxPacketSize:           1 << 20,
		TopicAliasMaximum:       16,
		MaxTopicLevels:          128,
		MaxSubscriptions:        10000,
		MaxSessions:             100000,
		MaxQueuedMessages:       100000,
		MaxQueuedBytes:          64 << 20,
		QueuePolicy:             string(session.DropOldest),
		CleanupInterval:         time.Hour,
		CleanupBatch:            1000,
		MaxSessionExpirySeconds: session.NeverExpires,
		WillGrace:               5 * time.Second,
		MaxRetainedMessages:     1000000,
		MaxRetainedBytes:        1 << 30,
		MaxUserProperties:       1000,
		SysInterval:             10 * time.Second,
	}
}

// What Options.WSOrigins may have besides patterns.
const (
	SameOrigin = link.SameOrigin
	AnyOrigin  = link.AnyOrigin
)
