package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/x0a1b/promptmq/broker/inspect"
	"github.com/x0a1b/promptmq/codec"
	"github.com/x0a1b/promptmq/topics"
)

// Publish publishes a message of an operator, who is nobody's user, and whom no rule is
// asked about. The limits of messages and of what is retained hold for it. When it returns
// what it has caused is on disk. Errors: *inspect.Invalid, *inspect.Refused, that of ctx, and
// of a broker that stops; after the last two the message may have been published.
func (b *Broker) Publish(ctx context.Context, m inspect.Message) (inspect.Published, error) {
	p, err := b.operatorsPublish(&m)
	if err != nil {
		return inspect.Published{}, err
	}
	if full := b.commits.Overfull(); full != nil {
		select {
		case <-full:
		case <-ctx.Done():
			return inspect.Published{}, ctx.Err()
		}
	}
	now := b.clock.Now()
	pub := publication{p: p, origin: origin{kind: fromOperator}, now: now, passesFull: p.Retain && len(p.Payload) == 0}
	if p.HasMessageExpiry {
		pub.expiresAt = now.Add(time.Duration(p.MessageExpirySeconds) * time.Second)
	}
	published, group, reason := b.publishForOperator(&pub)
	if reason != codec.Success {
		b.m.RefusedMessages(reason.String()).Inc()
		return published, &inspect.Refused{Reason: reason.String(), Why: "a queue that the message is for is full, or a limit of retained messages or of the store is reached"}
	}
	return published, b.commits.WaitContext(ctx, group)
}

// publishForOperator publishes, and returns which group has what that caused; 0: none.
func (b *Broker) publishForOperator(pub *publication) (published inspect.Published, group uint64, reason codec.ReasonCode) {
	var pend pending
	defer pend.flush(b.m)
	b.commits.Enter()
	defer b.leave(&pend)
	var s routing
	if reason = b.publish(pub, &s, &pend); reason != codec.Success {
		return published, 0, reason
	}
	for i := range s.targets {
		if s.targets[i].client != nil {
			published.Matched++
		}
	}
	if pub.stored {
		group = b.commits.Number()
	}
	return published, group, codec.Success
}

// operatorsPublish is the packet that a Client would send, checked as that would be.
func (b *Broker) operatorsPublish(m *inspect.Message) (*codec.Publish, error) {
	p := &codec.Publish{
		Topic: codec.View(m.Topic), Payload: m.Payload, QoS: codec.QoS(m.QoS), Retain: m.Retain,
		HasMessageExpiry: m.ExpirySeconds > 0, MessageExpirySeconds: m.ExpirySeconds,
	}
	invalid := func(field, why string, args ...any) (*codec.Publish, error) {
		return nil, &inspect.Invalid{Field: field, Why: fmt.Sprintf(why, args...)}
	}
	if err := topics.ValidName(p.Topic, b.o.MaxTopicLevels); err != nil {
		return invalid("topic", "%v", err)
	}
	switch {
	case !codec.ValidUTF8(p.Topic):
		return invalid("topic", "it is not UTF-8")
	case !mayPublish(p.Topic):
		return invalid("topic", "only the broker publishes to $SYS")
	case m.QoS < 0 || m.QoS > int(b.o.MaxQoS):
		return invalid("qos", "it is not from 0 to %d, which is mqtt.max-qos", b.o.MaxQoS)
	case m.Retain && !b.o.RetainAvailable:
		return invalid("retain", "mqtt.retain-available is false")
	case m.PayloadIsText && !codec.ValidUTF8(p.Payload):
		return invalid("payload", "it is not UTF-8, and payload_is_text says so")
	}
	if field, why := b.checkOptional(m); field != "" {
		return invalid(field, "%s", why)
	}
	p.Forward = codec.ForwardBytes(appendOptional(nil, m))
	sized := *p
	sized.PacketID = 1 // as a Client would send it
	if size := codec.PublishSize(&sized, codec.Version5); size > int(b.o.MaxPacketSize) {
		return invalid("payload", "the packet has %d bytes, and mqtt.max-packet-size is %d", size, b.o.MaxPacketSize)
	}
	return p, nil
}

// checkOptional checks the properties of a message and says what is wrong with which; "":
// nothing is.
func (b *Broker) checkOptional(m *inspect.Message) (field, why string) {
	const stringMax = 65535 // section 1.5.4
	type text struct{ field, value string }
	texts := []text{{"content_type", m.ContentType}, {"response_topic", m.ResponseTopic}}
	for _, u := range m.UserProperties {
		texts = append(texts, text{"user_properties", u.Name}, text{"user_properties", u.Value})
	}
	for _, t := range texts {
		if len(t.value) > stringMax || !codec.ValidUTF8(codec.View(t.value)) {
			return t.field, "it is not UTF-8, or has more than 65535 bytes"
		}
	}
	switch limit := b.options().MaxUserProperties; {
	case limit > 0 && len(m.UserProperties) > limit:
		return "user_properties", fmt.Sprintf("there are %d, and mqtt.max-user-properties is %d", len(m.UserProperties), limit)
	case topics.HasWildcard([]byte(m.ResponseTopic)): // [MQTT-3.3.2-14]
		return "response_topic", "it has a wildcard"
	case len(m.CorrelationData) > stringMax:
		return "correlation_data", "it has more than 65535 bytes"
	}
	return "", ""
}

// appendOptional encodes the properties of a message that are passed on.
func appendOptional(dst []byte, m *inspect.Message) []byte {
	if m.PayloadIsText {
		dst = codec.AppendPayloadFormat(dst, 1)
	}
	if m.ContentType != "" {
		dst = codec.AppendContentType(dst, []byte(m.ContentType))
	}
	if m.ResponseTopic != "" {
		dst = codec.AppendResponseTopic(dst, []byte(m.ResponseTopic))
	}
	if len(m.CorrelationData) > 0 {
		dst = codec.AppendCorrelationData(dst, m.CorrelationData)
	}
	for _, u := range m.UserProperties {
		dst = codec.AppendUserProperty(dst, []byte(u.Name), []byte(u.Value))
	}
	return dst
}
