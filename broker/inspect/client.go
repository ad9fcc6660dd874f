package inspect

import "time"

// A Client is one Client Identifier: its connection, if it has one, and its Session.
type Client struct {
	ID             string    `json:"id"`
	User           string    `json:"user,omitempty" doc:"Who it is, or whose its session is; none: anonymous."`
	Connected      bool      `json:"connected"`
	Address        string    `json:"address,omitempty" doc:"Where it is, as a trusted proxy says if there is one."`
	Listener       string    `json:"listener,omitempty" doc:"Name of the listener that it came in by."`
	Protocol       string    `json:"protocol,omitempty" enum:"3.1,3.1.1,5.0"`
	ConnectedAt    time.Time `json:"connected_at,omitzero"`
	DisconnectedAt time.Time `json:"disconnected_at,omitzero"`
	KeepAlive      int       `json:"keep_alive_seconds"`
	Durable        bool      `json:"durable" doc:"Its session outlives the connection, and is on disk."`
	ExpiryInterval uint32    `json:"session_expiry_seconds" doc:"Session Expiry Interval; 4294967295: never."`
	ExpiresAt      time.Time `json:"expires_at,omitzero" doc:"When the session of a client without a connection ends."`
	Subscriptions  int       `json:"subscriptions"`
	Queued         int       `json:"queued" doc:"Messages that wait for it, those in flight among them."`
	QueuedBytes    int64     `json:"queued_bytes"`
	InFlight       int       `json:"in_flight" doc:"Messages sent with QoS 1 or 2 and not yet acknowledged."`
	Dropped        uint64    `json:"dropped" doc:"Messages for its session that were dropped since that began, or the broker started."`
	MessagesIn     uint64    `json:"messages_in" doc:"PUBLISH packets that came on this connection."`
	MessagesOut    uint64    `json:"messages_out" doc:"PUBLISH packets that were sent on this connection."`
	BytesIn        uint64    `json:"bytes_in"`
	BytesOut       uint64    `json:"bytes_out"`
	WaitingOut     int       `json:"waiting_bytes" doc:"Bytes that wait to be written to its socket."`
	HasWill        bool      `json:"has_will"`
}

// ClientDetail is all that is known of one.
type ClientDetail struct {
	Client
	Groups         []string       `json:"groups,omitempty"`
	Method         string         `json:"login_method,omitempty" doc:"How it proved who it is."`
	ReceiveMaximum int            `json:"receive_maximum,omitempty"`
	PacketBytesMax uint32         `json:"maximum_packet_size,omitempty" doc:"None: no limit."`
	Subscribed     []Subscription `json:"subscribed" doc:"At most 1,000 of them; /subscriptions?client= has all."`
	LastDrops      []Drop         `json:"last_drops" doc:"The last ones, newest first."`
	WillTopic      string         `json:"will_topic,omitempty"`
}

// ClientFilter says which Clients a list has; what is empty does not matter.
type ClientFilter struct {
	Search    string // part of the Client Identifier, the user name or the address
	User      string
	Listener  string
	Connected *bool
	Durable   *bool
	// IdleFor: disconnected for at least so long.
	IdleFor time.Duration
	// Sort is the JSON name of a column of Client; "": id. Descending turns it round.
	Sort       string
	Descending bool
}

// A Subscription is one of a Client.
type Subscription struct {
	Client            string `json:"client"`
	Filter            string `json:"filter" doc:"Topic Filter; with $share/ if it is shared."`
	QoS               int    `json:"qos"`
	NoLocal           bool   `json:"no_local,omitempty"`
	RetainAsPublished bool   `json:"retain_as_published,omitempty"`
	RetainHandling    int    `json:"retain_handling,omitempty"`
	ID                uint32 `json:"identifier,omitempty"`
}

// SubscriptionFilter says which subscriptions a list has; what is empty does not matter.
type SubscriptionFilter struct {
	Client string
	Filter string // exactly this Topic Filter
	Topic  string // that would get a message with this Topic Name
	Search string // part of the Topic Filter
}

// A Drop is one message that did not reach a Client.
type Drop struct {
	At     time.Time `json:"at"`
	Client string    `json:"client"`
	Topic  string    `json:"topic"`
	QoS    int       `json:"qos"`
	Bytes  int       `json:"bytes" doc:"Of the payload."`
	Reason string    `json:"reason" doc:"As in promptmq_messages_dropped_total."`
}

// A Queued is a message that waits for a Client.
type Queued struct {
	Position uint64    `json:"position"`
	State    string    `json:"state" enum:"waiting,sent,received" doc:"received: PUBREC has come, PUBCOMP is awaited."`
	Topic    string    `json:"topic"`
	QoS      int       `json:"qos"`
	Bytes    int       `json:"bytes" doc:"Of the payload."`
	QueuedAt time.Time `json:"queued_at,omitzero"`
	Expires  time.Time `json:"expires_at,omitzero"`
}
