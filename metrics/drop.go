package metrics

// DropReason says why a message did not reach a subscriber.
type DropReason int

const (
	DropExpired      DropReason = iota // its Message Expiry Interval had passed
	DropTooLarge                       // larger than the Client's Maximum Packet Size
	DropSlowConsumer                   // QoS 0 and the connection's out buffer full
	DropOfflineQoS0                    // QoS 0 and the Client not connected
	DropNoMember                       // a Shared Subscription without a member to take it
	DropQueueNewest                    // the queue was full: by the policy drop-newest, or because nothing older might go
	DropQueueOldest                    // it left a full queue to make room, by the policy drop-oldest
	DropTooOld                         // queued for longer than the maximum message age
	DropSessionEnded                   // the Session ended before it was sent, or before it was delivered
	DropUnsubscribed                   // the subscription was removed after the message was routed and before it was delivered
	DropDenied                         // the Client is not permitted to receive it
	NumDropReasons
)

// String returns the label value in promptmq_messages_dropped_total.
func (r DropReason) String() string {
	switch r {
	case DropExpired:
		return "expired"
	case DropTooLarge:
		return "too_large"
	case DropSlowConsumer:
		return "slow_consumer"
	case DropOfflineQoS0:
		return "offline_qos0"
	case DropNoMember:
		return "no_member"
	case DropQueueNewest:
		return "queue_full_newest"
	case DropQueueOldest:
		return "queue_full_oldest"
	case DropTooOld:
		return "too_old"
	case DropSessionEnded:
		return "session_ended"
	case DropUnsubscribed:
		return "unsubscribed"
	case DropDenied:
		return "denied"
	}
	return "unknown"
}
