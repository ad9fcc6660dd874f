package inspect

import "time"

// A Retained is a retained message, without its payload.
type Retained struct {
	Topic   string    `json:"topic"`
	QoS     int       `json:"qos"`
	Bytes   int       `json:"bytes" doc:"Of the payload."`
	User    string    `json:"user,omitempty" doc:"Who published it."`
	Expires time.Time `json:"expires_at,omitzero"`
}

// A Message is an Application Message with its payload.
type Message struct {
	Topic           string         `json:"topic"`
	Payload         []byte         `json:"payload" required:"false" doc:"Base64."`
	QoS             int            `json:"qos" required:"false" minimum:"0" maximum:"2"`
	Retain          bool           `json:"retain,omitempty"`
	ExpirySeconds   uint32         `json:"message_expiry_seconds,omitempty" doc:"None: never."`
	ContentType     string         `json:"content_type,omitempty"`
	ResponseTopic   string         `json:"response_topic,omitempty"`
	CorrelationData []byte         `json:"correlation_data,omitempty" doc:"Base64."`
	PayloadIsText   bool           `json:"payload_is_text,omitempty" doc:"Payload Format Indicator."`
	UserProperties  []UserProperty `json:"user_properties,omitempty"`
	User            string         `json:"user,omitempty" doc:"Who published it."`
}

// A UserProperty is one of a message; names may come more than once.
type UserProperty struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// A TopicLevel is a level of the tree of retained messages. The prefix of what is below it is
// Topic and a slash.
type TopicLevel struct {
	Name     string `json:"name" doc:"Of this level; it may be empty."`
	Topic    string `json:"topic" doc:"Up to this level."`
	Retained bool   `json:"retained" doc:"There is a retained message with this Topic Name."`
	Bytes    int    `json:"bytes,omitempty"`
	Below    int    `json:"below" doc:"Retained messages below it."`
	More     bool   `json:"more_below,omitempty" doc:"There may be more below it than were counted."`
}

// Published is what became of a message that the API published.
type Published struct {
	Matched int `json:"matched" doc:"Subscribers that it was routed to."`
}

// An Event is a line of a trace.
type Event struct {
	At     time.Time `json:"at"`
	Client string    `json:"client,omitempty"`
	// Kind is what happened: connect, disconnect, publish, deliver, drop, subscribe,
	// unsubscribe, acknowledge, refuse; or lost: the reader was too slow for some.
	Kind   string `json:"kind"`
	Topic  string `json:"topic,omitempty" doc:"Or Topic Filter."`
	QoS    int    `json:"qos"`
	Retain bool   `json:"retain,omitempty"`
	Dup    bool   `json:"dup,omitempty"`
	ID     int    `json:"packet_id,omitempty"`
	Bytes  int    `json:"bytes,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Payload is its beginning, if that was asked for.
	Payload []byte `json:"payload,omitempty"`
}

// TraceFilter says what a trace has; what is empty does not matter, and one of Client and Topic
// is not.
type TraceFilter struct {
	Client string
	Topic  string // a Topic Filter
	Kind   string // of the Events; that of those that were lost is always told
	// PayloadBytes is how much of each payload is shown.
	PayloadBytes int
}
